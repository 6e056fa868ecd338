"""What a real llama.cpp server says of itself becomes signals and metrics."""

import re
import threading

import llama
from gateway import ask
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
