"""What happens when a real server dies, hangs or is left by its client."""

import signal
import time

import llama
import ollama
import openai
import pytest
from conftest import ALPHA, BRAVO
from gateway import ask, ask_raw
from processes import established_to, eventually


@pytest.fixture
def frail(start_llama):
    """A server that the test may harm."""
    server = start_llama(llama.saying(ALPHA), "frail")
    yield server
    server.stop()


@pytest.fixture
def pair(start_gateway, frail, bravo):
    """A gateway that prefers the frail server and has another."""
    return start_gateway({
        "providers": {"frail": frail.provider(first_byte_timeout="1s"), "bravo": bravo.provider()},
        "deployments": {"frail@frail": {}, "tiny-b@bravo": {}},
        "routes": {"tiny": {"deployments": ["frail@frail", "tiny-b@bravo"], "policies": ["in-order"]}},
    })


@pytest.mark.parametrize("stream", [False, True])
def test_a_killed_server_is_replaced_within_the_request(pair, frail, stream):
    client = pair.client()
    assert said(client, stream) == ALPHA
    frail.kill()
    assert said(client, stream) == BRAVO
    raw = ask_raw(client, "tiny")
    assert raw.headers["x-witgate-deployment"] == "tiny-b@bravo"
    assert int(raw.headers["x-witgate-attempts"]) == 2


def test_a_server_that_comes_back_is_used_again(pair, frail):
    client = pair.client()
    frail.kill()
    assert ask(client, "tiny") == BRAVO
    frail.start()
    eventually("the first server answers again", lambda: ask(client, "tiny") == ALPHA, within=30, every=0.2)


def test_a_server_that_hangs_is_given_up_after_its_limit(pair, frail):
    client = pair.client()
    assert ask(client, "tiny") == ALPHA
    frail.send(signal.SIGSTOP)
    started = time.monotonic()
    assert ask(client, "tiny") == BRAVO
    assert 1.0 <= time.monotonic() - started < 5.0
    frail.send(signal.SIGCONT)


def test_when_nothing_is_left_the_client_is_told(start_gateway, frail):
    gateway = start_gateway({
        "providers": {"frail": frail.provider()},
        "deployments": {"frail@frail": {}},
        "routes": {"tiny": {"deployments": ["frail@frail"], "policies": ["in-order"]}},
    })
    frail.kill()
    with pytest.raises(openai.InternalServerError) as caught:
        ask(gateway.client(), "tiny")
    assert caught.value.status_code in (502, 503)
    assert "frail@frail" in caught.value.message
    assert str(frail.port) not in caught.value.message


@pytest.fixture
def slow(start_llama):
    """One slot, some seconds an answer."""
    server = start_llama(llama.slow(), "slow", "--parallel", "1")
    yield server
    server.kill()


@pytest.fixture
def slow_gateway(start_gateway, slow):
    # Unprobed, and so not asked what it is able of: all connections to it are those of requests.
    return start_gateway({
        "providers": {"slow": slow.provider(probe={"enabled": False})},
        "deployments": {"slow@slow": {}},
        "routes": {"slow": {"deployments": ["slow@slow"], "policies": ["in-order"]}},
    })


def test_a_stream_that_its_client_leaves_is_ended_upstream(slow, slow_gateway):
    stream = count(slow_gateway.client())
    next(stream)
    assert slow.busy_slots() == 1
    stream.close()
    eventually("the slot is free", lambda: slow.busy_slots() == 0, within=3)


def test_an_answer_that_its_client_no_longer_awaits_is_not_awaited_upstream(slow, slow_gateway):
    client = slow_gateway.client(timeout=0.5)
    # the SDK says how long it waits, so either may be the first to notice that the time is over
    with pytest.raises((openai.APITimeoutError, openai.InternalServerError)):
        ask(client, "slow", max_tokens=1000, extra_body={"ignore_eos": True})
    # llama.cpp itself works on to the end, for nobody, so the connection is what can be looked at
    eventually("the gateway hangs up", lambda: established_to(slow.port) == 0, within=2)


def test_a_stream_whose_server_dies_ends_with_an_error_not_silently(slow, slow_gateway):
    stream = count(slow_gateway.client())
    next(stream)
    slow.kill()
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass


def test_chunks_are_passed_on_as_they_come(slow, slow_gateway):
    arrivals = [time.monotonic() for chunk in count(slow_gateway.client()) if chunk.choices]
    assert len(arrivals) > 100
    halfway = arrivals[0] + (arrivals[-1] - arrivals[0]) / 2
    early = sum(arrival < halfway for arrival in arrivals)
    assert len(arrivals) * 0.2 < early < len(arrivals) * 0.8, "chunks came in a lump"


def test_running_streams_are_finished_before_the_gateway_ends(start_gateway, slow):
    gateway = start_gateway({
        "server": {"shutdown_grace": "30s"},
        "providers": {"slow": slow.provider()},
        "deployments": {"slow@slow": {}},
        "routes": {"slow": {"deployments": ["slow@slow"], "policies": ["in-order"]}},
    })
    stream = count(gateway.client())
    next(stream)
    gateway.send(signal.SIGTERM)
    text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    assert text.endswith(" 400")
    assert gateway.child.wait(10) == 0


@pytest.fixture
def twins(start_gateway, start_llama, slow):
    """A gateway that goes on with the streams of one slow server at another with the same model."""
    twin = start_llama(llama.slow(), "slow", "--parallel", "1")
    gateway = start_gateway({
        "providers": {
            "first": slow.provider(continuation="assistant-message"),
            "second": twin.messages_provider(continuation="assistant-message"),
            "third": twin.provider(continuation="assistant-message"),
        },
        "deployments": {"slow@first": {}, "slow@second": {}, "slow@third": {}},
        "routes": {
            "slow": {"deployments": ["slow@first", "slow@third"], "policies": ["in-order", "resilient"], "resume": True},
            "across": {"deployments": ["slow@first", "slow@second"], "policies": ["in-order", "resilient"],
                       "resume": True},
        },
    })
    yield gateway
    twin.kill()


WHOLE = "Counting" + "".join(f" {number}" for number in range(1, 401))


@pytest.mark.parametrize("model", ["slow", "across"])
def test_a_stream_whose_server_is_killed_goes_on_at_another_as_one(twins, slow, model):
    client = twins.client()
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "count"}], stream=True, temperature=0,
        stream_options={"include_usage": True})
    chunks = []
    for chunk in stream:
        chunks.append(chunk)
        if len(chunks) == 20:
            slow.kill()
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in deltas) == WHOLE
    # llama.cpp itself counts `created` on within a stream
    assert len({(chunk.id, chunk.model) for chunk in chunks}) == 1
    assert [choice.delta.role for choice in deltas if choice.delta.role] == ["assistant"]
    assert [choice.finish_reason for choice in deltas if choice.finish_reason] == ["stop"]
    usage = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usage) == 1 and usage[0].completion_tokens >= 400
    assert usage[0].total_tokens == usage[0].prompt_tokens + usage[0].completion_tokens


def test_a_message_whose_server_is_killed_goes_on_at_another_as_one(twins, slow):
    client = twins.anthropic(max_retries=0)
    with client.messages.stream(
            model="slow", max_tokens=2000, messages=[{"role": "user", "content": "count"}],
            extra_body={"temperature": 0}) as stream:
        for place, _ in enumerate(stream.text_stream):
            if place == 20:
                slow.kill()
        message = stream.get_final_message()
    assert [block.text for block in message.content] == [WHOLE]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens >= 400


def test_a_response_whose_server_is_killed_goes_on_at_another_as_one(twins, slow):
    events = []
    with twins.client().responses.stream(model="slow", input="count", temperature=0, max_output_tokens=2000) as stream:
        for event in stream:
            events.append(event)
            if len(events) == 24:
                slow.kill()
        response = stream.get_final_response()
    assert response.output_text == WHOLE and len(response.output) == 1
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events].count("response.created") == 1
    assert {event.response.id for event in events if hasattr(event, "response")} == {response.id}
    assert response.usage.output_tokens >= 400
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_chat_of_ollama_s_client_whose_server_is_killed_goes_on_at_another_as_one(twins, slow):
    parts = []
    for part in ollama.Client(host=twins.url).chat(
            "slow", [{"role": "user", "content": "count"}], options={"temperature": 0}, stream=True):
        parts.append(part)
        if len(parts) == 20:
            slow.kill()
    assert "".join(part.message.content for part in parts) == WHOLE
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count >= 400) == ("stop", True)


def count(client):
    return client.chat.completions.create(
        model="slow", messages=[{"role": "user", "content": "count"}], stream=True, temperature=0)


def said(client, stream):
    if not stream:
        return ask(client, "tiny")
    chunks = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hi"}], stream=True)
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
