"""`witgate policy new`, `build` and `test`: a project in each language builds and tests as it is."""

import os
import shutil
import subprocess

import pytest
from gateway import binary
from processes import REPOSITORY

ALL = "router,fallback,filter,scorer,observer"
TARGET = REPOSITORY / "target"
# What a policy is compiled with, as `make guests-extra` installs it.
PATH = os.pathsep.join([
    str(TARGET / "venv" / "bin"), str(TARGET / "npm" / "node_modules" / ".bin"), os.environ["PATH"],
])


@pytest.fixture
def witgate(tmp_path):
    """Runs the program in an empty folder."""
    environment = os.environ | {
        "PATH": PATH,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        # The SDK's dependencies are there already, from the example in Rust.
        "CARGO_TARGET_DIR": str(TARGET / "guests-extra" / "cargo"),
    }

    def run(*arguments):
        done = subprocess.run([binary(), "policy", *arguments], cwd=tmp_path, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=900)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("hooks, grants", [("router", []), (ALL, ["--grants", "headers,prompt"])], ids=["router", "all"])
@pytest.mark.parametrize("language", ["rust", "c", "javascript", "python"])
def test_a_new_project_builds_and_tests_as_it_is(witgate, tmp_path, language, hooks, grants):
    sdk = ["--sdk", str(REPOSITORY / "policies" / "sdk")] if language == "rust" else []
    code, out, err = witgate("new", "--lang", language, "--hooks", hooks, *grants, *sdk, "my-policy")
    assert (code, err) == (0, "")
    if language == "rust":
        shutil.copy(REPOSITORY / "examples" / "policies" / "rust" / "Cargo.lock", tmp_path / "my-policy")
    code, out, err = witgate("build", "my-policy")
    assert code == 0, err
    assert out.startswith("my-policy/my-policy.wasm: ") and out.endswith("; a gateway would serve it\n"), out
    code, out, err = witgate("test", "my-policy/my-policy.wasm", "my-policy/scenarios.yaml")
    assert (code, err) == (0, ""), out
    assert "FAIL" not in out and out.endswith(" passed, 0 failed\n"), out


def test_what_the_tools_say_is_passed_on(witgate, tmp_path):
    witgate("new", "--lang", "c", "my-policy")
    source = tmp_path / "my-policy" / "policy.c"
    source.write_text(source.read_text().replace("return witgate_pick", "return witgate_pik"))
    code, out, err = witgate("build", "my-policy")
    assert (code, out) == (1, "")
    assert "policy.c" in err and "witgate_pik" in err
    assert err.endswith("error: `clang` failed (exit status: 1); what it says is above\n"), err
