"""Chat through the gateway with the official SDK, against a real llama.cpp server."""

import json
from concurrent.futures import ThreadPoolExecutor

from conftest import ALPHA
from gateway import ask, ask_raw

WEATHER = [{
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}]
QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]


def stream(client, **more):
    messages = more.pop("messages", QUESTION)
    return list(client.chat.completions.create(model="tiny", messages=messages, stream=True, temperature=0, **more))


def test_an_answer_is_the_upstreams_own(client):
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, temperature=0)
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ALPHA, "stop")
    assert answer.object == "chat.completion"
    assert answer.model == "tiny-a"
    assert answer.usage.completion_tokens == len(ALPHA.split()) + 1
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    # fields that only this upstream has come through
    assert answer.timings["predicted_n"] == answer.usage.completion_tokens


def test_max_tokens_reaches_the_upstream(client):
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, temperature=0, max_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Alpha server", "length")


def test_a_request_id_is_given(client):
    first, second = (client.chat.completions.create(model="tiny", messages=QUESTION) for _ in range(2))
    assert first._request_id and first._request_id != second._request_id


def test_the_receipt_says_who_decided_and_who_answered(client):
    raw = ask_raw(client, "tiny")
    assert raw.parse().choices[0].message.content == ALPHA
    assert raw.headers["x-witgate-deployment"] == "tiny-a@alpha"
    policy, revision = raw.headers["x-witgate-policy"].split("/")
    assert (policy, len(revision) > 3) == ("in-order", True)
    assert raw.headers["x-witgate-attempts"] == "1"


def test_a_stream_comes_in_pieces_and_ends_well(client):
    chunks = stream(client)
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "".join(pieces) == ALPHA
    assert len(pieces) > 1
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_is_in_a_stream_only_when_asked_for(client):
    assert all(chunk.usage is None and chunk.choices for chunk in stream(client))
    *chunks, last = stream(client, stream_options={"include_usage": True})
    assert all(chunk.usage is None for chunk in chunks)
    assert (last.choices, last.usage.completion_tokens) == ([], len(ALPHA.split()) + 1)


def test_a_stream_has_the_receipt_too(client):
    with client.chat.completions.with_streaming_response.create(
            model="tiny", messages=QUESTION, stream=True) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-witgate-deployment"] == "tiny-a@alpha"
    assert response.headers["x-request-id"]
    assert all(line.startswith("data: ") for line in lines)
    assert lines.count("data: [DONE]") == 1 and lines[-1] == "data: [DONE]"


def test_tools_are_called_and_their_results_are_answered(client):
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, tools=WEATHER, temperature=0)
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    told = [*QUESTION, choice.message.model_dump(exclude_none=True), result]
    answer = client.chat.completions.create(model="tiny", messages=told, tools=WEATHER, temperature=0)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (ALPHA, "stop")


def test_tool_calls_are_streamed(client):
    chunks = stream(client, tools=WEATHER)
    deltas = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert {delta.index for delta in deltas} == {0}
    assert [delta.function.name for delta in deltas if delta.function.name] == ["get_weather"]
    assert [delta.id for delta in deltas if delta.id] == [deltas[0].id]
    arguments = "".join(delta.function.arguments or "" for delta in deltas)
    assert json.loads(arguments) == {"city": "Paris"}
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "tool_calls"


def test_a_json_schema_is_obeyed(client):
    schema = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"],
              "additionalProperties": False}
    shape = {"type": "json_schema", "json_schema": {"name": "said", "schema": schema, "strict": True}}
    assert json.loads(ask(client, "tiny", response_format=shape)) == {"said": ALPHA}


def test_many_at_once_all_get_their_own_answer(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: ask(client, "tiny", f"question {n}", max_tokens=1 + n % 4), range(24)))
    words = ALPHA.split()
    assert answers == [" ".join(words[:1 + n % 4]) for n in range(24)]
