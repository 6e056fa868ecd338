"""The real gateway, started with a configuration that is written down as a Python object."""

import json
import os
import subprocess

import anthropic
import httpx
import openai
import pytest

from processes import REPOSITORY, Process, eventually, free_port


def binary():
    """The program under test."""
    path = os.environ.get("WITGATE_BIN", "")
    if not os.access(path, os.X_OK):
        pytest.exit(f"WITGATE_BIN={path!r} is no program: run `make test-clients`, which builds it", returncode=2)
    return path


def command_line(*arguments, cwd=None):
    """Runs the program to its end."""
    return subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=60, cwd=cwd)


def write_config(folder, config):
    """Writes a configuration; JSON is YAML."""
    file = folder / "witgate.yaml"
    file.write_text(json.dumps(config, indent=1))
    return file


class Gateway(Process):
    """One running gateway with a policy folder of its own."""

    def __init__(self, folder, config):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.policies = folder / "policies"
        self.policies.mkdir(parents=True, exist_ok=True)
        config = {
            **config,
            "server": {"listen": f"127.0.0.1:{self.port}", "drain_delay": "0s", "shutdown_grace": "2s", **config.get("server", {})},
            "policies": {
                "directory": str(self.policies), "poll": "200ms",
                # shared by all tests, so that each policy is compiled once
                "code_cache": str(REPOSITORY / "target" / "real" / "code-cache"), **config.get("policies", {}),
            },
        }
        self.config = write_config(folder, config)
        super().__init__([binary(), "serve", "--config", self.config, *self._arguments()], folder / "gateway.log", cwd=folder)
        eventually("the gateway is ready", self._ready, within=60)

    def _arguments(self):
        """More arguments, for tests that want them."""
        return []

    def _ready(self):
        assert self.running(), f"the gateway ended with {self.child.returncode}: {self.output()}"
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def client(self, **more):
        """The official SDK, without its own retries: a test shall see what the gateway did."""
        settings = {"api_key": "unused", "max_retries": 0, "timeout": 30, **more}
        return openai.OpenAI(base_url=f"{self.url}/v1", **settings)

    def anthropic(self, **more):
        """Anthropic's official SDK, without its own retries."""
        settings = {"api_key": "unused", "max_retries": 0, "timeout": 30, **more}
        return anthropic.Anthropic(base_url=self.url, **settings)

    def get(self, path):
        return httpx.get(f"{self.url}{path}", timeout=10)


def ask(client, model, text="hi", **more):
    """One chat answer's text; always the same for the same question."""
    return client.chat.completions.create(**question(model, text, more)).choices[0].message.content


def ask_raw(client, model, text="hi", **more):
    """One chat answer with its headers: `.headers`, `.parse()`."""
    return client.chat.completions.with_raw_response.create(**question(model, text, more))


def question(model, text, more):
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
