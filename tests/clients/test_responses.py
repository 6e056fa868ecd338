"""OpenAI's Responses with the official SDK: at a real llama.cpp server that has them, passed through; at one that is
said not to, translated to chat completions; and at one that speaks Anthropic's Messages, translated twice."""

import json

import httpx
import openai
import pytest
from conftest import ALPHA
from test_chat import WEATHER

TOOLS = [{"type": "function", **tool["function"]} for tool in WEATHER]
ASKED = "What is the weather in Paris?"
WORDS = len(ALPHA.split())
EVERYWHERE = pytest.mark.parametrize("model", ["passed", "translated", "twice"])
TRANSLATED = pytest.mark.parametrize("model", ["translated", "twice"])


@pytest.fixture(scope="module")
def three_ways(start_gateway, alpha):
    route = {"policies": ["in-order"]}
    return start_gateway({
        "providers": {
            "passed": alpha.provider(responses=True),
            "translated": alpha.provider(responses=False),
            "twice": alpha.messages_provider(),
        },
        "deployments": {f"tiny-a@{name}": {} for name in ("passed", "translated", "twice")},
        "routes": {name: {"deployments": [f"tiny-a@{name}"], **route} for name in ("passed", "translated", "twice")},
    })


@pytest.fixture
def client(three_ways):
    return three_ways.client()


def create(client, model, **more):
    return client.responses.create(**{"model": model, "input": ASKED, "temperature": 0, **more})


@EVERYWHERE
def test_a_response(client, model):
    response = create(client, model, instructions="Be brief.")
    assert (response.object, response.status, response.model) == ("response", "completed", "tiny-a")
    assert response.output_text == ALPHA
    [message] = response.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert response.usage.output_tokens == WORDS + 1
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response._request_id


@TRANSLATED
def test_a_translated_response_repeats_what_was_asked(client, model):
    response = create(client, model, metadata={"team": "a"}, max_output_tokens=64, tools=TOOLS, tool_choice="none")
    assert (response.metadata, response.max_output_tokens, response.store) == ({"team": "a"}, 64, False)
    assert (response.tools[0].name, response.tool_choice, response.error) == ("get_weather", "none", None)


@TRANSLATED
def test_a_response_is_cut_by_its_limit(client, model):
    response = create(client, model, max_output_tokens=2)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output_text == "Alpha server"


@TRANSLATED
def test_a_streamed_response(client, model):
    with client.responses.stream(model=model, input=ASKED, temperature=0) as stream:
        events = list(stream)
        response = stream.get_final_response()
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == ALPHA and len(pieces) > 1
    assert (response.output_text, response.status) == (ALPHA, "completed")
    assert response.usage.output_tokens == WORDS + 1
    names = [event.type for event in events]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] == "response.completed"


def test_a_stream_is_passed_as_the_server_makes_it(client):
    """llama.cpp's events leave out `output_index`, which the SDK's helper needs; so the events are read as they are."""
    events = list(create(client, "passed", stream=True))
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == ALPHA and len(pieces) > 1
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert events[-1].response.usage.output_tokens == WORDS + 1


@TRANSLATED
def test_the_events_are_numbered_and_come_in_their_order(three_ways, model):
    body = {"model": model, "input": ASKED, "temperature": 0, "stream": True}
    answer = httpx.post(f"{three_ways.url}/v1/responses", json=body, timeout=30)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.splitlines()
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["type"] for event in told] == names
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert names[:4] == ["response.created", "response.in_progress", "response.output_item.added",
                         "response.content_part.added"]
    assert names[-4:] == ["response.output_text.done", "response.content_part.done", "response.output_item.done",
                          "response.completed"]
    assert set(names[4:-4]) == {"response.output_text.delta"}
    assert "[DONE]" not in answer.text


@EVERYWHERE
def test_tools_are_called_and_their_results_are_answered(client, model):
    response = create(client, model, tools=TOOLS)
    [call] = [item for item in response.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    told = [{"role": "user", "content": ASKED},
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
            {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    assert create(client, model, input=told, tools=TOOLS).output_text == ALPHA


@TRANSLATED
def test_a_tool_call_is_streamed(client, model):
    with client.responses.stream(model=model, input=ASKED, temperature=0, tools=TOOLS) as stream:
        events = list(stream)
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert json.loads("".join(pieces)) == {"city": "Paris"}
    [call] = [item for item in events[-1].response.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})


def test_a_schema_is_obeyed(client):
    schema = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"],
              "additionalProperties": False}
    shape = {"format": {"type": "json_schema", "name": "said", "schema": schema, "strict": True}}
    assert json.loads(create(client, "translated", text=shape).output_text) == {"said": ALPHA}


def test_what_is_passed_through_stays_as_it_is(three_ways, alpha):
    body = {"model": "passed", "input": ASKED, "temperature": 0, "max_output_tokens": 3}
    through = httpx.post(f"{three_ways.url}/v1/responses", json=body, timeout=30)
    direct = httpx.post(f"{alpha.url}/v1/responses", json=body, timeout=30).json()
    assert list(through.json()) == list(direct)
    assert through.json()["output"][0]["content"] == direct["output"][0]["content"]
    assert "x-witgate-dropped" not in through.headers


@TRANSLATED
def test_what_is_left_out_is_told(client, model):
    raw = client.responses.with_raw_response.create(model=model, input=ASKED, temperature=0, truncation="auto")
    assert raw.headers["x-witgate-dropped"] == "truncation"
    assert raw.parse().output_text == ALPHA


@TRANSLATED
@pytest.mark.parametrize("more", [{"previous_response_id": "resp_0"}, {"background": True},
                                  {"tools": [{"type": "web_search"}]}])
def test_what_cannot_be_translated_is_refused(client, model, more):
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, model, **more)
    assert caught.value.code == "unsupported_parameter"
    assert "cannot be carried over to" in caught.value.message


@EVERYWHERE
@pytest.mark.parametrize("stream", [False, True])
def test_an_input_that_is_too_long(client, model, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, model, input="Zq" * 3000, stream=stream)
    assert "exceeds the available context size" in caught.value.message


def test_an_unknown_model_in_responses(client):
    with pytest.raises(openai.NotFoundError) as caught:
        create(client, "no-such-model")
    assert caught.value.code == "model_not_found"
