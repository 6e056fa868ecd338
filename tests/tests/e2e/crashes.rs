//! A new revision that fails too often: it is asked no more, the one before takes its place, by itself, and no request
//! fails because of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use witgate_tests::gateway::Builder;
use witgate_tests::{Answer, CHAT, Gateway, Upstream, eventually, gateway, guests, upstream};

use crate::program::Serving;
use crate::tiers::large;

const OLD: &str = "witgate-fixture-tagged";
const OTHER: &str = "witgate-fixture-tagged-b";
const BAD: &str = "turncoat";

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_fails_too_often_is_rolled_back_by_itself() {
    for (tokens, kind, how) in [
        (666, "trap", "it trapped: wasm trap: wasm `unreachable` instruction executed"),
        (667, "deadline", "it missed its deadline of 5 ms"),
        (
            669,
            "impossible",
            "its verdict is impossible: it names deployment number 1000, which was not offered for this request",
        ),
    ] {
        let a = upstream().start().await;
        let gateway = flip(&a).start().await;
        let good = revision(&gateway).await;
        gateway.folder.put_policy("flip", guests::TURNCOAT);
        gateway.wait_for_reason("fast", BAD).await;
        let bad = revision(&gateway).await;
        for _ in 0..3 {
            // the route's failure mode covers it
            let answer = provoke(&gateway, tokens).await;
            assert_eq!((answer.status, answer.policy()), (200, Some("in-order")), "{kind}");
        }
        wait_for_rollback(&gateway).await;
        assert_eq!(reason(&gateway).await.as_deref(), Some(OLD));
        let status = gateway.policy_status("flip").await;
        assert_eq!((&status["state"], &status["revision"]), (&json!("serving"), &json!(good)), "{kind}");
        assert_eq!(status["source"], "kept");
        let rollback = &status["rollback"];
        assert_eq!(
            (&rollback["from"], &rollback["to"], &rollback["by"]),
            (&json!(bad), &json!(good), &json!("crash")),
            "{kind}"
        );
        assert_eq!(rollback["failures"], json!({kind: 3}));
        let why = rollback["why"].as_str().unwrap();
        assert!(why.starts_with("3 of ") && why.ends_with(&format!("; the last failed in `router`: {how}")), "{why}");
        assert!(rollback["at"].as_u64().is_some_and(|at| at > 1_700_000_000), "{rollback}");
        let series = r#"witgate_policy_rollbacks_total{by="crash",policy="flip"}"#;
        assert_eq!(gateway.metric(series).await, 1.0);
        assert_eq!(
            gateway.problems().await,
            [format!(
                "policy `flip`: its file, revision {bad}, was rolled back from and is not tried again until it changes"
            )]
        );
        // what provoked it is answered by the good one now
        assert_eq!(provoke(&gateway, tokens).await.policy(), Some("flip"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bad_file_is_not_tried_again_until_it_changes() {
    let a = upstream().start().await;
    let gateway = rolled_back(&a).await;
    let generation = gateway.generation().await;
    // the same content again, a reload, and a change of configuration
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
    assert_eq!(gateway.generation().await, generation);
    gateway.folder.edit_config(json!({"server": {"body_limit": "1MiB"}}));
    eventually("the configuration is live", async || gateway.generation().await > generation).await;
    assert_eq!(reason(&gateway).await.as_deref(), Some(OLD));
    // a restart
    let gateway = gateway.restart().await;
    assert_eq!(reason(&gateway).await.as_deref(), Some(OLD));
    assert_eq!(gateway.policy_status("flip").await["rollback"]["by"], "crash");
    // another file
    gateway.folder.put_policy("flip", guests::TAGGED_B);
    gateway.wait_for_reason("fast", OTHER).await;
    assert_eq!((gateway.problems().await, &gateway.policy_status("flip").await["rollback"]), (vec![], &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bad_file_is_tried_again_after_the_good_one_was_put_back() {
    let a = upstream().start().await;
    let gateway = rolled_back(&a).await;
    gateway.folder.put_policy("flip", guests::TAGGED);
    eventually("nothing is wrong", async || gateway.problems().await.is_empty()).await;
    assert_eq!(gateway.policy_status("flip").await["rollback"], Value::Null);
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", BAD).await;
    // and is rolled back from again
    crash(&gateway).await;
    wait_for_rollback(&gateway).await;
    assert_eq!(reason(&gateway).await.as_deref(), Some(OLD));
}

#[tokio::test(flavor = "multi_thread")]
async fn revision_after_revision_is_rolled_back_until_one_is_good() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    let good = revision(&gateway).await;
    let mut bad = Vec::new();
    for build in 0..2 {
        gateway.folder.put_policy("flip", &revised(guests::TURNCOAT, build));
        eventually("it serves", async || {
            let now = revision(&gateway).await;
            now != good && !bad.contains(&now)
        })
        .await;
        bad.push(revision(&gateway).await);
    }
    crash(&gateway).await;
    eventually("the other bad one serves", async || revision(&gateway).await == bad[0]).await;
    crash(&gateway).await;
    eventually("the good one serves", async || revision(&gateway).await == good).await;
    let status = gateway.policy_status("flip").await;
    let failed: Vec<(&str, bool)> = status["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kept| (kept["revision"].as_str().unwrap(), kept["failed"].as_bool().unwrap()))
        .collect();
    assert_eq!(failed, [(&*bad[1], true), (&*bad[0], true), (&*good, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_for_revisions_the_last_one_is_kept_in_memory() {
    let a = upstream().start().await;
    let gateway = flip(&a).config(json!({"policies": {"revisions": "off"}})).start().await;
    let good = revision(&gateway).await;
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", BAD).await;
    crash(&gateway).await;
    wait_for_rollback(&gateway).await;
    assert_eq!((reason(&gateway).await.as_deref(), revision(&gateway).await), (Some(OLD), good));
    assert!(!gateway.folder.path().join("revisions").exists());
}

#[tokio::test]
async fn a_rollback_is_in_the_log() {
    let a = upstream().start().await;
    let folder = flip(&a).write();
    let gateway = Serving::start(&folder).await;
    let chat = async |tokens: u32| {
        let body = format!(r#"{{"model":"fast","messages":[],"max_tokens":{tokens}}}"#);
        gateway.request("POST", CHAT).json(body).send().await.header("x-witgate-reason").map(str::to_owned)
    };
    folder.put_policy("flip", guests::TURNCOAT);
    eventually("the bad one serves", async || chat(1).await.as_deref() == Some(BAD)).await;
    for _ in 0..3 {
        chat(666).await;
    }
    let find = || gateway.log().lines().find(|line| line.contains("policy rolled back")).map(str::to_owned);
    eventually("it is in the log", async || find().is_some()).await;
    let line: Value = serde_json::from_str(&find().unwrap()).expect("a line of JSON");
    assert_eq!((&line["level"], &line["policy"], &line["by"]), (&json!("WARN"), &json!("flip"), &json!("crash")));
    assert!(line["from"] != line["to"] && line["from"].as_str().is_some_and(|from| from.len() == 12), "{line}");
    assert!(line["why"].as_str().is_some_and(|why| why.contains("failed in `router`: it trapped: ")), "{line}");
}

#[tokio::test]
async fn a_suspension_is_in_the_log() {
    let a = upstream().start().await;
    let folder = gateway().model("fast", [&a]).policy("flip").policy_file("flip", guests::TURNCOAT).write();
    let gateway = Serving::start(&folder).await;
    for _ in 0..3 {
        let body = r#"{"model":"fast","messages":[],"max_tokens":666}"#;
        assert_eq!(gateway.request("POST", CHAT).json(body).send().await.status, 200);
    }
    let find = || gateway.log().lines().find(|line| line.contains("policy suspended")).map(str::to_owned);
    eventually("it is in the log", async || find().is_some()).await;
    let line: Value = serde_json::from_str(&find().unwrap()).expect("a line of JSON");
    assert_eq!((&line["level"], &line["policy"]), (&json!("WARN"), &json!("flip")));
    assert_eq!(line["suspended_ms"], json!(10_000));
    assert!(line["why"].as_str().is_some_and(|why| why.starts_with("3 of 3 calls failed within 30 s")), "{line}");
    // the requests after that find it suspended, and need not say so again
    for _ in 0..3 {
        assert_eq!(gateway.request("POST", CHAT).json(r#"{"model":"fast","messages":[]}"#).send().await.status, 200);
    }
    eventually("they are logged", async || gateway.log().matches(r#""message":"request""#).count() == 6).await;
    assert_eq!(gateway.log().matches("policy failed").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_older_revision_it_is_suspended_until_a_better_file_comes() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).policy("flip").policy_file("flip", guests::TURNCOAT).start().await;
    crash(&gateway).await;
    eventually("it is suspended", async || gateway.policy_status("flip").await["state"] == "suspended").await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.status, answer.policy()), (200, Some("in-order")));
    eventually("it is counted", async || {
        gateway.metric(r#"witgate_policy_suspensions_total{policy="flip"}"#).await == 1.0
    })
    .await;
    assert_eq!(gateway.policy_status("flip").await["rollback"], Value::Null);
    // a better file ends it at once
    gateway.folder.put_policy("flip", guests::TAGGED);
    gateway.wait_for_reason("fast", OLD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_a_shipped_policy_is_rolled_back_to_that() {
    let a = upstream().start().await;
    let gateway =
        gateway().model("fast", [&a]).policy("cheapest").policy_file("cheapest", guests::TURNCOAT).start().await;
    assert_eq!(reason(&gateway).await.as_deref(), Some(BAD));
    crash(&gateway).await;
    eventually("the shipped one serves", async || gateway.policy_status("cheapest").await["source"] == "shipped").await;
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("cheapest"));
    assert_eq!(gateway.policy_status("cheapest").await["rollback"]["by"], "crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_errors_and_a_small_share_of_failures_roll_nothing_back() {
    let a = upstream().start().await;
    let lenient = json!({"policies": {"rules": {"flip": {"crash": {"failures": 3, "share": 0.5}}}}});
    let gateway = flip(&a).config(lenient).start().await;
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", BAD).await;
    for _ in 0..8 {
        assert_eq!(provoke(&gateway, 668).await.policy(), Some("in-order"));
    }
    // with the errors that it declared, and at least one call before: 9 good ones at least, and 5 failures
    for _ in 0..5 {
        provoke(&gateway, 666).await;
    }
    let status = gateway.policy_status("flip").await;
    assert_eq!((&status["state"], &status["rollback"]), (&json!("serving"), &Value::Null));
    let failures = &status["instances"][0]["failures"];
    assert_eq!((&failures["declared"], &failures["trap"]), (&json!(8), &json!(5)));
    // the limits are live: with another share, one more is too much
    let generation = gateway.generation().await;
    gateway.folder.edit_config(json!({"policies": {"rules": {"flip": {"crash": {"failures": 1, "share": 0}}}}}));
    eventually("the configuration is live", async || gateway.generation().await > generation).await;
    provoke(&gateway, 666).await;
    gateway.wait_for_reason("fast", OLD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_that_crashed_is_asked_no_more_while_a_large_one_is_made_ready_to_take_its_place() {
    let a = upstream().start().await;
    // compiled anew for the rollback, which takes a while
    let config = json!({"policies": {"code_cache": "off"}});
    let gateway = flip(&a).policy_file("flip", &large(guests::TAGGED)).config(config).start().await;
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", BAD).await;
    crash(&gateway).await;
    let mut meanwhile = 0;
    loop {
        let answer = provoke(&gateway, 666).await;
        match (answer.status, answer.policy()) {
            (200, Some("in-order")) => meanwhile += 1,
            (200, Some("flip")) => break assert_eq!(answer.header("x-witgate-reason"), Some(OLD)),
            other => panic!("{other:?}: {}", answer.body_text()),
        }
    }
    assert!(meanwhile > 0, "the rollback was at once; the good one must be larger");
    wait_for_rollback(&gateway).await;
    let failures = |kind: &str| format!(r#"witgate_policy_failures_total{{kind="{kind}",policy="flip"}}"#);
    assert_eq!(gateway.metric(&failures("trap")).await, 3.0);
    assert_eq!(gateway.metric(&failures("suspended")).await, f64::from(meanwhile));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_because_of_a_rollback() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", BAD).await;
    let (done, harmless) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = async || {
        while !done.load(SeqCst) {
            let answer = gateway.chat("fast", "hi").await;
            // by the route's failure mode, from the crash until the good one serves
            let by = [Some("flip"), Some("in-order")];
            assert!(answer.status == 200 && by.contains(&answer.policy()), "{}", answer.body_text());
            harmless.fetch_add(1, SeqCst);
        }
    };
    let provoking = async {
        // a share of one in twenty, whatever the others do meanwhile
        eventually("the good one serves", async || {
            for _ in 0..5 {
                let answer = provoke(&gateway, 666).await;
                assert_eq!(answer.status, 200, "{}", answer.body_text());
            }
            gateway.policy_status("flip").await["rollback"]["by"] == "crash"
        })
        .await;
        done.store(true, SeqCst);
    };
    tokio::join!(client(), client(), provoking);
    assert!(harmless.load(SeqCst) > 0);
    assert_eq!(reason(&gateway).await.as_deref(), Some(OLD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_bad_file_finds_the_last_good_one() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    let good = revision(&gateway).await;
    gateway.folder.put_policy("flip", b"hello");
    let gateway = gateway.restart().await;
    assert_eq!((reason(&gateway).await.as_deref(), revision(&gateway).await), (Some(OLD), good.clone()));
    let problem = "policy `flip`: flip.wasm is refused: the file is not WebAssembly: it is text";
    assert_eq!(gateway.problems().await, [problem]);
    // the kept file is only used as it was kept
    let kept = gateway.folder.path().join("revisions");
    let folder = std::fs::read_dir(&kept).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "wasm")).unwrap();
    std::fs::write(file, guests::TAGGED_B).unwrap();
    let folder = std::sync::Arc::clone(&gateway.folder);
    gateway.stop().await;
    let refusal = Builder::start_in(folder).await.err().expect("there is no good file any more");
    assert_eq!(refusal, format!("route `fast`, policy 1 of its chain: {problem}"));
}

/// A route that one file decides, with a good one in it.
fn flip(a: &Upstream) -> Builder {
    gateway().model("fast", [a]).policy("flip").policy_file("flip", guests::TAGGED)
}

/// The same after a bad file has come and gone.
async fn rolled_back(a: &Upstream) -> Gateway {
    let gateway = flip(a).start().await;
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", BAD).await;
    crash(&gateway).await;
    wait_for_rollback(&gateway).await;
    gateway
}

async fn wait_for_rollback(gateway: &Gateway) {
    eventually("it is rolled back", async || gateway.policy_status("flip").await["rollback"]["by"] == "crash").await;
}

async fn crash(gateway: &Gateway) {
    for _ in 0..3 {
        provoke(gateway, 666).await;
    }
}

async fn provoke(gateway: &Gateway, tokens: u32) -> Answer {
    gateway.post(CHAT, format!(r#"{{"model":"fast","messages":[],"max_tokens":{tokens}}}"#)).send().await
}

async fn reason(gateway: &Gateway) -> Option<String> {
    gateway.chat("fast", "hi").await.header("x-witgate-reason").map(str::to_owned)
}

async fn revision(gateway: &Gateway) -> String {
    gateway.policy_status("flip").await["revision"].as_str().unwrap_or_default().to_owned()
}

/// The same policy with another revision: a custom section holds a number.
fn revised(bytes: &[u8], number: u8) -> Vec<u8> {
    [bytes, &[0, 3, 1, b'n', number]].concat()
}
