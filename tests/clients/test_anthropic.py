"""Two dialects: Anthropic's SDK at a provider that speaks OpenAI's, OpenAI's SDK at one that speaks Messages, and
Anthropic's SDK at its own. The provider is a real llama.cpp server, which speaks both."""

import json

import anthropic
import httpx
import openai
import pytest
from conftest import ALPHA
from gateway import ask
from test_chat import QUESTION, WEATHER

TOOLS = [{"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]} for tool in WEATHER]
WORDS = len(ALPHA.split())


@pytest.fixture(scope="module")
def two_dialects(start_gateway, alpha):
    """`chat` is served by llama.cpp's chat completions, `messages` by its Messages; `strict` refuses every loss."""
    route = {"policies": ["in-order"]}
    return start_gateway({
        "providers": {
            "chat": alpha.provider(),
            "messages": alpha.messages_provider(api_key="sk-upstream-0123456789"),
            "strict": alpha.messages_provider(on_loss="refuse"),
        },
        "deployments": {f"tiny-a@{name}": {} for name in ("chat", "messages", "strict")},
        "routes": {name: {"deployments": [f"tiny-a@{name}"], **route} for name in ("chat", "messages", "strict")},
    })


@pytest.fixture
def claude(two_dialects):
    return two_dialects.anthropic()


@pytest.fixture
def gpt(two_dialects):
    return two_dialects.client()


def create(client, model, **more):
    return client.messages.create(**{"model": model, "max_tokens": 64, "messages": QUESTION, **more})


# OpenAI's SDK at a provider that speaks Messages


def test_a_chat_is_answered_by_messages(gpt):
    raw = gpt.chat.completions.with_raw_response.create(model="messages", messages=QUESTION, temperature=0, seed=7)
    answer = raw.parse()
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ALPHA, "stop")
    assert (answer.object, answer.model) == ("chat.completion", "tiny-a")
    assert answer.usage.completion_tokens == WORDS + 1
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert raw.headers["x-witgate-dropped"] == "seed"


def test_a_chat_is_cut_by_its_limit_and_by_a_word(gpt):
    assert ask(gpt, "messages", max_tokens=2) == "Alpha server"
    answer = gpt.chat.completions.create(model="messages", messages=QUESTION, temperature=0, max_completion_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert ask(gpt, "messages", stop="speaking").strip() == "Alpha server"


def test_a_streamed_chat_is_answered_by_messages(gpt):
    chunks = list(gpt.chat.completions.create(
        model="messages", messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}))
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "".join(pieces) == ALPHA and len(pieces) > 1
    *chunks, last = chunks
    assert (last.choices, last.usage.completion_tokens) == ([], WORDS + 1)
    assert all(chunk.usage is None for chunk in chunks)
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


def test_the_translated_stream_has_one_end(two_dialects):
    body = {"model": "messages", "messages": QUESTION, "stream": True}
    text = httpx.post(f"{two_dialects.url}/v1/chat/completions", json=body, timeout=30).text
    assert text.count("data: [DONE]\n\n") == 1 and text.endswith("data: [DONE]\n\n")
    assert "event:" not in text and '"usage"' not in text


def test_tools_are_called_through_messages(gpt):
    answer = gpt.chat.completions.create(model="messages", messages=QUESTION, tools=WEATHER, temperature=0)
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    told = [*QUESTION, choice.message.model_dump(exclude_none=True), result]
    answer = gpt.chat.completions.create(model="messages", messages=told, tools=WEATHER, temperature=0)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (ALPHA, "stop")


def test_tool_calls_are_streamed_through_messages(gpt):
    chunks = gpt.chat.completions.create(
        model="messages", messages=QUESTION, tools=WEATHER, temperature=0, stream=True)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    deltas = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert {delta.index for delta in deltas} == {0}
    assert [delta.function.name for delta in deltas if delta.function.name] == ["get_weather"]
    assert json.loads("".join(delta.function.arguments or "" for delta in deltas)) == {"city": "Paris"}
    assert choices[-1].finish_reason == "tool_calls"


def test_what_messages_cannot_do_is_refused(gpt):
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.chat.completions.create(model="messages", messages=QUESTION, n=2)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_parameter")
    assert "Anthropic's Messages API" in caught.value.message
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.chat.completions.create(model="strict", messages=QUESTION, seed=7)
    assert caught.value.param == "seed"
    assert ask(gpt, "strict") == ALPHA
    with pytest.raises(openai.BadRequestError):
        gpt.embeddings.create(model="messages", input="x")


def test_a_prompt_that_is_too_long_for_messages(gpt):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(gpt, "messages", "Zq" * 3000)
    assert "exceeds the available context size" in caught.value.message


# Anthropic's SDK at a provider that speaks chat completions


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_a_message(claude, model):
    message = create(claude, model, system="Be brief.")
    assert (message.type, message.role, message.model) == ("message", "assistant", "tiny-a")
    assert [(block.type, block.text) for block in message.content] == [("text", ALPHA)]
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", WORDS + 1)
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens > 0


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_a_message_is_cut_by_its_limit(claude, model):
    message = create(claude, model, max_tokens=2)
    assert (message.content[0].text, message.stop_reason) == ("Alpha server", "max_tokens")


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_a_streamed_message(claude, model):
    with claude.messages.stream(model=model, max_tokens=64, messages=QUESTION) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(pieces) == ALPHA and len(pieces) > 1
    assert (message.content[0].text, message.stop_reason) == (ALPHA, "end_turn")
    assert message.usage.output_tokens == WORDS + 1


def test_the_events_of_a_message_come_in_their_order(two_dialects):
    body = {"model": "chat", "max_tokens": 64, "messages": QUESTION, "stream": True}
    answer = httpx.post(f"{two_dialects.url}/v1/messages", json=body, timeout=30)
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}
    assert "[DONE]" not in answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_tools_are_used_and_their_results_are_answered(claude, model):
    message = create(claude, model, tools=TOOLS)
    assert message.stop_reason == "tool_use"
    [use] = [block for block in message.content if block.type == "tool_use"]
    assert (use.name, use.input) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "rain"}]}
    told = [*QUESTION, message.to_param(), {"role": "user", "content": [result]}]
    message = create(claude, model, messages=told, tools=TOOLS)
    assert (message.content[-1].text, message.stop_reason) == (ALPHA, "end_turn")


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_a_tool_use_is_streamed(claude, model):
    with claude.messages.stream(model=model, max_tokens=64, messages=QUESTION, tools=TOOLS) as stream:
        message = stream.get_final_message()
    [use] = [block for block in message.content if block.type == "tool_use"]
    assert (use.name, use.input, message.stop_reason) == ("get_weather", {"city": "Paris"}, "tool_use")


def test_a_schema_is_obeyed_by_a_chat(claude):
    schema = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"],
              "additionalProperties": False}
    message = create(claude, "chat", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(message.content[0].text) == {"said": ALPHA}


def test_what_is_left_out_is_told(claude):
    raw = claude.messages.with_raw_response.create(
        model="chat", max_tokens=64, messages=QUESTION, thinking={"type": "adaptive"})
    assert raw.headers["x-witgate-dropped"] == "thinking"
    assert raw.parse().content[0].text == ALPHA


def test_messages_at_messages_stay_as_they_are(two_dialects, alpha):
    body = {"model": "messages", "max_tokens": 3, "messages": QUESTION, "temperature": 0}
    through = httpx.post(f"{two_dialects.url}/v1/messages", json=body, timeout=30)
    direct = httpx.post(f"{alpha.url}/v1/messages", json=body, timeout=30).json()
    assert list(through.json()) == list(direct)
    assert through.json()["content"] == direct["content"]
    assert "x-witgate-dropped" not in through.headers


def test_tokens_are_counted_by_the_provider_or_estimated(claude, two_dialects, alpha):
    def counted(model):
        raw = claude.messages.with_raw_response.count_tokens(model=model, messages=QUESTION)
        return raw.parse().input_tokens, raw.headers["x-witgate-counted-by"]

    direct = httpx.post(f"{alpha.url}/v1/messages/count_tokens", json={"model": "m", "messages": QUESTION}).json()
    assert counted("messages") == (direct["input_tokens"], "provider")
    tokens, by = counted("chat")
    assert (by, 0 < tokens < 100) == ("estimate", True)


# Errors in Anthropic's shape


def error_of(response):
    body = response.json()
    assert body["type"] == "error" and set(body["error"]) == {"type", "message"}, body
    return body["error"]


def test_an_unknown_model_in_messages(claude):
    with pytest.raises(anthropic.NotFoundError) as caught:
        create(claude, "no-such-model")
    assert caught.value.type == "not_found_error"
    assert "`no-such-model`" in caught.value.api_message
    assert caught.value.request_id


@pytest.mark.parametrize("model", ["chat", "messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_that_is_too_long(claude, model, stream):
    with pytest.raises(anthropic.BadRequestError) as caught:
        create(claude, model, messages=[{"role": "user", "content": "Zq" * 3000}], stream=stream)
    assert caught.value.type == "invalid_request_error"
    assert "exceeds the available context size" in caught.value.api_message


def test_a_message_without_a_limit_or_with_a_wrong_role(two_dialects):
    def post(body):
        return httpx.post(f"{two_dialects.url}/v1/messages", json=body, timeout=10)

    refused = post({"model": "chat", "messages": QUESTION})
    assert refused.status_code == 400
    assert error_of(refused) == {
        "type": "invalid_request_error", "message": "Missing required parameter: 'max_tokens'."}
    refused = post({"model": "chat", "max_tokens": 9, "messages": [{"role": "bot", "content": "x"}]})
    assert refused.status_code == 400
    assert error_of(refused)["message"] == (
        "Invalid 'messages[0].role': expected `user`, `assistant` or `system`, but got \"bot\".")
    refused = post([])
    assert (refused.status_code, error_of(refused)["type"]) == (400, "invalid_request_error")


def test_a_provider_s_own_tools_are_refused_by_a_chat(claude):
    with pytest.raises(anthropic.BadRequestError) as caught:
        create(claude, "chat", tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert "'tools.type=web_search_20250305' cannot be carried over" in caught.value.api_message


def test_a_wrong_key_in_messages(start_gateway, alpha):
    gateway = start_gateway({
        "auth": {"keys": [{"name": "team-a", "key": "sk-team-a-0123456789"}]},
        "providers": {"alpha": alpha.provider()},
        "deployments": {"tiny-a@alpha": {}},
        "routes": {"tiny": {"deployments": ["tiny-a@alpha"]}},
    })
    assert create(gateway.anthropic(api_key="sk-team-a-0123456789"), "tiny").content[0].text == ALPHA
    with pytest.raises(anthropic.AuthenticationError) as caught:
        create(gateway.anthropic(api_key="sk-wrong-0123456789"), "tiny")
    assert caught.value.type == "authentication_error"
