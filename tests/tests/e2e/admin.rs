//! What the operator does with policies over the admin API, and who may.

use serde_json::{Value, json};
use witgate_tests::gateway::Builder;
use witgate_tests::{Answer, Gateway, Upstream, eventually, gateway, guests, upstream};

use crate::program::Serving;

const OLD: &str = "witgate-fixture-tagged";
const NEW: &str = "witgate-fixture-tagged-b";

#[tokio::test]
async fn a_rollback_goes_back_and_the_file_waits_until_it_changes() {
    let a = upstream().start().await;
    let gateway = old_then_new(&a).await;
    let new = revision(&gateway).await;
    let answer = gateway.change("flip", "rollback").await;
    assert_eq!(answer.status, 200);
    let changed = answer.json();
    let old = changed["policy"]["revision"].as_str().unwrap();
    assert_eq!(changed["generation"], gateway.generation().await);
    let rollback = &changed["policy"]["rollback"];
    assert_eq!((&rollback["from"], &rollback["to"]), (&json!(new), &json!(old)));
    assert_eq!((&rollback["by"], &rollback["why"]), (&json!("operator"), &json!("asked for over the admin API")));
    assert_eq!((rollback["failures"].clone(), reason(&gateway).await), (json!({}), OLD.to_owned()));
    assert_eq!(
        gateway.problems().await,
        [format!(
            "policy `flip`: its file, revision {new}, was rolled back from and is not tried again until it changes"
        )]
    );
    assert_eq!(gateway.metric(r#"witgate_policy_rollbacks_total{by="operator",policy="flip"}"#).await, 1.0);
    refused(
        &gateway.change("flip", "rollback").await,
        409,
        "nothing_to_roll_back_to",
        &format!("The policy `flip` has no earlier revision to roll back to; `{old}` stays in service."),
    );
    // the newer one by its name
    let body = json!({"revision": new}).to_string();
    let answer = gateway.post("/admin/policies/flip/rollback", body).send().await;
    let status = &answer.json()["policy"];
    assert_eq!((answer.status, &status["revision"], &status["source"]), (200, &json!(new), &json!("file")));
    // asked for what serves: nothing to do
    let generation = gateway.generation().await;
    let body = json!({"revision": new}).to_string();
    assert_eq!(gateway.post("/admin/policies/flip/rollback", body).send().await.status, 200);
    assert_eq!(gateway.generation().await, generation);
    assert_eq!((reason(&gateway).await, gateway.problems().await), (NEW.to_owned(), vec![]));
}

#[tokio::test]
async fn rollback_after_rollback_is_no_refused_file() {
    let a = upstream().start().await;
    let gateway = old_then_new(&a).await;
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", "turncoat").await;
    let reloads =
        async |result: &str| gateway.metric(&format!(r#"witgate_policy_reloads_total{{result="{result}"}}"#)).await;
    let done = reloads("ok").await;
    for (reached, count) in [(NEW, 1.0), (OLD, 2.0)] {
        assert_eq!(gateway.change("flip", "rollback").await.status, 200);
        assert_eq!(reason(&gateway).await, reached);
        assert_eq!((reloads("ok").await, reloads("refused").await), (done + count, 0.0));
        assert_eq!(gateway.problems().await.len(), 1, "it is told that the file is left alone");
    }
    // a file that is bad is refused as ever
    gateway.folder.put_policy("flip", guests::PEEK_PROMPT);
    eventually("it is refused", async || reloads("refused").await == 1.0).await;
}

#[tokio::test]
async fn a_pinned_revision_stays_whatever_the_folder_says_and_over_a_restart() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    let pinned = revision(&gateway).await;
    let answer = gateway.change("flip", "pin").await;
    assert_eq!((answer.status, &answer.json()["policy"]["pinned"]), (200, &json!(true)));
    assert_eq!(gateway.change("flip", "pin").await.status, 200, "once more is no mistake");
    gateway.folder.put_policy("flip", guests::TAGGED_B);
    eventually("the file is seen", async || !gateway.problems().await.is_empty()).await;
    let waits = gateway.problems().await[0].clone();
    let start = format!("policy `flip` is pinned at revision {pinned}; its file, revision ");
    assert!(waits.starts_with(&start) && waits.ends_with(", waits until it is unpinned"), "{waits}");
    let gateway = gateway.restart().await;
    assert_eq!((reason(&gateway).await, gateway.problems().await), (OLD.to_owned(), vec![waits]));
    let status = gateway.policy_status("flip").await;
    assert_eq!((&status["revision"], &status["source"]), (&json!(pinned), &json!("kept")));
    for what in ["rollback", "unload"] {
        let message =
            format!("The policy `flip` is pinned at revision `{pinned}`; POST /admin/policies/flip/unpin first.");
        refused(&gateway.change("flip", what).await, 409, "policy_pinned", &message);
    }
    // even without a file
    std::fs::remove_file(gateway.folder.policy_file("flip")).unwrap();
    let gateway = gateway.restart().await;
    assert_eq!((reason(&gateway).await, gateway.problems().await), (OLD.to_owned(), vec![]));
    gateway.folder.put_policy("flip", guests::TAGGED_B);
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
    let answer = gateway.change("flip", "unpin").await;
    assert_eq!((answer.status, answer.json()["policy"].get("pinned")), (200, None));
    assert_eq!((reason(&gateway).await, gateway.problems().await), (NEW.to_owned(), vec![]));
    assert_eq!(gateway.change("flip", "unpin").await.status, 200, "once more is no mistake");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_revision_that_crashes_is_suspended_and_not_rolled_back() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    gateway.folder.put_policy("flip", guests::TURNCOAT);
    gateway.wait_for_reason("fast", "turncoat").await;
    assert_eq!(gateway.change("flip", "pin").await.status, 200);
    for _ in 0..3 {
        let body = r#"{"model":"fast","messages":[],"max_tokens":666}"#;
        assert_eq!(gateway.post(witgate_tests::CHAT, body).send().await.status, 200);
    }
    eventually("it is suspended", async || gateway.policy_status("flip").await["state"] == "suspended").await;
    assert_eq!(gateway.policy_status("flip").await["rollback"], Value::Null);
}

#[tokio::test]
async fn an_unloaded_policy_is_out_of_its_chains_until_it_is_loaded_or_its_file_changes() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    let answer = gateway.change("flip", "unload").await;
    assert_eq!((answer.status, &answer.json()["policy"]["state"]), (200, &json!("unloaded")));
    let policy = async |gateway: &Gateway| gateway.chat("fast", "hi").await.policy().map(str::to_owned);
    assert_eq!((policy(&gateway).await.as_deref(), gateway.problems().await), (Some("in-order"), vec![]));
    refused(
        &gateway.change("flip", "pin").await,
        409,
        "policy_not_in_service",
        "The policy `flip` is not in service: no route uses it, or it was unloaded.",
    );
    // a reload, a change of configuration and a restart change nothing
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
    let generation = gateway.generation().await;
    gateway.folder.edit_config(json!({"server": {"body_limit": "1MiB"}}));
    eventually("the configuration is live", async || gateway.generation().await > generation).await;
    assert_eq!(policy(&gateway).await.as_deref(), Some("in-order"));
    let gateway = gateway.restart().await;
    assert_eq!(policy(&gateway).await.as_deref(), Some("in-order"));
    let answer = gateway.change("flip", "load").await;
    assert_eq!((answer.status, &answer.json()["policy"]["state"]), (200, &json!("serving")));
    assert_eq!(reason(&gateway).await, OLD);
    assert_eq!(gateway.change("flip", "load").await.status, 200, "once more is no mistake");
    assert_eq!(gateway.change("flip", "unload").await.status, 200);
    assert_eq!(policy(&gateway).await.as_deref(), Some("in-order"));
    gateway.folder.put_policy("flip", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.policy_status("flip").await["state"], "serving");
}

#[tokio::test]
async fn a_route_that_loses_its_only_router_is_told_of_in_the_log() {
    let a = upstream().start().await;
    let folder = flip(&a).policies(&["health", "flip"]).write();
    let gateway = Serving::start(&folder).await;
    let told = "route `fast`, policy 2 of its chain: the chain has no router";
    assert!(!gateway.log().contains(told), "it has one");
    let unload = gateway.request("POST", "/admin/policies/flip/unload").send().await;
    assert_eq!(unload.status, 200);
    eventually("it is told", async || gateway.log().contains(told)).await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_loaded_again_stays_out() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).policy("flip").policy_file("flip", guests::TAGGED).start().await;
    assert_eq!(gateway.change("flip", "unload").await.status, 200);
    let settings = json!({"routes": {"fast": {"policies": [{"use": "flip", "settings": {"place": "first"}}]}}});
    let generation = gateway.generation().await;
    gateway.folder.edit_config(settings);
    eventually("the configuration is live", async || gateway.generation().await > generation).await;
    let answer = gateway.change("flip", "load").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (409, &json!("policy_refused")));
    let message = answer.error_message();
    assert!(
        message.starts_with("Nothing was changed: ") && message.contains("it refuses its configuration"),
        "{message}"
    );
    assert_eq!(gateway.policy_status("flip").await["state"], "unloaded");
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("in-order"));
}

#[tokio::test]
async fn a_shipped_policy_may_be_unloaded_but_for_the_one_that_stands_in() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).policy("cheapest").start().await;
    assert_eq!(gateway.change("cheapest", "unload").await.status, 200);
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("in-order"));
    assert_eq!(gateway.change("cheapest", "load").await.status, 200);
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("cheapest"));
    let message = "The policy `in-order` cannot be unloaded: it decides when a chain fails.";
    refused(&gateway.change("in-order", "unload").await, 409, "policy_needed", message);
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    for what in ["rollback", "pin", "unpin", "unload", "load"] {
        let message = "There is no policy `nosuch`; GET /admin/policies lists those that there are.";
        refused(&gateway.change("nosuch", what).await, 404, "policy_not_found", message);
        let get = gateway.get(&format!("/admin/policies/flip/{what}")).await;
        assert_eq!((get.status, get.header("allow")), (405, Some("POST, OPTIONS")), "{what}");
    }
    let message = "Unknown path: POST /admin/policies/flip/explode. The admin API has GET /admin/policies, POST \
                   /admin/reload, and POST /admin/policies/NAME/ with rollback, pin, unpin, unload or load at its end.";
    refused(&gateway.change("flip", "explode").await, 404, "unknown_url", message);
    let old = revision(&gateway).await;
    for body in [json!({"revision": "0123456789ab"}), json!({"revision": &old[..11]})] {
        let wanted = body["revision"].as_str().unwrap();
        let answer = gateway.post("/admin/policies/flip/rollback", body.to_string()).send().await;
        let message = format!("The policy `flip` has no revision `{wanted}`; kept are `{old}`.");
        refused(&answer, 404, "revision_not_found", &message);
    }
    let answer = gateway.post("/admin/policies/flip/rollback", "[").send().await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("bad_request")));
    let padded = |length: usize| gateway.post("/admin/policies/flip/rollback", " ".repeat(length)).send();
    assert_eq!(padded(4096).await.status, 409);
    let message = "The body did not come whole, or is larger than a rollback takes: 4096 bytes.";
    refused(&padded(4097).await, 400, "bad_request", message);
    refused(
        &gateway.change("flip", "rollback").await,
        409,
        "nothing_to_roll_back_to",
        &format!("The policy `flip` has no earlier revision to roll back to; `{old}` stays in service."),
    );
    assert_eq!(reason(&gateway).await, OLD);
}

#[tokio::test]
async fn with_keys_only_an_admin_s_key_changes_things() {
    let a = upstream().start().await;
    let keys = json!({"auth": {"keys": [
        {"name": "ann", "key": "sk-ann"}, {"name": "root", "key": "sk-root", "admin": true},
    ]}});
    let gateway = flip(&a).config(keys).start().await;
    for path in ["/admin/reload", "/admin/policies/flip/pin", "/admin/policies/flip/rollback"] {
        let with = |key: &str| gateway.request("POST", path).header("authorization", &format!("Bearer {key}")).send();
        assert_eq!(gateway.request("POST", path).send().await.status, 401, "{path}");
        assert_eq!(with("sk-eve").await.status, 401, "{path}");
        let message = "The key `ann` may not change things: it has no `admin: true` in `auth.keys`.";
        refused(&with("sk-ann").await, 403, "admin_key_needed", message);
        assert!(![401, 403].contains(&with("sk-root").await.status), "{path}");
    }
    let pinned = gateway.request("GET", "/admin/policies").header("x-api-key", "sk-ann").send().await;
    assert!(pinned.body_text().contains(r#""pinned":true"#), "the admin's call was carried out");
}

#[tokio::test]
async fn without_keys_only_programs_on_the_same_machine_change_things() {
    let a = upstream().start().await;
    let gateway = flip(&a).start().await;
    let message = "Without `auth.keys`, only programs on the gateway's own machine may change things, and neither \
                   browsers nor proxies: give a key of your own `admin: true`.";
    for (header, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("x-forwarded-for", "10.0.0.7"),
        ("forwarded", "for=10.0.0.7"),
    ] {
        for path in ["/admin/reload", "/admin/policies/flip/unload"] {
            let answer = gateway.request("POST", path).header(header, value).send().await;
            refused(&answer, 403, "local_only", message);
        }
    }
    assert_eq!(reason(&gateway).await, OLD);
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
    // from another address of this machine
    if let Some(ours) = another_address().await {
        let public = json!({"server": {"listen": "0.0.0.0:0", "allow_unauthenticated": true}});
        let gateway = flip(&a).config(public).start().await;
        let address = std::net::SocketAddr::new(ours, gateway.address().port());
        let answer = witgate_tests::Request::new(address, "POST", "/admin/policies/flip/unload").send().await;
        refused(&answer, 403, "local_only", message);
        assert_eq!(witgate_tests::Request::new(address, "GET", "/admin/policies").send().await.status, 200);
    }
}

/// An address of this machine that is not loopback; `None` where it has no network.
async fn another_address() -> Option<std::net::IpAddr> {
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.ok()?;
    // Nothing is sent: this only looks up the way there.
    socket.connect("192.0.2.1:9").await.ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

fn refused(answer: &Answer, status: u16, code: &str, message: &str) {
    let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}});
    assert_eq!((answer.status, answer.json()), (status, error));
}

fn flip(a: &Upstream) -> Builder {
    gateway().model("fast", [a]).policy("flip").policy_file("flip", guests::TAGGED)
}

async fn old_then_new(a: &Upstream) -> Gateway {
    let gateway = flip(a).start().await;
    gateway.folder.put_policy("flip", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    gateway
}

async fn reason(gateway: &Gateway) -> String {
    gateway.chat("fast", "hi").await.header("x-witgate-reason").unwrap_or_default().to_owned()
}

async fn revision(gateway: &Gateway) -> String {
    gateway.policy_status("flip").await["revision"].as_str().unwrap_or_default().to_owned()
}
