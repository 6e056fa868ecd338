"""The response cache, seen from outside."""

import llama
import pytest
from conftest import ALPHA
from gateway import ask_raw


@pytest.fixture
def mortal(start_llama):
    server = start_llama(llama.saying(ALPHA), "mortal")
    yield server
    server.stop()


@pytest.fixture
def cached(start_gateway, mortal):
    return start_gateway({
        "providers": {"mortal": mortal.provider()},
        "deployments": {"mortal@mortal": {}},
        "routes": {"tiny": {"deployments": ["mortal@mortal"], "policies": ["in-order"], "cache": {"ttl": "1m"}}},
    })


def test_the_second_answer_needs_no_server(cached, mortal):
    client = cached.client()
    first = ask_raw(client, "tiny")
    assert first.headers["x-witgate-cache"] == "miss"
    assert "age" not in first.headers
    mortal.kill()
    second = ask_raw(client, "tiny")
    assert second.headers["x-witgate-cache"] == "hit"
    assert 0 <= int(second.headers["age"]) < 60
    assert second.parse().model_dump() == first.parse().model_dump()
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def test_a_different_question_is_a_different_answer(cached):
    client = cached.client()
    for text in ("one", "two"):
        assert ask_raw(client, "tiny", text).headers["x-witgate-cache"] == "miss"
    assert ask_raw(client, "tiny", "one", max_tokens=2).headers["x-witgate-cache"] == "miss"
    assert ask_raw(client, "tiny", "one").headers["x-witgate-cache"] == "hit"


def test_a_stream_is_replayed_as_a_stream(cached):
    def streamed():
        with cached.client().chat.completions.with_streaming_response.create(
                model="tiny", messages=[{"role": "user", "content": "hi"}], temperature=0, stream=True) as response:
            return response.headers["x-witgate-cache"], [line for line in response.iter_lines() if line]

    (first, sent), (second, replayed) = streamed(), streamed()
    assert (first, second) == ("miss", "hit")
    assert replayed == sent
    assert replayed[-1] == "data: [DONE]"


def test_without_a_cache_there_is_no_header(gateway):
    raw = ask_raw(gateway.client(), "tiny")
    assert "x-witgate-cache" not in raw.headers and "age" not in raw.headers
