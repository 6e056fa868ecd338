"""docs/compatibility.md: written from the tests that passed, and from nothing else."""

import os
import re

from contract.outcomes import OUTCOMES
from processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "compatibility.md"

OPENAI = ["chat", "chat, stream", "tools", "tools, stream", "JSON schema", "completions", "embeddings"]
MORE = ["rerank", "moderations", "images", "images, stream", "speech", "transcription", "transcription, stream", "files", "batches"]
RESPONSES = ["responses", "responses, stream", "responses, tools"]
ANTHROPIC = ["messages", "messages, stream", "messages, tools", "messages, tools, stream", "message batches"]
OLLAMA = ["/api/chat", "/api/chat, stream", "/api/chat, tools", "/api/chat, tools, stream", "/api/embed"]
HOW = {"real": "real server", "published": "published API"}
ALSO = {"llama-cpp-python": "published API; real server in `make test-all`"}


class Record:
    """What has run, and how it ended."""

    def __init__(self):
        self.cells, self.failed, self.quirks = {}, set(), []

    def ran(self, service, cell, error, outcome, value):
        """A test that was skipped says nothing, unless it says that the provider does not document what it asks for."""
        key = (service, cell, error)
        if outcome == "failed":
            self.failed.add(key)
        if outcome != "skipped" or value == "–":
            self.cells[key] = value or "yes"

    def value(self, service, cell):
        key = (service, cell, None)
        return "failed" if key in self.failed else self.cells.get(key, "not run")

    def errors(self, service, published):
        """The errors that were seen to be told right, to both kinds of clients and with a second provider."""
        told = {}
        for error, case in published.items():
            keys = [(service, cell, error) for cell in ("error", "error, messages", "failover")]
            if all(key in self.cells and key not in self.failed for key in keys):
                told.setdefault(case["means"], []).append(str(case.get("status", self.cells[keys[0]])))
        return told


def hold(record, services):
    """Fails when the committed page does not say what passed; WITGATE_BLESS=1 writes it."""
    text = page(record, services)
    if os.environ.get("WITGATE_BLESS") == "1":
        PAGE.write_text(text)
    assert PAGE.exists() and PAGE.read_text() == text, (
        f"{PAGE.relative_to(REPOSITORY)} is not what passed: "
        "`WITGATE_BLESS=1 make test-clients ARGS='-k contract'` writes it anew")


def page(record, services):
    lines = [INTRODUCTION]
    lines += ["## Clients of OpenAI\n", *grid(record, services, OPENAI)]
    lines += [OTHER, *grid(record, services, MORE)]
    lines += ["\n## Clients of OpenAI's Responses\n", *grid(record, services, RESPONSES)]
    lines += ["\n## Clients of Anthropic\n", *grid(record, services, ANTHROPIC)]
    lines += ["\n## Clients of Ollama\n", *grid(record, services, OLLAMA)]
    lines += [ERRORS, *error_grid(record, services), "\n" + MEANINGS]
    lines += [f"| `{means}` | {outcome.told()} | {outcome.next_told()} |" for means, outcome in OUTCOMES.items()]
    lines += [QUIRKS, *(f"- {quirk(name)}" for name in sorted(record.quirks))]
    lines += [SOURCES, *sources(services)]
    return "\n".join(lines) + "\n"


def grid(record, services, cells):
    yield row(["provider", "shown by", *cells])
    yield "|---" * (len(cells) + 2) + "|"
    for service in services.values():
        how = ALSO.get(service.name, HOW[service.how])
        yield row([service.title, how, *(record.value(service.name, cell) for cell in cells)])


def error_grid(record, services):
    yield row(["provider", *(f"`{means}`" for means in OUTCOMES)])
    yield "|---" * (len(OUTCOMES) + 1) + "|"
    for service in services.values():
        told = record.errors(service.name, service.errors)
        yield row([service.title, *(", ".join(told.get(means, [])) for means in OUTCOMES)])


def quirk(name):
    """The name of its test, as a sentence."""
    told = name.removeprefix("test_").replace("_s_", "'s ").replace("_", " ")
    for title in ("Azure", "DeepSeek", "Gemini", "Groq", "Mistral", "OpenRouter", "SGLang", "Together", "SDKs"):
        told = re.sub(rf"\b{title.lower()}\b", title, told)
    return told + "."


def sources(services):
    for service in services.values():
        if service.how == "published":
            file = f"../tests/clients/contract/published/{service.name}.yaml"
            yield f"- [{service.title}]({file}): " + ", ".join(service.published.documents())
        else:
            yield f"- {service.title}: the server itself, with a tiny model"


def row(cells):
    return "| " + " | ".join(cells) + " |"


INTRODUCTION = """\
# Compatibility

This page is written by the tests in [`tests/clients/contract`](../tests/clients/contract), from what passed: `make test`
fails when it says anything else. Each test drives a real gateway with the official SDKs of OpenAI, Anthropic and Ollama, and
compares what they get with what they get from the provider without the gateway.

*Real server*: the provider's own program answers. *Published API*: the service cannot run in a test, so a stand-in answers
with what the provider documents, and takes only what the provider would: its paths, its key in its header, its name of the
model. The same tests can be pointed at the real service, see [the tests](../tests/clients/README.md#contracts).

*yes*: passed on as it is, both ways. *translated*: into another dialect and back. *no*: the provider does not have it, and
the gateway says so without asking. *own shape*: passed on as it is, but the answer is not in the shape that others have.
*–*: the provider does not document it.
"""

OTHER = """
### Their other endpoints

Files and batches are [passed through](providers.md#what-is-passed-through) to the provider that `passthrough` names.
*listed*: files can be listed, and are uploaded in a way of the provider's own.
"""

ERRORS = """
## Errors

Which statuses of a provider mean what. Seen by clients of both dialects, alone and with a second provider behind.
"""

MEANINGS = """\
| meaning | the client is told | with a second provider |
|---|---|---|"""

QUIRKS = """
## What only one does

Each has a test of its own, and gets through:
"""

SOURCES = """
## Sources

What the stand-ins answer, each answer with the section that it is from:
"""
