"""What an operator uses: health, metrics, the admin API and the command line."""

import json

import pytest
from conftest import ALPHA, BRAVO
from gateway import ask, command_line, write_config
from processes import REPOSITORY, eventually, free_port

DEMO = {
    "server": {"listen": f"127.0.0.1:{free_port()}"},
    "providers": {"demo": {"dialect": "demo"}},
    "deployments": {"demo@demo": {}},
    "routes": {"demo": {"deployments": ["demo@demo"], "policies": ["in-order"]}},
}


def test_health(gateway):
    assert gateway.get("/health/live").status_code == 200
    assert gateway.get("/health/ready").status_code == 200


def test_metrics_count_requests(gateway):
    def served():
        lines = gateway.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("witgate_requests_total"))

    before = served()
    ask(gateway.client(), "tiny")
    eventually("the request is counted", lambda: served() == before + 1)


def test_metrics_hold_no_prompts(gateway):
    ask(gateway.client(), "tiny", "a rather unusual sentence")
    assert "rather unusual" not in gateway.get("/metrics").text + gateway.output()


def test_the_loaded_policies_are_listed(gateway):
    assert "in-order" in json.dumps(gateway.get("/admin/policies").json())


def test_a_changed_configuration_is_live_without_a_restart(start_gateway, alpha, bravo):
    config = {
        "providers": {"alpha": alpha.provider(), "bravo": bravo.provider()},
        "deployments": {"tiny-a@alpha": {}, "tiny-b@bravo": {}},
        "routes": {"tiny": {"deployments": ["tiny-a@alpha"], "policies": ["in-order"]}},
    }
    gateway = start_gateway(config)
    client = gateway.client()
    assert ask(client, "tiny") == ALPHA
    written = json.loads(gateway.config.read_text())
    written["routes"]["tiny"]["deployments"] = ["tiny-b@bravo"]
    write_config(gateway.config.parent, written)
    eventually("the other deployment answers", lambda: ask(client, "tiny") == BRAVO, within=10, every=0.1)
    # one that is wrong changes nothing
    written["routes"]["tiny"]["deployments"] = ["nobody"]
    write_config(gateway.config.parent, written)
    eventually("the mistake is in the log", lambda: "nobody" in gateway.output())
    assert ask(client, "tiny") == BRAVO


def test_check_accepts_a_good_configuration(tmp_path):
    result = command_line("check", "--config", write_config(tmp_path, DEMO), cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_check_names_every_mistake(tmp_path):
    wrong = {**DEMO, "sever": {}, "deployments": {"demo@demo": {"weight": -1}}}
    result = command_line("check", "--config", write_config(tmp_path, wrong), cwd=tmp_path)
    said = result.stdout + result.stderr
    assert result.returncode != 0
    assert "`sever`" in said and "`server`" in said, said
    assert "weight" in said, said


@pytest.mark.parametrize("language", ["rust", "c", "cpp", "zig", "go", "javascript", "typescript", "python"])
def test_inspect_shows_what_a_file_is(language):
    result = command_line("policy", "inspect", REPOSITORY / "target" / "guests-extra" / f"{language}.wasm")
    assert result.returncode == 0, result.stderr
    assert f"least-busy-{language}" in result.stdout
    assert "Fewest in flight; then no pause, fewest errors, cheapest." in result.stdout


@pytest.mark.parametrize("folder", [
    "rust/budget-guard", "c/consistent-hash", "cpp/weighted-score", "zig/time-of-day", "go/context-fit",
    "javascript/prompt-language", "typescript/ab-split", "python/tenant-tiers",
])
def test_the_policies_of_real_use_pass_their_scenarios(folder):
    file = REPOSITORY / "target" / "guests-extra" / f"{folder.split('/')[1]}.wasm"
    result = command_line("policy", "test", file, REPOSITORY / "examples" / "policies" / folder / "scenarios.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(" passed, 0 failed\n")


def test_inspect_refuses_what_is_no_policy(tmp_path):
    file = tmp_path / "no.wasm"
    file.write_bytes(b"hello")
    result = command_line("policy", "inspect", file)
    assert result.returncode != 0
    assert "no.wasm" in result.stderr
