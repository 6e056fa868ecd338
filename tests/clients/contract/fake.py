"""A stand-in for a service that cannot run here: every answer is a file under `published/`, which says where it is from.

It takes only what the service would: its own paths, the right key in the right header, the model by its own name, and,
where the service documents that it refuses them, no fields that it does not know. What else comes is remembered as a
violation, and answered in a way that no test takes for a success.
"""

import base64
import json
import pathlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml
from fake_openai import part_of

PUBLISHED = pathlib.Path(__file__).parent / "published"
# In no request that leaves the gateway.
CLIENT_KEY = "sk-client-0123456789abcdef"
# The SDK must send a key, also where a test lets it ask a server directly that wants none.
NO_KEY = "sk-none"


class Published:
    """The file of a service."""

    def __init__(self, name):
        self.name = name
        file = yaml.safe_load((PUBLISHED / f"{name}.yaml").read_text())
        self.title = file["title"]
        self.provider = file["provider"]
        self.dialect = file.get("dialect", "openai")
        self.base_path = file["base_path"]
        self.key_header = file.get("key_header")
        self.model = file["model"]
        self.fields = set(file.get("fields", []))
        self.answers = {name: self.answer(name, case) for name, case in file["answers"].items()}
        self.errors = file.get("errors", {})

    def answer(self, name, case):
        """An answer that is documented to be another's: the same but for the model."""
        if "like" not in case:
            return case
        other = Published(case["like"])
        theirs = other.answers[name]
        named, model = theirs.get("model", other.model), case.get("model", self.model)
        if named is None or model is None:
            return {**theirs, **case}
        text = {key: value.replace(named, model) for key, value in theirs.items() if key in ("body", "events")}
        return {**theirs, **text, **case}

    def case(self, name):
        return self.answers.get(name) or self.errors.get(name)

    def model_of(self, name):
        """Who gives this answer: most are the chat model's, and to some questions no model belongs."""
        return (self.case(name) or {}).get("model", self.model)

    def documents(self):
        """Where its answers are from, each site or repository once."""
        said = " ".join(case["from"] for case in [*self.answers.values(), *self.errors.values()])
        sites = r"recorded from [\w. -]+?\d+\.\d+\.\d+|github\.com/[\w-]+/[\w-]+|\b(?:[a-z-]+\.)+(?:ai|co|com|dev)\b"
        return sorted(set(re.findall(sites, said)))


class Fake:
    """A running stand-in. `with fake.answering("chat") as seen:` chooses what is answered, and collects the requests."""

    def __init__(self, published):
        self.published = published
        self.key = f"sk-{published.name}-0123456789abcdef"
        self.violations, self.seen, self.case = [], [], None
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                service.get(self)

            def do_POST(self):
                service.post(self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.base_url = self.origin + published.base_path

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def answering(self, name):
        """The requests to come are answered by this case of the file; afterwards none may have broken a rule."""
        self.case, self.seen, self.violations = self.published.case(name), [], []
        assert self.case, f"published/{self.published.name}.yaml has no `{name}`"
        yield self.seen
        self.case = None
        assert not self.violations, "\n".join(self.violations)

    def get(self, request):
        """Lists of models, and questions about health, which may come at any time."""
        known = {self.published.base_path + "/models": "models"}
        for name, case in self.published.answers.items():
            if case.get("method") == "GET":
                known[case["path"]] = known[self.published.base_path + case["path"]] = name
        name = known.get(request.path.partition("?")[0])
        case = self.published.answers.get(name)
        if case is None:
            return send(request, 404, {"content-type": "text/plain"}, b"404 page not found")
        self.check_headers(request)
        answer(request, case)

    def post(self, request):
        body = read(request)
        case = self.case
        if case is None:
            return self.violated(request, "nobody asked a question")
        path = self.published.base_path + case.get("path", "/chat/completions")
        if request.path != path:
            return self.violated(request, f"the path is {path}")
        content_type = request.headers.get("content-type", "")
        parsed = part_of(content_type, body) if content_type.startswith("multipart/") else json.loads(body)
        self.seen.append(parsed)
        model = case.get("model", self.published.model)
        if parsed.get("model") != model:
            return self.violated(request, f"the model is {model}, not {parsed.get('model')}")
        fields = set(case.get("fields", self.published.fields))
        unknown = set(parsed) - fields
        if fields and unknown:
            return self.violated(request, f"{self.published.title} refuses fields that it does not know: {unknown}")
        if not self.check_headers(request):
            return self.violated(request, "see above")
        streams = parsed.get("stream") in (True, "true")
        if case.get("status", 200) == 200 and streams != is_stream(case):
            return self.violated(request, f"`stream` is {streams}")
        answer(request, case, wants_usage=(parsed.get("stream_options") or {}).get("include_usage"))

    def check_headers(self, request):
        """The provider's own key, in the header that it wants, and nobody else's."""
        before = len(self.violations)
        everything = str(request.headers)
        if CLIENT_KEY in everything:
            self.violations.append(f"{request.path}: the client's key was passed on: {everything}")
        if self.published.key_header:
            name, _, shape = self.published.key_header.partition(": ")
            if request.headers.get(name) != shape.format(key=self.key):
                self.violations.append(f"{request.path}: no `{name}` with the provider's key: {everything}")
        elif request.headers.get("authorization") not in (None, f"Bearer {NO_KEY}"):
            self.violations.append(f"{request.path}: a key for a server that wants none: {everything}")
        return len(self.violations) == before

    def violated(self, request, rule):
        self.violations.append(f"{request.command} {request.path}: {rule}")
        send(request, 418, {"content-type": "text/plain"}, b"not as published")


def read(request):
    """The body, which comes in chunks where the gateway passes it on as it comes."""
    if request.headers.get("transfer-encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("content-length", 0)))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def is_stream(case):
    """Events, or lines of JSON as Ollama sends them."""
    return "events" in case or "lines" in case


def answer(request, case, wants_usage=False):
    """Sends a case of the file. A chunk that holds nothing but usage is for those who asked for it."""
    headers = {str(name): str(value) for name, value in case.get("headers", {}).items()}
    if not is_stream(case):
        body = base64.b64decode(case["bytes"]) if "bytes" in case else case.get("body", "").encode()
        return send(request, case.get("status", 200), {"content-type": "application/json", **headers}, body)
    request.send_response(200)
    kind = "text/event-stream" if "events" in case else "application/x-ndjson"
    for name, value in {"content-type": kind, **headers, "transfer-encoding": "chunked"}.items():
        request.send_header(name, value)
    request.end_headers()
    for piece in pieces(case, wants_usage):
        request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        request.wfile.flush()
    if not case.get("breaks_off"):
        request.wfile.write(b"0\r\n\r\n")
    else:
        request.close_connection = True


def pieces(case, wants_usage):
    """The events or lines, cut in the middle as well as between them."""
    text = case.get("events", "").rstrip("\n") + "\n\n"
    whole = case["lines"].splitlines(keepends=True) if "lines" in case else re.findall(r".+?(?:\r?\n){2,}", text, re.DOTALL)
    for event in whole:
        if re.search(r'"choices": ?\[\],.*"usage": ?\{', event) and not wants_usage:
            continue
        raw = event.encode()
        yield raw[:len(raw) // 2]
        yield raw[len(raw) // 2:]


def send(request, status, headers, body):
    request.send_response(status)
    for name, value in {**headers, "content-length": len(body)}.items():
        request.send_header(name, str(value))
    request.end_headers()
    request.wfile.write(body)
