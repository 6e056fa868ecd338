//! `witgate policy`: what somebody meets who writes a policy.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use witgate_tests::guests;

use crate::program::{Run, run, run_with};

/// A folder with these policies in it.
fn folder(policies: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in policies {
        fs::write(folder.path().join(format!("{name}.wasm")), bytes).unwrap();
    }
    folder
}

fn shipped(name: &str) -> &'static [u8] {
    witgate_shipped::find(name).unwrap().bytes
}

fn policy(folder: &Path, arguments: &[&str]) -> Run {
    run(folder, &[&["policy"], arguments].concat())
}

/// What went wrong, from a run that printed nothing else.
fn complaint(run: &Run) -> &str {
    problem(run, 1)
}

/// Of arguments that make no sense.
fn wrong_usage(run: &Run) -> &str {
    problem(run, 2)
}

fn problem(run: &Run, code: i32) -> &str {
    assert_eq!((run.code, run.out.as_str()), (code, ""), "{run:?}");
    run.err.strip_prefix("error: ").unwrap_or(&run.err).trim_end()
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_shipped_policies_pass_their_scenarios() {
    for policy in witgate_shipped::ALL {
        let folder = folder(&[(policy.name, policy.bytes)]);
        let scenarios = repository().join("policies").join(policy.name).join("scenarios.yaml");
        let file = format!("{}.wasm", policy.name);
        let told = run(folder.path(), &["policy", "test", &file, scenarios.to_str().unwrap()]);
        assert_eq!(told.code, 0, "{}", told.out);
        assert!(told.out.ends_with(" passed, 0 failed\n"), "{}", told.out);
    }
}

const SCENARIOS: &str = "\
deployments: {gpt@here: {price: {output: 10}}, gpt@there: {}}
cases:
  - name: the idle one
    candidates:
      gpt@here: {in-flight: 3, tokens-in-flight: 1200.5}
      gpt@there: {in-flight: 0}
    facts: {prompt-tokens: 40}
    request: {now: 2026-01-01T22:30:00Z, headers: {x-team: red}}
    expect: {target: gpt@here, reason: because}
  - name: as it is
    candidates: {gpt@there: }
    expect: {target: gpt@there}
";

#[test]
fn a_wrong_answer_is_shown_with_what_was_asked() {
    let folder = folder(&[("least", shipped("least-loaded"))]);
    fs::write(folder.path().join("s.yaml"), SCENARIOS).unwrap();
    let told = policy(folder.path(), &["test", "least.wasm", "s.yaml"]);
    let expected = "\
FAIL  the idle one
       candidate  in-flight  tokens-in-flight
       gpt@here           3            1200.5
      *gpt@there          0                 0
      facts     prompt-tokens 40
      request   decision 1, seed 1, now 2026-01-01T22:30:00Z
      header    x-team: red
      expected  gpt@here first
      got       gpt@there
      expected  reason \"because\"
      got       no reason
PASS  as it is

1 passed, 1 failed
";
    assert_eq!(told, Run { code: 1, out: expected.to_owned(), err: String::new() });
    let told = policy(folder.path(), &["test", "least.wasm", "s.yaml", "--filter", "as it"]);
    assert_eq!(told, Run { code: 0, out: "PASS  as it is\n\n1 passed, 0 failed\n".to_owned(), err: String::new() });
    let told = policy(folder.path(), &["test", "least.wasm", "s.yaml", "--filter", "nothing"]);
    assert_eq!(complaint(&told), "no case or property has \"nothing\" in its name");
    let told = policy(folder.path(), &["test", "least.wasm", "s.yaml", "--json"]);
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &report["passed"], &report["failed"]), (1, &json!(1), &json!(1)));
    let first = &report["results"][0];
    assert_eq!(first["differences"][0], json!({"expected": "gpt@here first", "got": "gpt@there"}));
    assert_eq!(first["inputs"]["candidates"]["gpt@here"]["tokens-in-flight"], json!(1200.5));
}

#[test]
fn a_scenario_may_expect_everything_that_a_policy_can_answer() {
    let folder = folder(&[("peek", guests::PEEK_PROMPT), ("wild", guests::MISBEHAVE), ("learner", guests::OBSERVER)]);
    let test = |file: &str, scenarios: &str| {
        fs::write(folder.path().join("s.yaml"), format!("deployments: {{a: {{}}, b: {{}}}}\n{scenarios}")).unwrap();
        policy(folder.path(), &["test", file, "s.yaml"]).out
    };
    let peek = "\
grants: [headers, prompt]
cases:
  - {name: forbidden, request: {prompt: a forbidden thing}, expect: {reject: 451, retry-after-ms: 1500, reason: the prompt has a forbidden word}}
  - {name: by header, request: {headers: {X-Candidate: '1'}}, expect: {plan: [b]}}
  - {name: nobody, request: {headers: {x-candidate: '7'}}, expect: {abstain: true}}
  - {name: another status, request: {prompt: a forbidden thing}, expect: {reject: 429}}
";
    let told = test("peek.wasm", peek);
    assert!(told.ends_with("expected  rejected with 429\n      got       rejected with 451, retry after 1500 ms\n      reason    the prompt has a forbidden word\n\n3 passed, 1 failed\n"), "{told}");
    let wild = "\
cases:
  - {name: trap, settings: {how: trap, on_max_tokens: 6}, facts: {max-output-tokens: 6}, expect: {error: it trapped}}
  - {name: loop, settings: {how: loop, on_max_tokens: 6}, facts: {max-output-tokens: 6}, expect: {error: missed its deadline of 5 ms}}
  - {name: declared, settings: {how: declared-error}, expect: {error: declared on purpose}}
  - {name: impossible, settings: {how: empty-plan, on_max_tokens: 6}, facts: {max-output-tokens: 6}, expect: {error: its plan has no attempts}}
  - {name: refused, settings: {how: refuse-configure}, expect: {error: 'it refuses its configuration: refused on purpose'}}
  - {name: logs, settings: {how: log-flood, count: 2}, expect: {log: line 1}}
  - {name: logs not, settings: {how: log-flood, count: 2}, expect: {log: line 2}}
properties:
  - {name: alike, settings: {how: remember}, deterministic: true}
";
    let told = test("wild.wasm", wild);
    assert!(
        told.contains(
            "expected  a log line with \"line 2\"\n      got       log [\"info: line 0\", \"info: line 1\"]\n"
        ),
        "{told}"
    );
    assert!(told.contains("FAIL  alike\n"), "{told}");
    assert!(told.ends_with("\n6 passed, 2 failed\n"), "{told}");
    let learner = "\
cases:
  - {name: learns, outcomes: [{target: a, failure: overloaded}], expect: {target: b}}
  - {name: asks too much, failures: [{target: a, kind: overloaded}], expect: {target: b}}
";
    let told = test("learner.wasm", learner);
    let missing = "got       the case has `failures`, but the policy exports no `fallback`\n\n1 passed, 1 failed\n";
    assert!(told.starts_with("PASS  learns\n") && told.ends_with(missing), "{told}");
}

#[test]
fn a_property_that_could_not_fail_or_does_is_told() {
    let folder = folder(&[("in-order", shipped("in-order"))]);
    let test = |property: &str| {
        let text = format!("deployments: {{a: {{}}, b: {{}}}}\nproperties: [{{name: p, {property}}}]");
        fs::write(folder.path().join("s.yaml"), text).unwrap();
        policy(folder.path(), &["test", "in-order.wasm", "s.yaml"]).out
    };
    assert_eq!(test("always-among: [a]"), "PASS  p\n\n1 passed, 0 failed\n");
    let unfair = "\
FAIL  p
      expected  a 50, b 50, each within 10 %
      got       a 100, b 0

0 passed, 1 failed
";
    assert_eq!(test("over: 100, balanced: {within: 10%}"), unfair);
    let never = test("never: {signal: cooldown-ms, above: 0}");
    assert!(never.contains("expected  nobody with cooldown-ms above 0 while there is b\n"), "{never}");
    let vacuous = "\
FAIL  p
      expected  a situation in which it could have been otherwise
      got       none among 200; state fewer signals, or raise `over`

0 passed, 1 failed
";
    assert_eq!(
        test("candidates: {a: {cooldown-ms: 0}, b: {cooldown-ms: 0}}, never: {signal: cooldown-ms, above: 0}"),
        vacuous
    );
}

#[test]
fn a_scenario_file_that_is_wrong_is_told_with_its_place() {
    let folder = folder(&[("in-order", shipped("in-order"))]);
    let test = |text: &str| {
        fs::write(folder.path().join("s.yaml"), text).unwrap();
        policy(folder.path(), &["test", "in-order.wasm", "s.yaml"])
    };
    assert_eq!(
        complaint(&test(&SCENARIOS.replace("in-flight: 0", "inflight: 0"))),
        "s.yaml: case `the idle one`: candidate `gpt@there`: there is no signal `inflight`; did you mean `in-flight`?"
    );
    let missing = policy(folder.path(), &["test", "in-order.wasm", "nosuch.yaml"]);
    assert_eq!(complaint(&missing), "nosuch.yaml cannot be read: No such file or directory (os error 2)");
}

#[test]
fn one_decision_is_shown_with_its_reasons() {
    let folder = folder(&[("in-order", shipped("in-order")), ("chain", shipped("fallback-chain"))]);
    let ask = |arguments: &str| policy(folder.path(), &arguments.split(' ').collect::<Vec<_>>());
    let told = ask("try in-order.wasm --candidates a=in-flight:3,error-rate:0.5 b --seed 9 --now 2026-01-01T22:30:00Z");
    let (shown, took) = told.out.split_once("took      ").unwrap();
    let expected = " candidate  in-flight  error-rate
*a                  3         0.5
 b                  0           0
request   decision 1, seed 9, now 2026-01-01T22:30:00Z

answer    a, on failure b
reason    configured order
";
    assert_eq!((told.code, shown), (0, expected));
    assert!(took.ends_with(" in `router`\n"), "{took}");
    let told = ask("try chain.wasm --candidates a b --failed a=overloaded --json");
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&report["answer"], &report["reason"]), (&json!("b"), &json!("next candidate after a failure")));
    assert_eq!(
        complaint(&ask("try chain.wasm --candidates a b")),
        "the policy exports `fallback`, which is not asked before something has failed; give `--failed`"
    );
    for (arguments, problem) in [
        ("try in-order.wasm --candidates a=in-flight", "candidate `a`: `in-flight` is not of the form SIGNAL:NUMBER"),
        (
            "try in-order.wasm --candidates a=in-flght:1",
            "candidate `a`: there is no signal `in-flght`; did you mean `in-flight`?",
        ),
        ("try in-order.wasm --candidates a=in-flight:NaN", "candidate `a`: `in-flight`: `NaN` is not a finite number"),
        ("try in-order.wasm --candidates a a", "the candidate `a` is there twice"),
        ("try in-order.wasm --candidates a --facts tool=1", "there is no fact `tool`; did you mean `tools`?"),
        (
            "try in-order.wasm --candidates a --now noon",
            "`--now` is `noon`, which is not a time such as 2026-01-01T22:30:00Z",
        ),
        (
            "try chain.wasm --candidates a --failed a=overload",
            "there is no kind of failure `overload`; did you mean `overloaded`?",
        ),
    ] {
        assert_eq!(wrong_usage(&ask(arguments)), problem);
    }
}

#[test]
fn a_number_that_makes_no_sense_is_wrong_usage() {
    let folder = folder(&[("in-order", shipped("in-order"))]);
    let ask = |arguments: &str| policy(folder.path(), &arguments.split(' ').collect::<Vec<_>>());
    for (arguments, problem) in [
        (
            "try in-order.wasm --candidates a --seed 2147483648",
            "invalid value '2147483648' for '--seed <N>': 2147483648 is not in 0..2147483648",
        ),
        ("fuzz in-order.wasm --cases 0", "invalid value '0' for '--cases <N>': 0 is not in 1..=4294967295"),
        (
            "bench in-order.wasm --seconds 0",
            "invalid value '0' for '--seconds <SECONDS>': write a number of seconds, 0.1 to 3600: in less, too few calls \
             are made",
        ),
    ] {
        assert_eq!(wrong_usage(&ask(arguments)), format!("{problem}\n\nFor more information, try '--help'."));
    }
    assert_eq!(ask("try in-order.wasm --candidates a --seed 2147483647").code, 0);
    assert_eq!(ask("fuzz in-order.wasm --cases 1").code, 0);
    assert_eq!(ask("bench in-order.wasm --candidates 4 --seconds 0.1").code, 0);
}

#[test]
fn a_case_of_a_file_can_be_tried_and_the_log_is_shown() {
    let folder = folder(&[("wild", guests::MISBEHAVE)]);
    let text = "deployments: {a: {}}\nsettings: {how: log-flood, count: 1}\ncases: [{name: one, expect: {ran: true}}]";
    fs::write(folder.path().join("s.yaml"), text).unwrap();
    let told = policy(folder.path(), &["try", "wild.wasm", "--scenarios", "s.yaml", "--case", "one"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.ends_with("\nlog       info: line 0\n"), "{}", told.out);
    let settings = r#"{"how": "trap", "on_max_tokens": 7}"#;
    let asked = ["try", "wild.wasm", "--candidates", "a", "--facts", "max-output-tokens=7", "--settings", settings];
    let told = policy(folder.path(), &asked);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.out.contains("\nanswer    `router` failed: it trapped: wasm trap: "), "{}", told.out);
}

#[test]
fn fuzzing_finds_a_trap_and_says_how_to_see_it_again() {
    let folder = folder(&[("wild", guests::MISBEHAVE)]);
    let settings = r#"{"how":"trap","on_max_tokens":4096}"#;
    let fuzz = |more: &[&str]| policy(folder.path(), &[&["fuzz", "wild.wasm", "--settings", settings], more].concat());
    let told = fuzz(&["--seed", "1", "--cases", "400"]);
    assert_eq!(told.code, 1, "{told:?}");
    let first = told.out.lines().next().unwrap();
    let (kind, case) = first.split_once(", for example in case ").unwrap();
    let (case, cause) = case.split_once(": ").unwrap();
    assert!(kind.starts_with("trap in `router`, ") && kind.ends_with(" time(s)"), "{first}");
    assert_eq!(cause, "it trapped: wasm trap: wasm `unreachable` instruction executed");
    assert!(told.out.contains("\n  facts     max-output-tokens 4096\n"), "{}", told.out);
    let again = format!(
        "  again: witgate policy fuzz wild.wasm --seed 1 --only {case} --settings '{settings}'\n\nseed 1: 400 case(s) in 4 made-up gateway(s), 0 error(s) declared, 1 kind(s) of findings\n"
    );
    assert!(told.out.ends_with(&again), "{}", told.out);
    // alone, it is the same situation with the same end
    let alone = fuzz(&["--seed", "1", "--only", case]);
    let expected = told.out.split_once("\nseed 1: ").unwrap().0.replacen(kind, "trap in `router`, 1 time(s)", 1)
        + "\nseed 1: 1 case(s) in 1 made-up gateway(s), 0 error(s) declared, 1 kind(s) of findings\n";
    assert_eq!(alone, Run { code: 1, out: expected, err: String::new() });
}

#[test]
fn fuzzing_tells_every_kind_of_misbehaviour_apart() {
    let folder = folder(&[("wild", guests::MISBEHAVE)]);
    let fuzz = |settings: Value, cases: &str| {
        let settings = settings.to_string();
        let told = policy(
            folder.path(),
            &["fuzz", "wild.wasm", "--seed", "1", "--cases", cases, "--json", "--settings", &settings],
        );
        let report: Value = serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        let findings = report["findings"].as_array().unwrap();
        let kinds: Vec<String> = findings.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told.code, i32::from(!kinds.is_empty()));
        (kinds.join(","), report)
    };
    for (how, kind) in [("loop", "deadline"), ("out-of-range", "impossible"), ("remember", "nondeterminism")] {
        assert_eq!(fuzz(json!({"how": how, "on_max_tokens": 4096}), "300").0, kind, "{how}");
    }
    // what the trial at loading finds is found too
    assert_eq!(fuzz(json!({"how": "trap"}), "1").0, "trap");
    assert_eq!(fuzz(json!({"how": "refuse-configure"}), "1").0, "refused");
    // and an error that is declared is no finding
    let (kinds, report) = fuzz(json!({"how": "declared-error"}), "50");
    assert_eq!((kinds.as_str(), &report["declared_errors"]), ("", &json!(50)));
    let (_, report) = fuzz(json!({"how": "remember"}), "100");
    let again = report["findings"][0]["again"].as_str().unwrap().to_owned();
    assert!(again.starts_with("--seed 1 --cases "), "{again}");
}

#[test]
fn the_shipped_policies_stand_what_is_made_up() {
    for policy in witgate_shipped::ALL {
        let folder = folder(&[(policy.name, policy.bytes)]);
        let told =
            run(folder.path(), &["policy", "fuzz", &format!("{}.wasm", policy.name), "--seed", "7", "--cases", "300"]);
        let good = "seed 7: 300 case(s) in 3 made-up gateway(s), 0 error(s) declared, nothing found\n";
        assert_eq!(told, Run { code: 0, out: good.to_owned(), err: String::new() }, "{}", policy.name);
    }
}

#[test]
fn verify_says_what_a_gateway_would_say() {
    let folder = folder(&[("peek", guests::PEEK_PROMPT), ("least-loaded", shipped("least-loaded"))]);
    let config = "\
server: {listen: \"127.0.0.1:0\"}
policies: {code_cache: off, rules: {least-loaded: {deadline: 20ms, memory: 4MiB, calls: 10, log_lines: 3}}}
providers: {demo: {dialect: demo}}
deployments: {tiny@demo: }
routes:
  one: {deployments: tiny@demo, policies: [{use: least-loaded, settings: {measure: requests}}]}
  two: {deployments: tiny@demo, policies: [{use: least-loaded, settings: {measure: sizes}}]}
  three: {deployments: tiny@demo, policies: [{use: least-loaded, settings: {measure: requests}}]}
";
    fs::write(folder.path().join("witgate.yaml"), config).unwrap();
    let told = policy(folder.path(), &["verify", "least-loaded.wasm", "--config", "witgate.yaml"]);
    let revision = told.out.split("(revision ").nth(1).unwrap().split(')').next().unwrap();
    let expected = format!(
        "\
policy     least-loaded (revision {revision}), contract 0.1.0, router
limits     deadline 20 ms, memory 4 MiB, 10 calls of an instance, 3 log lines a second
grants     none
used       route `one`, `three`
settings   {{\"measure\":\"requests\"}}
signals    in-flight, tokens-in-flight, weight
facts      none
verdict    good: it would be put into service
used       route `two`
settings   {{\"measure\":\"sizes\"}}
verdict    refused: policy `least-loaded` (revision {revision}): its settings are not what it accepts: `settings.measure`: \"sizes\" is not one of \"tokens\" or \"requests\" (allowed: {{\"enum\":[\"tokens\",\"requests\"],\"default\":\"tokens\"}}); `witgate policy inspect --schema least-loaded.wasm` shows all that it accepts
"
    );
    assert_eq!(told, Run { code: 1, out: expected, err: String::new() });
    let refused = policy(folder.path(), &["verify", "peek.wasm", "--grant", "headers"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.out.contains("\ngrants     headers\n") && refused.out.contains("it imports `prompt`"),
        "{}",
        refused.out
    );
    let granted = policy(folder.path(), &["verify", "peek.wasm", "--grant", "headers", "--grant", "prompt"]);
    assert_eq!(granted.code, 0, "{}", granted.out);
    // also in the words of `witgate policy new`
    assert_eq!(policy(folder.path(), &["verify", "peek.wasm", "--grants", "headers,prompt"]), granted);
    // where both are said on the command line, so does the message
    let tried = policy(folder.path(), &["try", "peek.wasm", "--candidates", "a"]);
    assert!(
        complaint(&tried).ends_with("to `policies.rules.peek.grants`; here, say `--grant headers,prompt`"),
        "{tried:?}"
    );
    let measured = policy(folder.path(), &["bench", "least-loaded.wasm", "--settings", r#"{"measure": 1}"#]);
    let hint = "; say them with `--settings JSON`: `witgate policy inspect --schema` shows what it accepts";
    assert!(complaint(&measured).ends_with(hint), "{measured:?}");
    let wrong = policy(folder.path(), &["verify", "peek.wasm", "--settings", "[1]"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("settings are a JSON object, for example '{\"attempts\": 2}'"), "{}", wrong.err);
}

#[test]
fn bench_measures_every_hook_by_the_number_of_candidates() {
    let folder = folder(&[("learner", guests::OBSERVER)]);
    let bench = |more: &[&str]| policy(folder.path(), &[&["bench", "learner.wasm", "--seconds", "0.2"], more].concat());
    let told = bench(&["--candidates", "1,40", "--json"]);
    let report: Value = serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    let rows = report["decisions"].as_array().unwrap();
    let measured: Vec<_> =
        rows.iter().map(|row| (row["hook"].as_str().unwrap(), row["candidates"].as_u64().unwrap())).collect();
    assert_eq!(measured, [("router", 1), ("router", 40), ("observer", 1), ("observer", 40)]);
    for row in rows {
        let number = |key: &str| row[key].as_u64().unwrap();
        assert!(number("calls") > 0 && number("p50_ns") > 0 && number("p50_ns") <= number("p99_ns"), "{row}");
    }
    let number = |key: &str| report[key].as_u64().unwrap();
    assert_eq!(number("file_bytes"), guests::OBSERVER.len() as u64);
    // a Rust guest has a stack of 1 MiB
    assert!((1 << 20..16 << 20).contains(&number("instance_bytes")), "{report}");
    assert!(number("load_cached_ns") < number("load_ns"), "{report}");
    assert!(bench(&["--candidates", "4"]).out.starts_with("hook      candidates"), "a table");
    let wrong = bench(&["--candidates", "0"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("write numbers from 1 to 4096, with commas between"), "{}", wrong.err);
}

#[test]
fn the_schema_of_settings_is_shown_of_shipped_policies_too() {
    let folder = folder(&[]);
    let inspect = |name: &str| policy(folder.path(), &["inspect", "--schema", name]);
    let told = inspect("least-loaded");
    let schema = fs::read_to_string(repository().join("policies/least-loaded/settings.schema.json")).unwrap();
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!((told.code, parsed(&told.out)), (0, parsed(&schema)), "{}", told.err);
    // a file goes before it
    fs::write(folder.path().join("least-loaded"), "hello").unwrap();
    assert_eq!(
        complaint(&inspect("least-loaded")),
        "least-loaded: policy `least-loaded`: the file is not WebAssembly: it is text"
    );
}

#[test]
fn a_project_says_what_it_does_and_where_it_belongs() {
    for (hooks, summary, chain) in [
        ("router,filter", "Fewest requests in flight wins.", "[health, tidy, resilient]"),
        ("scorer", "Fewest requests in flight wins.", "[health, tidy, best-score, resilient]"),
        ("router,scorer", "Fewest requests in flight wins.", "[health, tidy, resilient]"),
        ("filter,observer", "Leaves out who asks for a pause.", "[health, tidy, peak-ewma, resilient]"),
        ("observer", "Counts how often each deployment has failed.", "[health, tidy, peak-ewma, resilient]"),
    ] {
        for (language, file) in
            [("rust", "src/lib.rs"), ("c", "policy.c"), ("cpp", "policy.cpp"), ("zig", "policy.zig")]
        {
            let folder = folder(&[]);
            let made = policy(folder.path(), &["new", "--lang", language, "--hooks", hooks, "tidy"]);
            assert_eq!((made.code, &*made.err), (0, ""));
            let read = |file: &str| fs::read_to_string(folder.path().join("tidy").join(file)).unwrap();
            assert!(read(file).contains(&format!("\"{summary}\"")), "{language} {hooks}: {}", read(file));
            assert!(read("README.md").contains(&format!("    policies: {chain}\n")), "{}", read("README.md"));
            assert_eq!(read("README.md").contains("the signal `score`"), hooks.contains("scorer"));
            let routes = hooks == "router,scorer";
            assert_eq!(read("README.md").contains("the gateway warns that those change nothing"), routes);
        }
    }
}

#[test]
fn a_project_is_made_once_and_says_what_comes_next() {
    let folder = folder(&[]);
    let new = |more: &[&str]| policy(folder.path(), &[&["new", "--lang", "rust"], more].concat());
    let told = new(&["--hooks", "router,fallback", "cheap-at-night"]);
    let expected = "\
./cheap-at-night is ready: a policy in Rust with router, fallback. Next:
  cd ./cheap-at-night
  witgate policy build
  witgate policy test cheap-at-night.wasm scenarios.yaml
";
    assert_eq!(told, Run { code: 0, out: expected.to_owned(), err: String::new() });
    let read = |file: &str| fs::read_to_string(folder.path().join("cheap-at-night").join(file)).unwrap();
    assert!(
        read("src/lib.rs").ends_with("}\n")
            && read("src/lib.rs").contains("\nregister!(CheapAtNight: router, fallback);\n")
    );
    assert!(read("Cargo.toml").contains("\nwitgate-sdk = { path = \"vendor/witgate-sdk\" }\n"));
    for part in ["src", "src/testing"] {
        for entry in fs::read_dir(repository().join("policies/sdk").join(part)).unwrap().map(Result::unwrap) {
            let file = format!("vendor/witgate-sdk/{part}/{}", entry.file_name().display());
            if entry.path().is_file() {
                assert_eq!(read(&file), fs::read_to_string(entry.path()).unwrap(), "{file}");
            }
        }
    }
    assert_eq!(
        read("witgate-policy.toml"),
        "# For `witgate policy build`.\nname = \"cheap-at-night\"\nlanguage = \"rust\"\nhooks = [\"router\", \"fallback\"]\ngrants = []\n"
    );
    for file in ["src/lib.rs", "Cargo.toml", "scenarios.yaml", "README.md"] {
        assert!(!read(file).contains("%if") && !read(file).contains("%end"), "{file}");
    }
    assert_eq!(
        complaint(&new(&["cheap-at-night"])),
        "./cheap-at-night is there already; choose another name, or remove it first"
    );
    assert_eq!(wrong_usage(&new(&["--hooks", "ruoter", "other"])), "there is no hook `ruoter`; did you mean `router`?");
    let wrong = new(&["Cheap"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("`Cheap` is no name for a policy: use lower case words"), "{}", wrong.err);
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_build_says_what_is_missing_and_how_to_get_it() {
    let folder = folder(&[]);
    assert_eq!(
        complaint(&policy(folder.path(), &["build"])),
        ". has no witgate-policy.toml; `witgate policy new` makes a project with one, or name the folder of yours"
    );
    policy(folder.path(), &["new", "--lang", "rust", "plain"]);
    let build = || run_with(folder.path(), &["policy", "build", "plain"], &[("PATH", "/nowhere")]);
    assert_eq!(
        complaint(&build()),
        "`cargo` is missing: install Rust, see https://rustup.rs\n`rustc` is missing: install Rust, see https://rustup.rs"
    );
    let manifest = folder.path().join("plain/witgate-policy.toml");
    fs::write(&manifest, fs::read_to_string(&manifest).unwrap().replace("rust", "cobol")).unwrap();
    assert!(complaint(&build()).contains("unknown variant `cobol`"), "{:?}", build());
}

#[test]
fn every_command_teaches_with_an_example() {
    let folder = folder(&[]);
    for command in ["new", "build", "inspect", "verify", "test", "try", "bench", "fuzz"] {
        let help = policy(folder.path(), &[command, "--help"]);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command}");
        assert!(help.out.contains(&format!("\n  witgate policy {command} ")), "{command}:\n{}", help.out);
    }
    let help = policy(folder.path(), &["try", "--help"]).out;
    assert!(help.contains("in-flight") && help.contains("prompt-tokens"), "signals and facts are listed:\n{help}");
}
