"""Real upstreams: llama.cpp's own server with tiny models whose answers are known word for word."""

import fcntl
import subprocess
import sys

import httpx

from processes import REPOSITORY, Process, eventually, free_port

MODELS = REPOSITORY / "target" / "real"
TOOLS = REPOSITORY / "tests" / "real"
LAYERS_FOR_SLOW = ["--layers", "32", "--embd", "256", "--count", "400"]


def model(name, *options):
    """The file of a model, made once. Two test runs at the same time do not disturb each other."""
    MODELS.mkdir(parents=True, exist_ok=True)
    file = MODELS / f"{name}.gguf"
    with (MODELS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        maker = TOOLS / "make_tiny_gguf.py"
        if not file.exists() or file.stat().st_mtime < maker.stat().st_mtime:
            part = file.with_suffix(".part")
            subprocess.run([sys.executable, maker, "--out", part, "--name", name, *options],
                           check=True, stdout=subprocess.DEVNULL)
            part.rename(file)
    return file


def saying(reply):
    """A model that answers everything with `reply`, in which no word may come twice."""
    return model(reply.lower().replace(" ", "-"), "--reply", reply)


def slow():
    """A model that takes about two seconds for its 400 numbers."""
    return model("slow", "--reply", "Counting", *LAYERS_FOR_SLOW)


def embedder():
    """A model whose embeddings are near for texts that share words."""
    return model("embedder", "--embedding")


class LlamaServer(Process):
    """One llama.cpp server. It can be started again at the same address after a `kill`."""

    def __init__(self, file, alias, logs, *options):
        self.alias, self.port = alias, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, TOOLS / "run_llama_server.py", "--model", file, "--alias", alias,
                         "--port", self.port, *options]
        self._log = logs / f"llama-{alias}-{self.port}.log"
        self.start()

    def start(self):
        super().__init__(self._command, self._log)
        eventually(f"{self.alias} listens; it said: {self.output()}", self._healthy, within=30)

    def _healthy(self):
        assert self.running(), f"{self.alias} ended with {self.child.returncode}: {self.output()}"
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def busy_slots(self):
        """How many requests it works on now."""
        return sum(slot["is_processing"] for slot in httpx.get(f"{self.url}/slots").json())

    def provider(self, **more):
        """Its entry in the gateway's configuration."""
        return {"dialect": "openai", "base_url": f"{self.url}/v1", **more}

    def messages_provider(self, **more):
        """The same for its own `/v1/messages`."""
        return self.provider(**{"dialect": "anthropic", **more})
