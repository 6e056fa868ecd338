"""Ollama's official client at a gateway whose providers are real llama.cpp servers, which do not speak Ollama's API."""

import json

import httpx
import llama
import ollama
import pytest
from conftest import ALPHA
from test_chat import WEATHER
from test_endpoints import dot

QUESTION = [{"role": "user", "content": "hi"}]
STILL = {"temperature": 0}
WORDS = len(ALPHA.split())


@pytest.fixture
def client(gateway):
    return ollama.Client(host=gateway.url)


def test_a_chat_is_answered(client):
    answer = client.chat("tiny", QUESTION, options=STILL)
    assert (answer.message.role, answer.message.content, answer.done_reason) == ("assistant", ALPHA, "stop")
    assert (answer.model, answer.done, answer.eval_count) == ("tiny-a", True, WORDS + 1)
    assert answer.prompt_eval_count > 0 and answer.eval_duration > 0


def test_a_chat_is_cut_by_its_limit_and_by_a_word(client):
    answer = client.chat("tiny", QUESTION, options={**STILL, "num_predict": 2})
    assert (answer.message.content, answer.done_reason) == ("Alpha server", "length")
    answer = client.chat("tiny", QUESTION, options={**STILL, "stop": ["speaking"]})
    assert answer.message.content.strip() == "Alpha server"


def test_a_chat_is_streamed(client):
    *parts, last = client.chat("tiny", QUESTION, options=STILL, stream=True)
    assert "".join(part.message.content for part in parts) == ALPHA and len(parts) > 1
    assert not any(part.done for part in parts)
    assert (last.done, last.done_reason, last.eval_count, last.message.content) == (True, "stop", WORDS + 1, "")


def test_the_stream_is_lines_of_json_and_streamed_unless_told_not_to(gateway):
    answer = httpx.post(f"{gateway.url}/api/chat", json={"model": "tiny", "messages": QUESTION, "options": STILL})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    # as the documentation's `curl -d` sends it
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = json.dumps({"model": "tiny:latest", "prompt": "hi", "stream": False, "options": STILL})
    assert httpx.post(f"{gateway.url}/api/generate", content=body, headers=form).json()["response"] == ALPHA
    # which a page in a browser must not
    stranger = httpx.post(f"{gateway.url}/api/generate", content=body, headers={**form, "origin": "https://evil.example"})
    assert stranger.status_code == 415 and "Unsupported content type" in stranger.json()["error"]


def test_a_prompt_is_completed(client):
    answer = client.generate("tiny", "hi", system="Be brief.", options=STILL)
    assert (answer.response, answer.done, answer.done_reason) == (ALPHA, True, "stop")
    *parts, last = client.generate("tiny", "hi", options=STILL, stream=True)
    assert "".join(part.response for part in parts) == ALPHA and last.eval_count == WORDS + 1


def test_a_tool_is_called_and_its_result_is_taken(client):
    for stream in (False, True):
        told = client.chat("tiny", QUESTION, tools=WEATHER, options=STILL, stream=stream)
        messages = [part.message for part in told] if stream else [told.message]
        [called] = [call for message in messages for call in message.tool_calls or []]
        assert (called.function.name, called.function.arguments) == ("get_weather", {"city": "Paris"})
    messages = [*QUESTION, {"role": "assistant", "content": "", "tool_calls": [called]},
                {"role": "tool", "tool_name": "get_weather", "content": "rain"}]
    answer = client.chat("tiny", messages, tools=WEATHER, options=STILL)
    assert (answer.message.content, answer.message.tool_calls) == (ALPHA, None)


def test_a_schema_is_kept_to(client):
    schema = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"], "additionalProperties": False}
    answer = client.chat("tiny", QUESTION, format=schema, options=STILL)
    assert json.loads(answer.message.content) == {"said": ALPHA}


def test_texts_are_embedded(client, gateway):
    answer = client.embed("embed", ["a fast brown fox", "the fast brown fox", "quarterly tax report"])
    fox, same_fox, taxes = answer.embeddings
    assert dot(fox, same_fox) > dot(fox, taxes) and answer.prompt_eval_count > 0
    [alone] = client.embed("embed", "fox").embeddings
    asked_otherwise = gateway.client().embeddings.create(model="embed", input="fox").data[0].embedding
    assert alone == pytest.approx(asked_otherwise, abs=1e-6)


def test_what_there_is_can_be_listed_and_shown(client, gateway):
    names = [model.model for model in client.list().models]
    assert names == ["tiny", "team/tiny", "cached", "embed"]
    shown = client.show("tiny")
    assert shown.capabilities == ["completion"] and shown.modelinfo["general.architecture"] == "witgate"
    assert client.show("embed:latest").capabilities == ["embedding"]
    assert [model.model for model in client.ps().models] == names
    assert gateway.get("/api/version").json()["version"].count(".") == 2


def test_errors_are_in_ollama_s_shape(client, gateway):
    with pytest.raises(ollama.ResponseError) as refused:
        client.chat("nosuch", QUESTION)
    assert refused.value.status_code == 404
    assert refused.value.error == "The model `nosuch` does not exist; GET /v1/models lists those that do."
    with pytest.raises(ollama.ResponseError) as refused:
        list(client.generate("tiny", "hi", raw=True, stream=True))
    assert (refused.value.status_code, refused.value.error.split("'")[1]) == (400, "raw")
    with pytest.raises(ollama.ResponseError) as refused:
        client.show("nosuch")
    assert refused.value.status_code == 404
    missing = httpx.get(f"{gateway.url}/api/nosuch")
    assert (missing.status_code, list(missing.json())) == (404, ["error"])
    assert "use POST" in httpx.get(f"{gateway.url}/api/chat").json()["error"]


def test_a_server_that_breaks_off_is_told_in_a_line(start_llama, start_gateway):
    server = start_llama(llama.slow(), "slow-a")
    gateway = start_gateway({
        "providers": {"slow": server.provider()}, "deployments": {"slow-a@slow": {}},
        "routes": {"slow": {"deployments": ["slow-a@slow"], "policies": ["in-order"]}},
    })
    with pytest.raises(ollama.ResponseError) as broken:
        for number, _ in enumerate(ollama.Client(host=gateway.url).chat("slow", QUESTION, stream=True)):
            if number == 3:
                server.kill()
    assert broken.value.error
