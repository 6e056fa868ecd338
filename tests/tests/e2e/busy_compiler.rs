//! A large policy is being compiled: nothing that the operator or a crash asks for waits for that.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use witgate_tests::{CHAT, Gateway, Upstream, eventually, gateway, guests, upstream};

use crate::tiers::larger;

const OLD: &str = "witgate-fixture-tagged";

#[tokio::test]
async fn a_rollback_is_answered_while_an_unused_file_is_compiled() {
    let a = upstream().start().await;
    let gateway = served_by_the_second(&a, guests::TAGGED_B).await;
    gateway.folder.put_policy("unused", &slow(guests::TAGGED));
    eventually("it is compiled", async || gateway.policy_status("unused").await["state"] == "compiling").await;
    let answer = gateway.change("flip", "rollback").await;
    assert_eq!((answer.status, gateway.policy_status("unused").await["state"].clone()), (200, json!("compiling")));
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    // whoever asks for everything is answered when everything is there
    let report = gateway.request("POST", "/admin/reload").send().await.json();
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(1), "the file of `flip` is left alone: {report}");
    assert_eq!(gateway.policy_status("unused").await["state"], "idle");
}

#[tokio::test]
async fn a_file_that_is_no_policy_is_refused_while_another_is_compiled() {
    let gateway = gateway().model("fast", [&upstream().start().await]).start().await;
    // one after the other
    gateway.folder.put_policy("first", &slow(guests::TAGGED));
    gateway.folder.put_policy("second", &slow(guests::TAGGED_B));
    eventually("it is read", async || gateway.policy_status("second").await["state"] == "compiling").await;
    gateway.folder.put_policy("text", b"not WebAssembly");
    eventually("it is refused", async || gateway.policy_status("text").await["state"] == "refused").await;
    assert_eq!(gateway.policy_status("second").await["state"], "compiling");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_policy_is_rolled_back_while_its_next_file_is_compiled_and_that_serves_then() {
    let a = upstream().start().await;
    let gateway = served_by_the_second(&a, guests::TURNCOAT).await;
    let crashing = gateway.policy_status("flip").await["revision"].clone();
    gateway.folder.put_policy("flip", &slow(guests::TAGGED_B));
    // whoever has seen this file has seen the one before
    gateway.folder.put_policy("later", &slow(guests::TAGGED));
    eventually("both are read", async || gateway.policy_status("later").await["state"] == "compiling").await;
    for _ in 0..3 {
        let body = r#"{"model":"fast","messages":[],"max_tokens":666}"#;
        assert_eq!(gateway.post(CHAT, body).send().await.status, 200);
    }
    eventually("it is rolled back", async || gateway.policy_status("flip").await["rollback"]["from"] == crashing).await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    gateway.wait_for_reason("fast", "witgate-fixture-tagged-b").await;
}

#[tokio::test]
async fn a_configuration_waits_for_the_policy_that_came_with_it() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    gateway.folder.put_policy("fresh", &slow(guests::TAGGED));
    eventually("it is compiled", async || gateway.policy_status("fresh").await["state"] == "compiling").await;
    gateway.folder.edit_config(json!({"routes": {"fast": {"policies": ["fresh"]}}}));
    eventually("it waits", async || !gateway.problems().await.is_empty()).await;
    let told = "the new configuration is not in service yet: policy `fresh`, which it names, is being compiled";
    assert_eq!(gateway.problems().await, [told]);
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("in-order"));
    gateway.wait_for_reason("fast", OLD).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
    assert_eq!(gateway.metric(r#"witgate_config_reloads_total{result="refused"}"#).await, 0.0, "nothing was refused");
}

/// `flip` was served by another file before this one.
async fn served_by_the_second(a: &Upstream, second: &[u8]) -> Gateway {
    let gateway = gateway().model("fast", [a]).policy("flip").policy_file("flip", guests::TAGGED).start().await;
    let first = gateway.policy_status("flip").await["revision"].clone();
    gateway.folder.put_policy("flip", second);
    eventually("the second serves", async || gateway.policy_status("flip").await["revision"] != first).await;
    gateway
}

/// A policy that takes seconds to compile, and that no cache knows.
fn slow(component: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos().to_le_bytes();
    let unknown = [&[0, 1 + now.len() as u8, 0][..], &now].concat();
    [larger(component, FUNCTIONS), unknown].concat()
}

const FUNCTIONS: usize = 20_000;
