"""`witgate init` and `--watch-models` at real llama.cpp servers."""

import os
import subprocess

import llama
import pytest
from conftest import ALPHA, BRAVO
from gateway import Gateway, ask, binary, command_line
from processes import eventually, free_port


def init(*arguments, cwd, **environment):
    """Runs `witgate init` in a folder, with no key in the environment but these."""
    known = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "HF_TOKEN"))}
    return subprocess.run([binary(), "init", *map(str, arguments)], capture_output=True, text=True, timeout=60,
                          cwd=cwd, env={**known, **environment})


@pytest.fixture
def ports(alpha, bravo):
    return f"{alpha.port},{bravo.port},{free_port()}"


def test_what_answers_is_written_and_can_be_served(tmp_path, ports, alpha, start_gateway):
    done = init("--port", ports, cwd=tmp_path, OPENAI_API_KEY="sk-secret-0123456789")
    assert done.returncode == 0, done.stderr
    assert f"http://127.0.0.1:{alpha.port}: llama.cpp: tiny-a" in done.stderr and "OPENAI_API_KEY is set" in done.stderr
    text = (tmp_path / "witgate.yaml").read_text()
    assert "${OPENAI_API_KEY}" in text and "sk-secret" not in text + done.stdout + done.stderr
    assert "context_tokens: 1024" in text and "capabilities: [chat, tools]" in text
    os.environ["OPENAI_API_KEY"] = "sk-secret-0123456789"
    try:
        checked = command_line("check", "--config", tmp_path / "witgate.yaml", "--running")
    finally:
        del os.environ["OPENAI_API_KEY"]
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    assert "3 provider(s), 3 deployment(s), 3 route(s), 0 warning(s)" in checked.stdout


def test_a_file_is_not_written_over_and_can_go_to_standard_output(tmp_path, ports):
    (tmp_path / "witgate.yaml").write_text("mine")
    refused = init("--port", ports, cwd=tmp_path)
    told = "error: witgate.yaml is there already; give --force to write over it, or --output to write elsewhere"
    assert (refused.returncode, refused.stderr.strip()) == (1, told)
    assert (tmp_path / "witgate.yaml").read_text() == "mine"
    shown = init("--port", ports, "--output", "-", cwd=tmp_path)
    assert shown.returncode == 0 and shown.stdout.startswith("# Written by `witgate init`")
    forced = init("--port", ports, "--force", cwd=tmp_path)
    assert forced.returncode == 0 and (tmp_path / "witgate.yaml").read_text() == shown.stdout


def test_where_nobody_answers_nothing_is_written(tmp_path):
    done = init("--port", free_port(), cwd=tmp_path)
    assert done.returncode == 1 and "no model server answers" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_is_not_taken_for_a_server_and_a_locked_one_is_told(tmp_path, gateway, start_llama):
    locked = start_llama(llama.saying(ALPHA), "locked", "--api-key", "sk-server")
    done = init("--port", f"{gateway.port},{locked.port}", "--output", "-", cwd=tmp_path, GROQ_API_KEY="gsk-1")
    assert f"127.0.0.1:{gateway.port}: a Witgate gateway: left out" in done.stderr
    assert f"127.0.0.1:{locked.port}: a server that wants a key: left out" in done.stderr
    assert done.returncode == 0 and "groq: {preset: groq" in done.stdout


def names(gateway):
    return [model.id for model in gateway.client().models.list()]


def test_models_that_appear_are_offered_and_those_that_vanish_are_not(start_llama, start_gateway):
    changing = start_llama(llama.saying(ALPHA), "first")
    steady = start_llama(llama.slow(), "steady")
    gateway = start_gateway({
        "providers": {"changing": changing.provider(watch_models="1s"), "steady": steady.provider()},
        "deployments": {"steady@steady": {}},
        "routes": {"steady": {"deployments": ["steady@steady"], "policies": ["in-order"]}},
    })
    eventually("the first model is offered", lambda: sorted(names(gateway)) == ["first", "steady"])
    assert ask(gateway.client(), "first") == ALPHA
    # While a long answer runs, the server becomes another.
    stream = gateway.client().chat.completions.create(
        model="steady", messages=[{"role": "user", "content": "hi"}], stream=True, temperature=0)
    pieces = [next(iter(stream)).choices[0].delta.content or ""]
    changing.kill()
    changing._command[changing._command.index("--alias") + 1] = "second"
    changing._command[changing._command.index("--model") + 1] = llama.saying(BRAVO)
    changing.start()
    eventually("the second model is offered", lambda: sorted(names(gateway)) == ["second", "steady"])
    assert ask(gateway.client(), "second") == BRAVO
    with pytest.raises(Exception, match="does not exist"):
        ask(gateway.client(), "first")
    pieces += [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces).startswith("Counting") and len(pieces) > 300
    # A server that is down keeps its models: that is what breakers are for.
    changing.kill()
    with pytest.raises(AssertionError):
        eventually("the model vanishes", lambda: "second" not in names(gateway), within=2.5)


def test_the_flag_watches_every_server_of_ones_own(tmp_path, alpha):
    class Flagged(Gateway):
        """Started with the flag."""

        def _arguments(self):
            return ["--watch-models"]

    gateway = Flagged(tmp_path, {
        "providers": {"alpha": alpha.provider(), "demo": {"dialect": "demo"}},
        "deployments": {"demo@demo": {}}, "routes": {"demo": {"deployments": ["demo@demo"]}},
    })
    try:
        eventually("the model is offered", lambda: names(gateway) == ["demo", "tiny-a"], within=20)
    finally:
        gateway.stop()
