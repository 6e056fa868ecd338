"""What every provider must give through the gateway: what it gives without it, to the SDKs of OpenAI and Anthropic.

Where the provider speaks the client's dialect, the SDK's objects must be equal field by field, whatever fields the
provider adds. Where it does not, they must say the same.
"""

import json
import re

import httpx
import openai
import pytest
from contract import services as known
from contract.fake import CLIENT_KEY
from contract.said import by_chat, by_chunks, by_message, by_ollama, by_response
from contract.services import name_of
from contract.table import hold
from processes import REPOSITORY, eventually

QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
CLAUDE_TOOLS = [{"name": "get_weather", "input_schema": PARAMETERS}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": PARAMETERS}}
CALL = ("get_weather", {"city": "Paris"})

every_service = pytest.mark.parametrize("service", known.NAMES, indirect=True)


def test_every_preset_has_a_contract():
    presets = {"".join(row["preset"].split("`")) for row in documented_presets()}
    assert presets <= set(known.NAMES)


# Clients of OpenAI


def chat(client, model, **more):
    """A chat answer; `max_tokens` is above what any of the answers has."""
    return client.chat.completions.create(**{"model": model, "messages": QUESTION, "max_tokens": 64, **more})


@pytest.mark.cell("chat")
@every_service
def test_a_chat(service, gpt, record_property):
    through, direct = both(service, "chat", record_property, lambda client, model: chat(client, model), gpt, by_chat)
    assert through.text
    assert through == direct


@pytest.mark.cell("chat, stream")
@every_service
@pytest.mark.parametrize("usage", [True, False])
def test_a_streamed_chat(service, gpt, record_property, usage):
    options = {"stream_options": {"include_usage": True}} if usage else {}
    if usage and service.name == "mistral":
        pytest.skip("Mistral refuses `stream_options`, also without the gateway")

    def ask(client, model):
        return list(chat(client, model, stream=True, **options))

    through, direct = both(service, "chat_stream", record_property, ask, gpt, by_chunks)
    assert through.text
    assert through == direct


@pytest.mark.cell("tools")
@every_service
def test_a_tool_is_called(service, gpt, record_property):
    # llama-cpp-python calls only what it is told to.
    named = {"type": "function", "function": {"name": "get_weather"}}
    choice = named if service.name == known.LLAMA_PYTHON else "auto"

    def ask(client, model):
        return chat(client, model, tools=TOOLS, tool_choice=choice)

    through, direct = both(service, "tools", record_property, ask, gpt, by_chat)
    assert through.calls == [CALL]
    assert through == direct


@pytest.mark.cell("tools, stream")
@every_service
def test_a_tool_is_called_in_a_stream(service, gpt, record_property):
    def ask(client, model):
        return list(chat(client, model, tools=TOOLS, stream=True))

    through, direct = both(service, "tools_stream", record_property, ask, gpt, by_chunks)
    assert through.calls == [CALL]
    assert through == direct


@pytest.mark.cell("JSON schema")
@every_service
def test_a_json_schema(service, gpt, record_property):
    def ask(client, model):
        return chat(client, model, response_format=SCHEMA)

    # Other dialects say it otherwise, so there is nothing to compare with.
    if service.dialect != "openai":
        record_property("cell", "translated")
        with service.asked("schema") as seen:
            through = by_chat(ask(gpt, service.name))
        schema = (lambda body: body["format"]) if service.dialect == "ollama" else lambda body: body["output_config"]["format"]["schema"]
        assert not seen or schema(seen[-1]) == PARAMETERS
    else:
        through, direct = both(service, "schema", record_property, ask, gpt, by_chat)
        assert through == direct
    assert json.loads(through.text).keys() == {"city"}


@pytest.mark.cell("completions")
@every_service
def test_a_completion(service, gpt, record_property):
    def ask(client, model):
        return client.completions.create(model=model, prompt="Once", max_tokens=3, temperature=0)

    if refused(service, "completions", record_property, gpt, ask):
        return
    with service.asked("completions"):
        through = ask(gpt, name_of(service, "completions"))
        if service.dialect == "ollama":
            record_property("cell", "translated")
            assert through.choices[0].text == service.direct().generate(service.model, "Once", options={"num_predict": 3}).response
            return
        direct = ask(service.direct(), service.model_of("completions")) if service.how != "live" else None
    assert through.choices[0].text
    same(service, through, direct)


@pytest.mark.cell("embeddings")
@every_service
def test_embeddings(service, gpt, record_property):
    def ask(client, model):
        return client.embeddings.create(model=model, input="a fast fox", encoding_format="float")

    if refused(service, "embeddings", record_property, gpt, ask):
        return
    with service.asked("embeddings"):
        through = ask(gpt, name_of(service, "embeddings"))
        if service.dialect == "ollama":
            record_property("cell", "translated")
            assert through.data[0].embedding == list(service.direct().embed(service.model_of("embeddings"), "a fast fox").embeddings[0])
            return
        direct = ask(service.direct(), service.model_of("embeddings")) if service.how == "published" else None
    assert through.data[0].embedding
    same(service, through, direct)


def response(client, model, **more):
    return client.responses.create(**{"model": model, "input": QUESTION, **more})


def streamed_response(client, model):
    with client.responses.stream(model=model, input=QUESTION) as events:
        assert [event.type for event in events][-1] == "response.completed"
        return events.get_final_response()


@pytest.mark.cell("responses")
@every_service
def test_a_response(service, gpt, record_property):
    answered(service, "responses", record_property, gpt, response)


@pytest.mark.cell("responses, stream")
@every_service
def test_a_streamed_response(service, gpt, record_property):
    answered(service, "responses_stream", record_property, gpt, streamed_response)


@pytest.mark.cell("responses, tools")
@every_service
def test_a_tool_is_called_by_a_response(service, gpt, record_property):
    tools = [{"type": "function", **TOOLS[0]["function"], "strict": True}]
    named = {"type": "function", "name": "get_weather"}
    choice = named if service.name == known.LLAMA_PYTHON else "auto"

    def ask(client, model):
        return response(client, model, tools=tools, tool_choice=choice)

    answered(service, "responses_tools", record_property, gpt, ask, calls=[CALL])


def answered(service, case, record_property, gpt, ask, calls=()):
    """Passed through where the provider has Responses, else translated: then chat completions must say the same."""
    if service.dialect == "openai" and has_responses(service):
        assert service.has(case), f"docs/providers.md says that {service.title} has Responses, but nothing shows it"
        with service.asked(case) as seen:
            through = ask(gpt, name_of(service, case))
            direct = ask(service.direct(), service.model_of(case)) if service.how == "published" else through
        assert not seen or seen[0] == seen[1], "the gateway sends what the client sent"
        assert plain(through) == plain(direct)
        assert by_response(through).calls == list(calls)
        return
    chat_case = {"responses": "chat", "responses_stream": "chat_stream", "responses_tools": "tools"}[case]
    asked(service, chat_case, record_property, lambda model: by_response(ask(gpt, model)), calls, way="translated")


@every_service
def test_what_the_provider_adds_in_headers_is_passed_on(service, contract_gateway):
    headers = service.published.answers["chat"].get("headers", {}) if service.how == "published" else {}
    limits = {name: str(value) for name, value in headers.items() if name.startswith(("x-ratelimit-", "openai-", "anthropic-"))}
    if not limits:
        pytest.skip("it documents none")
    path, more = ("/v1/messages", {"max_tokens": 64}) if service.dialect == "anthropic" else ("/v1/chat/completions", {})
    with service.asked("chat"):
        answer = httpx.post(f"{contract_gateway.url}{path}", json={"model": service.name, "messages": QUESTION, **more},
                            headers={"authorization": f"Bearer {CLIENT_KEY}"}, timeout=30)
    assert answer.status_code == 200
    assert {name: answer.headers.get(name) for name in limits} == limits


@every_service
def test_the_bytes_of_an_answer_are_the_providers(service, contract_gateway):
    if service.how != "published" or service.dialect != "openai":
        pytest.skip("the answer is another every time, or translated")
    for case in [name for name in ("chat", "tools", "schema") if service.has(name)]:
        with service.asked(case):
            body = {"model": name_of(service, case), "messages": QUESTION}
            answer = httpx.post(f"{contract_gateway.url}/v1/chat/completions", json=body,
                                headers={"authorization": f"Bearer {CLIENT_KEY}"}, timeout=30)
        assert answer.text == service.published.answers[case]["body"]


# Clients of Anthropic


def message(client, model, **more):
    return client.messages.create(**{"model": model, "max_tokens": 64, "messages": QUESTION, **more})


def streamed_message(client, model, **more):
    with client.messages.stream(model=model, max_tokens=64, messages=QUESTION, **more) as events:
        assert list(events), "a stream has events"
        return events.get_final_message()


@pytest.mark.cell("messages")
@every_service
def test_a_message(service, claude, record_property):
    asked(service, "chat", record_property, lambda model: by_message(message(claude, model)))


@pytest.mark.cell("messages, stream")
@every_service
def test_a_streamed_message(service, claude, record_property):
    asked(service, "chat_stream", record_property, lambda model: by_message(streamed_message(claude, model)))


@pytest.mark.cell("messages, tools")
@every_service
def test_a_tool_is_called_by_a_message(service, claude, record_property):
    named = {"type": "tool", "name": "get_weather"}
    choice = named if service.name == known.LLAMA_PYTHON else {"type": "auto"}

    def ask(model):
        return by_message(message(claude, model, tools=CLAUDE_TOOLS, tool_choice=choice))

    asked(service, "tools", record_property, ask, calls=[CALL])


@pytest.mark.cell("messages, tools, stream")
@every_service
def test_a_tool_is_called_by_a_streamed_message(service, claude, record_property):
    def ask(model):
        return by_message(streamed_message(claude, model, tools=CLAUDE_TOOLS))

    asked(service, "tools_stream", record_property, ask, calls=[CALL])


# Clients of Ollama


def ollama_chat(client, model, **more):
    answer = client.chat(model, QUESTION, **more)
    return list(answer) if more.get("stream") else answer


@pytest.mark.cell("/api/chat")
@every_service
def test_an_ollama_chat(service, llamas, record_property):
    asked(service, "chat", record_property, lambda model: by_ollama(ollama_chat(llamas, model)), dialect="ollama")


@pytest.mark.cell("/api/chat, stream")
@every_service
def test_a_streamed_ollama_chat(service, llamas, record_property):
    def ask(model):
        return by_ollama(ollama_chat(llamas, model, stream=True))

    asked(service, "chat_stream", record_property, ask, dialect="ollama")


@pytest.mark.cell("/api/chat, tools")
@every_service
def test_a_tool_is_called_by_an_ollama_chat(service, llamas, record_property):
    if service.name == known.LLAMA_PYTHON and service.how == "real":
        pytest.skip("it calls only what it is told to, which Ollama's clients cannot")

    def ask(model):
        return by_ollama(ollama_chat(llamas, model, tools=TOOLS))

    asked(service, "tools", record_property, ask, calls=[CALL], dialect="ollama")


@pytest.mark.cell("/api/chat, tools, stream")
@every_service
def test_a_tool_is_called_by_a_streamed_ollama_chat(service, llamas, record_property):
    def ask(model):
        return by_ollama(ollama_chat(llamas, model, tools=TOOLS, stream=True))

    asked(service, "tools_stream", record_property, ask, calls=[CALL], dialect="ollama")


@pytest.mark.cell("/api/embed")
@every_service
def test_ollama_embeddings(service, llamas, gpt, record_property):
    record_property("cell", "yes" if service.dialect == "ollama" else "translated")
    if refused(service, "embeddings", record_property, gpt, lambda client, model: client.embeddings.create(model=model, input="a fox")):
        return
    with service.asked("embeddings"):
        told = llamas.embed(name_of(service, "embeddings"), "a fast fox").embeddings
        if service.how != "published":
            assert len(told) == 1 and told[0]
        elif service.dialect == "ollama":
            assert told == service.direct().embed(service.model_of("embeddings"), "a fast fox").embeddings
        else:
            direct = service.direct().embeddings.create(model=service.model_of("embeddings"), input="a fast fox", encoding_format="float")
            assert [list(vector) for vector in told] == [data.embedding for data in direct.data]


def asked(service, case, record_property, ask, calls=(), way=None, dialect="anthropic"):
    """Asks in another dialect; the provider's own answer must say the same."""
    record_property("cell", way or ("yes" if service.dialect == dialect else "translated"))
    if not documented(service, case, record_property):
        return
    with service.asked(case) as seen:
        through = ask(name_of(service, case))
        expected = own_words(service, case, seen)
    assert through.text or through.calls
    assert through.calls == list(calls)
    if expected is None:
        return
    if expected.tokens_out is None:
        # The provider does not count. Messages must have usage, so the gateway does; Responses need not.
        assert through.tokens_out is None or through.tokens_out > 0
        expected.tokens_in, expected.tokens_cached, expected.tokens_out = through.tokens_in, through.tokens_cached, through.tokens_out
    if None in (through.tokens_cached, expected.tokens_cached):
        # Ollama does not tell what was cached.
        through.tokens_cached = expected.tokens_cached = None
    expected.end = "tool_calls" if calls else expected.end
    assert through == expected


def own_words(service, case, seen):
    """What the provider says to the same question without the gateway."""
    if service.how != "published":
        return None
    model, stream = service.model_of(case), case.endswith("_stream")
    if service.dialect == "ollama":
        return by_ollama(ollama_chat(service.direct(), model, stream=stream))
    if service.dialect == "anthropic":
        return by_message((streamed_message if stream else message)(service.direct(), model))
    usage = {"stream_options": {"include_usage": True}} if stream and "stream_options" in seen[-1] else {}
    answer = chat(service.direct(), model, **({"stream": True, **usage} if stream else {}))
    return by_chunks(answer) if stream else by_chat(answer)


# Both ways at once


def both(service, case, record_property, ask, gpt, read):
    """What the SDK reads through the gateway, and what it reads from the provider itself, where that can be asked the same."""
    record_property("cell", "yes" if service.dialect == "openai" else "translated")
    if not documented(service, case, record_property):
        pytest.skip(f"{service.title} does not document it")
    with service.asked(case) as seen:
        through = ask(gpt, name_of(service, case))
        if service.how != "published":
            direct = None
        elif service.dialect != "openai":
            direct = own_words(service, case, seen)
        else:
            direct = ask(service.direct(), service.model_of(case))
            assert seen[0] == seen[1], "the gateway sends what the client sent"
            assert plain(through) == plain(direct)
    said = read(through)
    if direct is None:
        return said, said
    told = direct if service.dialect != "openai" else read(direct)
    if said.tokens_in is None:
        told.tokens_in = told.tokens_cached = told.tokens_out = None
    if None in (said.tokens_cached, told.tokens_cached):
        said.tokens_cached = told.tokens_cached = None
    return said, told


def plain(answer):
    return [chunk.to_dict() for chunk in answer] if isinstance(answer, list) else answer.to_dict()


def same(service, through, direct):
    if service.how == "published":
        assert plain(through) == plain(direct)


def documented(service, case, record_property):
    if not service.has(case):
        record_property("cell", "–")
        return False
    return True


def refused(service, case, record_property, gpt, ask):
    """Whether the provider lacks an endpoint. The gateway then says so, and asks nobody."""
    lacks = ENDPOINTS[case] in not_served(service)
    if service.has(case):
        assert not lacks, f"docs/providers.md says that {service.title} has no {case}"
        return False
    if not lacks:
        record_property("cell", "–")
        known_to_have = case in ("completions", "embeddings") and service.how != "live"
        assert not known_to_have, f"docs/providers.md says that {service.title} has {case}, but nothing shows it"
        pytest.skip(f"{service.title} does not document it")
    record_property("cell", "no")
    with service.asked("chat") as seen, pytest.raises(openai.BadRequestError) as caught:
        ask(gpt, f"{service.name}/unknown")
    assert caught.value.code == "unsupported_endpoint"
    assert not seen
    return True


# What docs/providers.md calls the endpoint of a case.
ENDPOINTS = {
    "completions": "completions", "embeddings": "embeddings", "rerank": "rerank", "moderations": "moderations",
    "images": "images/generations", "images_stream": "images/generations", "speech": "audio/speech",
    "transcription": "audio/transcriptions", "transcription_stream": "audio/transcriptions",
}


def not_served(service):
    """The endpoints that the provider does not have, by docs/providers.md, which is written from the program's own table."""
    text = (REPOSITORY / "docs" / "providers.md").read_text()
    section = re.search(rf"\n### {re.escape(service.title)}\n.*?(?=\n##)", text, re.DOTALL).group()
    row = re.search(r"\| not served \| (.*) \|", section)
    return set(row.group(1).split(", ")) if row else set()


def has_responses(service):
    row = next(row for row in documented_presets() if row["preset"].strip("`") == service.name)
    return row["responses"] == "yes"


def documented_presets():
    """The table of docs/providers.md, which is written from the program's own."""
    lines = (REPOSITORY / "docs" / "providers.md").read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if re.match(r"\| preset \|", line))
    header = [cell.strip() for cell in lines[start].strip("|").split("|")]
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            return
        yield dict(zip(header, (cell.strip() for cell in line.strip("|").split("|"))))


# How the gateway asks whether a provider is well


@every_service
def test_a_provider_is_probed_with_its_own_key(service, contract_gateway):
    """A server's `/health` where it has one, else its list of models; the stand-in checks the key."""
    def probes():
        wanted = rf'witgate_probes_total{{provider="{service.name}-probed",result="good"}} (\d+)'
        found = re.search(wanted, contract_gateway.get("/metrics").text)
        return found and int(found.group(1)) >= 2

    if service.how == "published":
        service.fake.violations.clear()
    eventually(f"{service.title} is probed", probes, within=15)
    if service.how == "published":
        assert not service.fake.violations, "\n".join(service.fake.violations)


def test_the_published_table_is_what_passed(record, services, request):
    if known.INTERPRETER or any(service.how == "live" for service in services.values()):
        pytest.skip("some services are other ones than usual")
    options = request.config.option
    if options.keyword not in ("", "contract") or options.markexpr or any(".py" in argument for argument in request.config.args):
        pytest.skip("not all of the contract tests have run")
    hold(record, services)
