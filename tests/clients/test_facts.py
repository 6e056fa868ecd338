"""What a real llama.cpp server says of itself becomes signals and metrics, and its window is kept to."""

import re
import threading

import llama
import openai
import pytest
from conftest import ALPHA, BRAVO
from gateway import ask, ask_raw
from processes import eventually

FAST = {"facts": {"interval": "100ms", "idle": "100ms"}}


def gauges(gateway, deployment):
    """The `witgate_upstream_*` gauges of a deployment."""
    text = gateway.get("/metrics").text
    return {name: float(value) for name, value in
            re.findall(rf'^witgate_upstream_(\w+){{deployment="{deployment}"}} (\S+)$', text, re.M)}


def start(start_gateway, servers, facts=FAST, **route):
    return start_gateway({
        "providers": {name: server.provider(**facts) for name, server in servers.items()},
        "deployments": {f"{server.alias}@{name}": {} for name, server in servers.items()},
        "routes": {"any": {"deployments": [f"{server.alias}@{name}" for name, server in servers.items()], **route}},
    })


def occupy(server, requests):
    """Requests of somebody else, past the gateway, until the returned function is called."""
    import httpx

    clients = []

    def hold(client):
        body = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "ignore_eos": True, "max_tokens": 3000}
        try:
            client.post(f"{server.url}/v1/chat/completions", json=body)
        except httpx.HTTPError:
            pass

    for _ in range(requests):
        clients.append(httpx.Client(timeout=60))
        threading.Thread(target=hold, args=[clients[-1]], daemon=True).start()
    eventually("the server works", lambda: server.busy_slots() > 0)
    return lambda: [client.close() for client in clients]


def test_slots_metrics_and_properties_are_told(start_llama, start_gateway):
    server = start_llama(llama.slow(), "told", "--parallel", "2")
    gateway = start(start_gateway, {"told": server}, policies=["in-order"])
    eventually("the free slots are known", lambda: gauges(gateway, "told@told").get("free_slots") == 2)
    assert gauges(gateway, "told@told") == {"free_slots": 2, "running": 0, "queue": 0}
    release = occupy(server, 4)
    eventually("the queue is seen", lambda: gauges(gateway, "told@told") == {"free_slots": 0, "running": 2, "queue": 2})
    release()
    eventually("the end is seen", lambda: gauges(gateway, "told@told").get("free_slots") == 2, within=30)
    server.kill()
    eventually("what is not heard any more is forgotten", lambda: gauges(gateway, "told@told") == {}, within=10)


def test_a_server_without_metrics_is_said_once(start_llama, start_gateway):
    server = start_llama(llama.slow(), "quiet", "--no-metrics")
    gateway = start(start_gateway, {"quiet": server}, policies=["in-order"])
    eventually("the free slots are known", lambda: "free_slots" in gauges(gateway, "quiet@quiet"))
    said = [line for line in gateway.output().splitlines() if "does not tell this of itself" in line]
    assert len(said) == 1 and "/metrics" in said[0] and "501" in said[0]


def test_a_server_with_room_is_preferred(start_llama, start_gateway):
    full, free = (start_llama(llama.slow(), name, "--parallel", "1") for name in ("full", "free"))
    ready = [{"use": "least-loaded", "settings": {"prefer_ready": True}}]
    # A machine that is busy with other things takes its time to say that it is busy.
    patient = {"facts": {"interval": "500ms", "idle": "500ms", "timeout": "20s"}}
    gateway = start(start_gateway, {"full": full, "free": free}, patient, policies=ready)
    release = occupy(full, 1)
    eventually("it is seen to be full", lambda: gauges(gateway, "full@full").get("free_slots") == 0)
    chosen = set()
    for _ in range(8):
        # The one before may have been seen at work.
        eventually("the other is seen to have room", lambda: gauges(gateway, "free@free").get("free_slots") == 1)
        answer = gateway.client().chat.completions.with_raw_response.create(
            model="any", messages=[{"role": "user", "content": "hi"}], max_tokens=1)
        chosen.add(answer.headers["x-witgate-deployment"])
    release()
    assert chosen == {"free@free"}
    assert ask(gateway.client(), "any", max_tokens=1)


def test_a_prompt_over_the_window_that_a_server_tells_is_not_sent_to_it(start_llama, start_gateway):
    small = start_llama(llama.saying(ALPHA), "small", "--ctx-size", "256")
    large = start_llama(llama.saying(BRAVO), "large", "--ctx-size", "4096")
    chosen = {"policies": ["in-order"]}
    gateway = start_gateway({
        "providers": {"small": small.provider(), "large": large.provider()},
        "deployments": {
            "small@small": {}, "large@large": {},
            # what is written counts before what is told
            "shorter@small": {"model": "small", "context_tokens": 100}, "longer@small": {"model": "small", "context_tokens": 4096},
            # and what is told before what the list says of the model
            "listed@small": {"model": "small", "catalogue": "openai/gpt-4o"},
        },
        "routes": {
            **{name: {"deployments": f"{name}@small", **chosen} for name in ("small", "shorter", "longer", "listed")},
            "any": {"deployments": ["small@small", "large@large"], **chosen},
        },
    })

    def windows():
        return {model["name"]: model.get("context_length") for model in gateway.get("/api/ps").json()["models"]}

    eventually("both have told", lambda: windows().get("listed") == 256 and windows().get("any") == 256)
    assert windows() == {"small": 256, "shorter": 100, "longer": 4096, "listed": 256, "any": 256}
    sdk = gateway.client()

    def refused(model, words):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(sdk, model, "word " * words)
        return caught.value

    for model, words, window in [("small", 257, 256), ("listed", 257, 256), ("shorter", 101, 100)]:
        error = refused(model, words)
        assert (error.code, error.param) == ("context_length_exceeded", "messages")
        assert f"maximum context length is {window} tokens. However, your messages resulted in at least {words} tokens" in error.message
        assert "x-witgate-deployment" not in error.response.headers
    # Sent, and refused by the server itself, which alone knows how many tokens its template adds.
    assert "at least" not in refused("longer", 257).message
    answer = ask_raw(sdk, "any", "word " * 257)
    assert answer.headers["x-witgate-deployment"] == "large@large" and answer.parse().choices[0].message.content == BRAVO
    assert ask_raw(sdk, "any", "word").headers["x-witgate-deployment"] == "small@small"
