"""The services under contract: a real server where it runs here, a stand-in that answers as published where it does not,
and whatever an environment variable names instead."""

import os
from contextlib import contextmanager

import anthropic
import httpx
import llama
import ollama
import openai
from contract.fake import NO_KEY, Fake, Published
from processes import Process, eventually, free_port

# In the order of the published table. Every preset is there, which a test sees to.
PUBLISHED = ["openai", "azure", "anthropic", "gemini", "mistral", "groq", "deepseek", "together", "openrouter", "huggingface",
             "tgi", "ollama", "ollama-native", "vllm", "sglang", "llama-cpp-python", "lmstudio"]
LLAMA, LLAMA_PYTHON = "llama-cpp", "llama-cpp-python"
# An interpreter that has llama-cpp-python: `make llama-cpp-python` says which.
INTERPRETER = os.environ.get("WITGATE_LLAMA_CPP_PYTHON")
NAMES = PUBLISHED[:13] + [LLAMA] + PUBLISHED[13:]
REPLY = "Hello llama"
LLAMA_KEY = "sk-llama-0123456789abcdef"
# Answers of other models than those that chat, beside the chat's own that a service gives another model.
OTHERS = ["completions", "embeddings", "rerank", "moderations", "images", "images_stream", "speech", "transcription",
          "transcription_stream"]
# What llama.cpp's servers do not do, or not with a model that is made in a test.
MEDIA = [*OTHERS[3:], "files", "files_list", "batches", "message_batches"]


class Stand:
    """A service that answers as published."""

    how = "published"

    def __init__(self, published):
        self.published = published
        self.name, self.title, self.model = published.name, published.title, published.model
        self.fake = Fake(published)
        self.dialect = published.dialect

    def has(self, case):
        return self.published.case(case) is not None

    def model_of(self, case):
        return self.published.model_of(case)

    def own_models(self):
        """The cases that other models than the chat's answer: each has a route of its own."""
        named = {case: self.model_of(case) for case in self.published.answers}
        return {case: (self.name, model) for case, model in named.items() if model not in (None, self.model)}

    @property
    def errors(self):
        return self.published.errors

    def providers(self):
        """Its entries in the configuration: its own, and one for each error, because errors have consequences."""
        own = {**self.published.provider, "base_url": self.fake.base_url, "probe": {"enabled": False}}
        if self.published.key_header:
            own["api_key"] = self.fake.key
        probed = {**own, "probe": {"idle": "1s", "interval": "1s"}}
        return {self.name: own, f"{self.name}-probed": probed, **{f"{self.name}-{error}": own for error in self.errors}}

    def asked(self, case):
        return self.fake.answering(case)

    def direct(self):
        """Its dialect's SDK without the gateway between."""
        if self.dialect == "ollama":
            return ollama.Client(host=self.fake.origin)
        if self.dialect == "anthropic":
            # Newer versions of the SDK send the key as a bearer's; the API takes both.
            headers = {"x-api-key": self.fake.key}
            return anthropic.Anthropic(base_url=self.fake.origin, api_key=self.fake.key, max_retries=0, default_headers=headers)
        headers = {"api-key": self.fake.key} if self.name == "azure" else {}
        key = self.fake.key if self.published.key_header else NO_KEY
        return openai.OpenAI(base_url=self.fake.base_url, api_key=key, max_retries=0, default_headers=headers)

    def stop(self):
        self.fake.stop()


class Real:
    """llama.cpp's own server, one for chat and one for embeddings."""

    how = "real"
    dialect = "openai"
    errors = {"wrong_key": {"means": "unauthorised", "status": 401}, "bad_request": {"means": "bad-request", "status": 500},
              "too_long": {"means": "context-length", "status": 400}}
    lacks = {"count_tokens", *MEDIA}

    def __init__(self, start_llama):
        self.name, self.title, self.model = LLAMA, "llama.cpp", "tiny"
        self.embedding_model = "tiny-embed"
        self.server = start_llama(llama.saying(REPLY), self.model, "--api-key", LLAMA_KEY)
        self.embedder = start_llama(llama.embedder(), self.embedding_model, "--embedding")
        self.ranker = start_llama(llama.embedder(), self.embedding_model, "--reranking")

    def has(self, case):
        return case not in self.lacks

    def model_of(self, case):
        return self.embedding_model if case in ("embeddings", "rerank") else self.model

    def own_models(self):
        models = {"embeddings": (f"{self.name}-embeddings", self.embedding_model)}
        return models | ({"rerank": (f"{self.name}-rerank", self.embedding_model)} if self.has("rerank") else {})

    def providers(self):
        own = {"preset": self.name, "base_url": f"{self.server.url}/v1", "api_key": LLAMA_KEY, "probe": {"enabled": False}}
        probed = {**own, "probe": {"idle": "1s", "interval": "1s"}}
        return {
            self.name: own,
            f"{self.name}-probed": probed,
            f"{self.name}-embeddings": {**own, "base_url": f"{self.embedder.url}/v1"},
            **({f"{self.name}-rerank": {**own, "base_url": f"{self.ranker.url}/v1"}} if self.has("rerank") else {}),
            **{f"{self.name}-{error}": own for error in self.errors},
            f"{self.name}-wrong_key": {**own, "api_key": "sk-wrong-0123456789"},
        }

    @contextmanager
    def asked(self, _case):
        yield []

    def direct(self):
        return openai.OpenAI(base_url=f"{self.server.url}/v1", api_key=LLAMA_KEY, max_retries=0)

    def stop(self):
        pass


class RealPython(Real):
    """The server of llama-cpp-python, run by an interpreter that has it: it takes long to build, so not every run has it."""

    errors = {"wrong_key": {"means": "unauthorised", "status": 401}, "bad_request": {"means": "bad-request", "status": 500},
              "too_long": {"means": "context-length", "status": 400}}
    lacks = {"tools_stream", "schema", "count_tokens", "rerank", *MEDIA}

    def __init__(self, interpreter, logs):
        self.name, self.title, self.model = LLAMA_PYTHON, "llama-cpp-python", "tiny-py"
        self.embedding_model = "tiny-py"
        self.server = PythonServer(interpreter, llama.saying(REPLY), logs)
        self.embedder = PythonServer(interpreter, llama.embedder(), logs, "--embedding", "true")

    def stop(self):
        self.server.stop()
        self.embedder.stop()


class PythonServer(Process):
    def __init__(self, interpreter, file, logs, *options):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        # By default a second request interrupts the first.
        command = [interpreter, "-m", "llama_cpp.server", "--model", file, "--model_alias", "tiny-py", "--host", "127.0.0.1", "--port",
                   port, "--n_ctx", "1024", "--api_key", LLAMA_KEY, "--interrupt_requests", "false", *options]
        super().__init__(command, logs / f"llama-cpp-python-{port}.log")
        eventually("llama-cpp-python listens", self._listens, within=60)

    def _listens(self):
        assert self.running(), self.output()
        try:
            headers = {"authorization": f"Bearer {LLAMA_KEY}"}
            return httpx.get(f"{self.url}/v1/models", headers=headers, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


class Live:
    """A service that is named by the environment: WITGATE_CONTRACT_GROQ_API_KEY, _BASE_URL, _MODEL, _EMBEDDING_MODEL."""

    how = "live"

    def __init__(self, published):
        self.published = published
        self.name, self.title = published.name, published.title
        self.dialect = published.dialect
        self.model = said_by_environment(self.name, "MODEL") or published.model
        self.others = {case: said_by_environment(self.name, variable_of(case)) for case in OTHERS}
        self.key = said_by_environment(self.name, "API_KEY")
        self.base_url = said_by_environment(self.name, "BASE_URL")
        # What answers a real service gives to rare errors is not ours to provoke.
        self.errors = {"wrong_key": {"means": "unauthorised"}} if self.key else {}

    def has(self, case):
        if case in ("files", "files_list", "batches", "message_batches"):
            return False
        return self.published.case(case) is not None and (case not in OTHERS[1:] or self.others[case] is not None)

    def model_of(self, case):
        return self.others.get(case) or self.model

    def own_models(self):
        return {case: (self.name, model) for case, model in self.others.items() if model}

    def providers(self):
        own = {**self.published.provider}
        own |= {"base_url": self.base_url} if self.base_url else {}
        own |= {"api_key": self.key} if self.key else {}
        probed = {**own, "probe": {"idle": "1s", "interval": "1s"}}
        return {self.name: own, f"{self.name}-probed": probed,
                **{f"{self.name}-{error}": {**own, "api_key": "sk-wrong-0123456789"} for error in self.errors}}

    @contextmanager
    def asked(self, _case):
        yield []

    def stop(self):
        pass


def said_by_environment(name, what):
    return os.environ.get(f"WITGATE_CONTRACT_{name.upper().replace('-', '_')}_{what}")


def variable_of(case):
    """The variable's last part that names the model for a case: EMBEDDING_MODEL, RERANK_MODEL."""
    return {"embeddings": "EMBEDDING"}.get(case, case.removesuffix("_stream").upper()) + "_MODEL"


def errors_of(name):
    """Before anything runs: the errors that a service is made to give."""
    if name == LLAMA:
        return Real.errors
    return RealPython.errors if name == LLAMA_PYTHON and INTERPRETER else Published(name).errors


def is_live(name):
    return any(said_by_environment(name, what) for what in ("API_KEY", "BASE_URL"))


def start(start_llama, logs):
    """All of them, by name."""
    services = {}
    for name in NAMES:
        if name == LLAMA:
            services[name] = Real(start_llama)
        elif name == LLAMA_PYTHON and INTERPRETER:
            services[name] = RealPython(INTERPRETER, logs)
        else:
            services[name] = (Live if is_live(name) else Stand)(Published(name))
    return services


def configuration(services, backup):
    """One gateway for all: a route for each service, and for each of its errors one alone and one with a second provider."""
    providers, deployments, routes = {"backup": backup.provider()}, {"tiny-a@backup": {}}, {}
    for service in services.values():
        providers |= service.providers()
        for provider in service.providers():
            deployments[f"chat@{provider}"] = {"model": service.model}
        routes[service.name] = route(f"chat@{service.name}")
        for case, (provider, model) in service.own_models().items():
            deployments[f"{case}@{provider}"] = {"model": model}
            routes[f"{service.name}/{case}"] = route(f"{case}@{provider}")
        # A model of which nothing is known: what is refused of it the provider lacks.
        deployments[f"unknown@{service.name}"] = {"model": "unknown", "catalogue": "none"}
        routes[f"{service.name}/unknown"] = route(f"unknown@{service.name}")
        routes[f"{service.name}/probed"] = route(f"chat@{service.name}-probed")
        for error in service.errors:
            routes[f"{service.name}/{error}"] = route(f"chat@{service.name}-{error}")
            routes[f"{service.name}/{error}/backup"] = route(f"chat@{service.name}-{error}", "tiny-a@backup")
    return {
        "providers": providers, "deployments": deployments, "routes": routes,
        # Every error is followed by the next at once.
        "retries": {"share": 10, "per_second": 10_000},
        "breaker": {"consecutive_failures": 10_000, "min_requests": 1_000_000},
    }


def name_of(service, case):
    """What a client calls the model that answers this case."""
    return f"{service.name}/{case}" if case in service.own_models() else service.name


def passing(service):
    """A gateway whose other paths lead to this service."""
    return {
        "providers": {service.name: service.providers()[service.name]},
        "deployments": {f"chat@{service.name}": {"model": service.model}},
        "routes": {service.name: route(f"chat@{service.name}")},
        "passthrough": {"provider": service.name},
    }


def route(*deployments):
    return {"deployments": list(deployments), "policies": ["in-order"]}
