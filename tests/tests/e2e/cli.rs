//! The command line: what it prints, and its exit codes.

use std::fs;

use serde_json::json;
use witgate_tests::redis::free_address;
use witgate_tests::{gateway, guests, upstream};

use crate::program::{Run, run};

const GOOD: &str = "\
server: {listen: \"127.0.0.1:0\"}
policies: {code_cache: off}
providers:
  demo: {dialect: demo}
deployments:
  tiny@demo:
routes:
  tiny: {deployments: tiny@demo, policies: [in-order]}
";

#[test]
fn check_says_that_a_configuration_is_good() {
    let folder = folder(GOOD);
    let good = "witgate.yaml: good: 1 provider(s), 1 deployment(s), 1 route(s), 0 warning(s)\n";
    let expected = Run { code: 0, out: good.to_owned(), err: String::new() };
    assert_eq!(run(folder.path(), &["check", "--config", "witgate.yaml"]), expected);
    // and finds the file where it usually is
    assert_eq!(run(folder.path(), &["check"]), expected);
}

#[test]
fn check_tells_every_mistake_with_its_place_and_a_hint() {
    let bad = "\
sever: {}
providers:
  demo: {dialect: dmeo}
deployments:
  tiny@demo: {weight: -1}
routes:
  tiny: {deployments: tniy@demo, timeout: 5}
";
    let folder = folder(bad);
    let told = run(folder.path(), &["check", "--config", "witgate.yaml"]);
    assert_eq!(
        (told.code, told.out.as_str(), told.err.as_str()),
        (
            1,
            "",
            "\
witgate.yaml:1:1: error: unknown key `sever`
  hint: did you mean `server`?
witgate.yaml:3:19: error: providers.demo.dialect: expected one of `openai`, `ollama`, `anthropic`, `demo`, found text \"dmeo\"
  hint: did you mean `demo`?
witgate.yaml:5:23: error: deployments.tiny@demo.weight: must be above 0, found -1
witgate.yaml:7:23: error: routes.tiny.deployments: there is no deployment `tniy@demo`
  hint: did you mean `tiny@demo`?
witgate.yaml:7:43: error: routes.tiny.timeout: expected a duration such as `30s`, found 5
  hint: add a unit, for example `5s`
witgate.yaml: 5 problem(s)
"
        )
    );
}

const PRICED: &str = "\
server: {listen: \"127.0.0.1:0\"}
policies: {code_cache: off}
providers:
  openai: {preset: openai, api_key: sk}
  here: {dialect: openai, base_url: \"http://127.0.0.1:9/v1\"}
catalogue: {openai/mine: {price: {input: 1}, lacks: [tools]}}
deployments:
  gpt-4o@openai:
  gpt-4o-2027-01-01@openai: {price: {input: 2, output: 8}, context_tokens: 1000}
  mine@openai:
  llama@here: {capabilities: [tools]}
routes:
  all: {deployments: \"*\", policies: [in-order]}
";

#[test]
fn models_are_looked_up_by_words() {
    let told = run(folder("").path(), &["models", "GPT-4O", "openai/", "2024-05"]);
    let openai = ["openai/gpt-4o-2024-05-13", "5", "15", "-", "128000", "4096", "chat,tools,vision"];
    let openai: Vec<&str> = openai.into_iter().chain(["completions,embeddings,json-schema"]).collect();
    let lines: Vec<Vec<&str>> = told.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((told.code, lines[1].clone()), (0, openai), "{}", told.out);
    assert!(told.out.ends_with("2 model(s), as of 2026-06; prices in USD for a million tokens\n"), "{}", told.out);
    let none = run(folder("").path(), &["models", "gpt", "nosuch"]);
    let message = "the catalogue of 2026-06 has no model with `gpt` and `nosuch` in its name\n";
    assert_eq!((none.code, &*none.out, &*none.err), (1, "", message));
}

#[test]
fn models_of_a_configuration_say_what_they_are_taken_for() {
    let told = run(folder(PRICED).path(), &["models", "--config", "witgate.yaml"]);
    let expected = "\
deployment                 in  out  cached  context  answer                            can                  cannot                             in the catalogue
gpt-4o@openai             2.5   10    1.25   128000   16384  chat,tools,vision,json-schema  completions,embeddings                   openai/gpt-4o, by its name
gpt-4o-2027-01-01@openai    2    8       -     1000   16384  chat,tools,vision,json-schema  completions,embeddings  openai/gpt-4o, by its name without the date
mine@openai                 1    0       -        -       -                              -                   tools                     openai/mine, by its name
llama@here                  -    -       -        -       -                          tools                       -                                           no
";
    assert_eq!((told.code, &*told.out, &*told.err), (0, expected, ""));
}

#[test]
fn check_says_what_was_guessed() {
    let told = run(folder(PRICED).path(), &["check"]);
    let expected = "\
witgate.yaml: good: 2 provider(s), 4 deployment(s), 1 route(s), 0 warning(s)
gpt-4o-2027-01-01@openai is taken for openai/gpt-4o, by its name without the date
";
    assert_eq!((told.code, &*told.out, &*told.err), (0, expected, ""));
}

#[test]
fn check_tries_the_policies_too() {
    let folder = folder(&GOOD.replace("[in-order]", "[{use: in-order, settings: {attempts: 0}}]"));
    let told = run(folder.path(), &["check"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.err.starts_with("witgate.yaml:8:"), "{}", told.err);
    assert!(told.err.contains("its settings are not what it accepts"), "{}", told.err);
    fs::create_dir(folder.path().join("policies")).unwrap();
    fs::write(folder.path().join("policies/in-order.wasm"), "hello").unwrap();
    let told = run(folder.path(), &["check"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(
        told.err.contains("policy `in-order`: in-order.wasm is refused: the file is not WebAssembly"),
        "{}",
        told.err
    );
}

#[test]
fn check_warns_of_scores_that_nobody_reads() {
    let told = |more: &str| {
        let folder =
            folder(&GOOD.replace("[in-order]", &format!("[{{use: rates, settings: {{least: weight}}}}{more}]")));
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::write(folder.path().join("policies/rates.wasm"), guests::RATES).unwrap();
        run(folder.path(), &["check"])
    };
    let good =
        |warnings| format!("witgate.yaml: good: 1 provider(s), 1 deployment(s), 1 route(s), {warnings} warning(s)\n");
    for (more, what_to_do) in [
        (", health, peak-ewma, in-order", "put one that does, such as `best-score`, in the place of `peak-ewma`"),
        ("", "add one that does, such as `best-score`"),
    ] {
        let warning = format!(
            "witgate.yaml:8:45: warning: routes.tiny.policies[0]: the scores of `rates` change nothing, because no \
             router of this chain reads the signal `score`; {what_to_do}\n"
        );
        assert_eq!(told(more), Run { code: 0, out: good(1), err: warning });
    }
    assert_eq!(told(", best-score"), Run { code: 0, out: good(0), err: String::new() });
    // one that routes too, by something else
    let folder = folder(&GOOD.replace("[in-order]", "[stages]"));
    fs::create_dir(folder.path().join("policies")).unwrap();
    let stages = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/stages-c.wasm");
    fs::copy(stages, folder.path().join("policies/stages.wasm")).unwrap();
    let warning = "witgate.yaml:8:45: warning: routes.tiny.policies[0]: the scores of `stages` change nothing, because no \
                   router of this chain reads the signal `score`; let the router of `stages` read it, or put one that \
                   does, such as `best-score`, before it\n";
    assert_eq!(run(folder.path(), &["check"]), Run { code: 0, out: good(1), err: warning.to_owned() });
    let both = GOOD.replace("[in-order]", "[best-score, stages]");
    fs::write(folder.path().join("witgate.yaml"), both).unwrap();
    assert_eq!(run(folder.path(), &["check"]), Run { code: 0, out: good(0), err: String::new() });
}

#[test]
fn check_warns_of_a_chain_without_a_router() {
    let told = |chain: &str| run(folder(&GOOD.replace("[in-order]", chain)).path(), &["check"]);
    let good =
        |warnings| format!("witgate.yaml: good: 1 provider(s), 1 deployment(s), 1 route(s), {warnings} warning(s)\n");
    let warning = "witgate.yaml:8:53: warning: routes.tiny.policies[1]: the chain has no router: requests go to the \
                   first candidate in configured order; add one, such as `in-order`\n";
    assert_eq!(told("[health, resilient]"), Run { code: 0, out: good(1), err: warning.to_owned() });
    assert_eq!(told("[health, resilient, in-order]"), Run { code: 0, out: good(0), err: String::new() });
}

#[test]
fn check_asks_whether_the_port_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = folder(&GOOD.replace("127.0.0.1:0", &address.to_string()));
    let told = run(folder.path(), &["check"]);
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert!(
        told.err.starts_with(&format!("witgate.yaml:1:18: error: server.listen: cannot listen on {address}: ")),
        "{told:?}"
    );
    assert_eq!(run(folder.path(), &["check", "--running"]).code, 0);
}

#[test]
fn check_needs_keys_for_a_public_address() {
    let public = |more: &str| GOOD.replace("{listen: \"127.0.0.1:0\"}", &format!("{{listen: \"0.0.0.0:0\"{more}}}"));
    let told = run(folder(&public("")).path(), &["check"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.err.starts_with("witgate.yaml:1:"), "{told:?}");
    assert_eq!(run(folder(&public(", allow_unauthenticated: true")).path(), &["check"]).code, 0);
}

#[test]
fn a_configuration_that_is_not_there_is_told() {
    let folder = folder(GOOD);
    for command in ["check", "serve"] {
        let told = run(folder.path(), &[command, "--config", "nosuch.yaml"]);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(
            told.err.starts_with("nosuch.yaml: cannot be read: No such file or directory (os error 2)\n"),
            "{told:?}"
        );
    }
}

#[test]
fn serve_does_not_start_with_a_bad_configuration_or_a_taken_port() {
    let folder = folder(&GOOD.replace("tiny@demo, ", "nosuch, "));
    let told = run(folder.path(), &["serve"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.err.contains("routes.tiny.deployments"), "{told:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(folder.path().join("witgate.yaml"), GOOD).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = run(folder.path(), &["serve", "--listen", &address]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.err.contains(&format!("cannot listen on {address}: ")), "{told:?}");
    let told = run(folder.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.err.contains("auth.keys"), "{told:?}");
}

#[tokio::test]
async fn a_folder_is_read_as_one_configuration() {
    let a = upstream().start().await;
    let written = gateway().model("fast", [&a]).config(json!({"server": {"listen": free_address()}})).write();
    let parts = written.path().join("parts");
    fs::create_dir(&parts).unwrap();
    let config = written.config();
    for part in ["providers", "deployments", "routes", "server", "policies"] {
        fs::write(parts.join(format!("{part}.yaml")), json!({part: config[part]}).to_string()).unwrap();
    }
    let told = run(written.path(), &["check", "--config", "parts"]);
    let good = "parts: good: 1 provider(s), 1 deployment(s), 1 route(s), 0 warning(s)\n";
    assert_eq!(told, Run { code: 0, out: good.to_owned(), err: String::new() });
}

#[test]
fn help_teaches() {
    let folder = folder(GOOD);
    let help = run(folder.path(), &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for told in [
        "Usage: witgate <COMMAND>",
        "serve ",
        "check ",
        "policy ",
        "curl -s http://127.0.0.1:4000/v1/chat/completions",
        "Drop a policy into policies/ and it decides from the next request on.",
    ] {
        assert!(help.out.contains(told), "{told} is missing in:\n{}", help.out);
    }
    for command in [&["serve", "--help"][..], &["check", "--help"], &["policy", "--help"]] {
        let help = run(folder.path(), command);
        assert_eq!((help.code, help.out.is_empty()), (0, false), "{command:?}");
    }
    let wrong = run(folder.path(), &["sreve"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("a similar subcommand exists: 'serve'"), "{}", wrong.err);
    assert!(run(folder.path(), &["--version"]).out.starts_with("witgate 0.1.0"));
}

#[test]
fn inspect_says_what_a_policy_is() {
    let folder = folder(GOOD);
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let inspect = |name: &str| run(folder.path(), &["policy", "inspect", name]);
    write("in-order.wasm", witgate_shipped::find("in-order").unwrap().bytes);
    let shipped = inspect("in-order.wasm");
    assert_eq!((shipped.code, shipped.err.as_str()), (0, ""));
    for line in [
        "name       in-order 0.1.0\n",
        "summary    Tries the candidates in configured order.\n",
        "hooks      router\n",
        "imports    none\n",
    ] {
        assert!(shipped.out.contains(line), "{line} is missing in:\n{}", shipped.out);
    }
    write("peek.wasm", guests::PEEK_PROMPT);
    let peek = inspect("peek.wasm");
    let needs = "needs      grants: [headers, prompt] under `policies.rules` in the configuration\n";
    assert!(peek.out.contains(needs), "{}", peek.out);
}

#[test]
fn inspect_says_what_is_wrong_with_any_other_file() {
    let folder = folder(GOOD);
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("text.wasm", b"hello");
    // a module without a component type
    write("module.wasm", b"\0asm\x01\0\0\0");
    write("no-hook.wasm", guests::NO_HOOK);
    write("old.wasm", guests::WRONG_VERSION);
    for (name, problem) in [
        ("text.wasm", "error: text.wasm: policy `text`: the file is not WebAssembly"),
        (
            "module.wasm",
            "error: module.wasm: policy `module`: the file is a core WebAssembly module without a component type, so its \
             functions cannot be told; generate its bindings with wit-bindgen for a world of `witgate:policy`, or build it as a \
             component\n",
        ),
        (
            "no-hook.wasm",
            "error: no-hook.wasm: policy `no-hook`: it exports `witgate:policy/lifecycle` but no hook, so it could never \
             do anything; export at least one of `router`, `fallback`, `filter`, `scorer`, `observer`\n",
        ),
        ("old.wasm", "error: old.wasm: policy `old`: it was built for version "),
        ("nosuch.wasm", "error: nosuch.wasm cannot be read: No such file or directory (os error 2)\n"),
    ] {
        let told = run(folder.path(), &["policy", "inspect", name]);
        assert_eq!((told.code, told.out.as_str()), (1, ""), "{name}");
        assert!(told.err.starts_with(problem), "{name}: {}", told.err);
    }
}

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("witgate.yaml"), config).unwrap();
    folder
}
