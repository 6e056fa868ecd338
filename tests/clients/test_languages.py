"""A policy in each language is dropped into a running gateway and decides, without a restart."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from gateway import ask_raw
from processes import REPOSITORY, eventually

LANGUAGES = ["rust", "c", "cpp", "zig", "go", "javascript", "typescript", "python"]
GUESTS = REPOSITORY / "target" / "guests-extra"
# Compiling CPython takes some ten seconds of one core.
COMPILED_WITHIN = 120


@pytest.fixture(scope="module")
def gateway(start_gateway):
    """Three deployments of the demo provider, the dearest first; each route has room for a policy that comes later."""
    def route(policy):
        return {"deployments": ["dear@demo", "cheap@demo", "middling@demo"],
                "policies": [{"use": policy, "optional": True}, "in-order"]}

    return start_gateway({
        "providers": {"demo": {"dialect": "demo"}},
        "deployments": {"dear@demo": {"price": {"output": 10}}, "cheap@demo": {"price": {"output": 1}},
                        "middling@demo": {"price": {"output": 5}}},
        "routes": {name: route(name) for name in [*LANGUAGES, "busy"]},
    })


def drop(gateway, guest, name):
    """As an operator should do it: the file appears whole."""
    part = gateway.policies / f".{name}.part"
    shutil.copyfile(GUESTS / f"{guest}.wasm", part)
    part.rename(gateway.policies / f"{name}.wasm")


def decided(gateway, route):
    """Which policy decided, whatever its revision, and for which deployment."""
    headers = ask_raw(gateway.client(), route).headers
    return headers["x-witgate-policy"].partition("/")[0], headers["x-witgate-deployment"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_dropped_policy_decides(gateway, language):
    assert decided(gateway, language) == ("in-order", "dear@demo")
    process = gateway.child.pid
    drop(gateway, language, language)
    eventually(f"the policy in {language} decides; {gateway.output()[-2000:]}",
               lambda: decided(gateway, language) == (language, "cheap@demo"), within=COMPILED_WITHIN, every=0.1)
    assert (gateway.running(), gateway.child.pid) == (True, process)
    # and it goes away when its file does
    (gateway.policies / f"{language}.wasm").unlink()
    eventually("the next policy of the chain decides",
               lambda: decided(gateway, language) == ("in-order", "dear@demo"), within=10, every=0.1)


def test_a_swap_costs_no_request(gateway):
    """The file is replaced by one in another language, again and again, under load."""
    failures, revisions, stop = [], set(), False

    def revision():
        return ask_raw(gateway.client(), "busy").headers["x-witgate-policy"]

    def load():
        client, count = gateway.client(), 0
        while not stop:
            try:
                ask_raw(client, "busy")
                count += 1
            except Exception as error:
                failures.append(error)
        return count

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(load) for _ in range(2)]
        try:
            for guest in ["rust", "c", "rust", "c"]:
                before = revision()
                drop(gateway, guest, "busy")
                eventually(f"{guest} takes over from {before}", lambda: revision() != before, within=20)
                revisions.add(revision())
        finally:
            stop = True
        answered = sum(future.result() for future in running)
    assert failures == []
    assert answered > 50
    assert len(revisions) == 2, revisions  # the same file is the same revision


def test_a_broken_file_never_replaces_a_good_one(gateway):
    drop(gateway, "rust", "rust")
    eventually("the good one decides", lambda: decided(gateway, "rust") == ("rust", "cheap@demo"), within=20)
    (gateway.policies / "rust.wasm").write_bytes(b"\0asm but not really")
    eventually("the refusal is in the log", lambda: "policy file refused" in gateway.output(), within=10)
    assert decided(gateway, "rust") == ("rust", "cheap@demo")
