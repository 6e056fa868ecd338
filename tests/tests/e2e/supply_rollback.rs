//! What has served before may serve again only as long as it is what the configuration asks for.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use witgate_tests::gateway::Builder;
use witgate_tests::registry::{Registry, Signer};
use witgate_tests::{Answer, CHAT, Gateway, Upstream, eventually, gateway, guests, upstream};

const OLD: &str = "witgate-fixture-tagged";
const NEW: &str = "witgate-fixture-tagged-b";

#[tokio::test]
async fn no_rollback_gets_around_a_newer_pin() {
    for kept in [json!({}), json!({"policies": {"revisions": "off"}})] {
        let a = upstream().start().await;
        let gateway = file(&a).config(kept).start().await;
        let old = revision(&gateway).await;
        put(&gateway, guests::TAGGED_B, None);
        gateway.wait_for_reason("fast", NEW).await;
        supply(&gateway, json!({"sha256": sha256(guests::TAGGED_B)})).await;
        let told = format!(
            "Nothing was changed: policy `guard`: the kept revision {old} is refused: its SHA-256 is {}, but \
             `policies.supply.guard.sha256` is {}; put the pinned file back, or change the pin if this one is meant",
            sha256(guests::TAGGED),
            sha256(guests::TAGGED_B)
        );
        refused(&gateway.change("guard", "rollback").await, &told);
        let named = json!({"revision": old}).to_string();
        refused(&gateway.post("/admin/policies/guard/rollback", named).send().await, &told);
        assert_eq!(reason(&gateway).await, NEW);
        // with the pin that it fits
        supply(&gateway, json!({"sha256": sha256(guests::TAGGED)})).await;
        assert_eq!(reason(&gateway).await, NEW, "what serves stays");
        assert_eq!(gateway.change("guard", "rollback").await.status, 200);
        assert_eq!(reason(&gateway).await, OLD);
        assert_eq!(gateway.policy_status("guard").await["sha256"], sha256(guests::TAGGED));
    }
}

#[tokio::test]
async fn a_kept_revision_is_proven_by_its_own_signature_also_after_a_restart() {
    let (a, first, second) = (upstream().start().await, Signer::new(), Signer::new());
    let both = json!({"verify": {"minisign": [first.public(), second.public()]}});
    let gateway = file(&a).config(json!({"policies": {"supply": {"guard": both}}}));
    let folder = gateway.write();
    fs::write(folder.policies().join("guard.wasm.minisig"), first.sign(guests::TAGGED)).unwrap();
    let gateway = Builder::start_in(folder).await.unwrap();
    let old = revision(&gateway).await;
    put(&gateway, guests::TAGGED_B, Some(second.sign(guests::TAGGED_B)));
    gateway.wait_for_reason("fast", NEW).await;
    supply(&gateway, json!({"verify": {"minisign": second.public()}})).await;
    let told = format!(
        "Nothing was changed: policy `guard`: the kept revision {old} is refused: it is signed with the key {}, but \
         `policies.supply.guard.verify` names {}; sign it with that key, or add the key",
        first.id(),
        second.id()
    );
    refused(&gateway.change("guard", "rollback").await, &told);
    supply(&gateway, both).await;
    assert_eq!(gateway.change("guard", "rollback").await.status, 200);
    assert_eq!((reason(&gateway).await.as_str(), verified_by(&gateway).await), (OLD, json!(first.id())));
    let gateway = gateway.restart().await;
    assert_eq!((reason(&gateway).await.as_str(), verified_by(&gateway).await), (OLD, json!(first.id())));
    assert_eq!(gateway.policy_status("guard").await["source"], "kept");
    // what stands in at a start is proven too
    gateway.folder.edit_config(json!({"policies": {"supply": {"guard": {"verify": {"minisign": second.public()}}}}}));
    let folder = std::sync::Arc::clone(&gateway.folder);
    gateway.stop().await;
    let refusal = Builder::start_in(folder).await.map(|_| ()).unwrap_err();
    let unproven =
        format!("policy `guard`: the kept revision {old} is refused: it is signed with the key {}", first.id());
    assert!(refusal.contains("was rolled back from") && refusal.contains(&unproven), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_policy_that_crashes_has_no_spare_and_is_suspended() {
    let a = upstream().start().await;
    let gateway = file(&a).start().await;
    put(&gateway, guests::TURNCOAT, None);
    gateway.wait_for_reason("fast", "turncoat").await;
    supply(&gateway, json!({"sha256": sha256(guests::TURNCOAT)})).await;
    for _ in 0..3 {
        let body = r#"{"model":"fast","messages":[],"max_tokens":666}"#;
        assert_eq!(gateway.post(CHAT, body).send().await.status, 200);
    }
    eventually("it is suspended", async || gateway.policy_status("guard").await["state"] == "suspended").await;
    assert_eq!(gateway.policy_status("guard").await["rollback"], Value::Null);
}

#[tokio::test]
async fn an_artifact_is_rolled_back_from_as_a_file_is_and_waits_while_another_is_pinned() {
    for kept in [json!({}), json!({"policies": {"revisions": "off"}})] {
        let on_disk = kept == json!({});
        let (registry, a, copies) = (Registry::start().await, upstream().start().await, tempfile::tempdir().unwrap());
        registry.push("guard:v1", guests::TAGGED, None).await;
        let mut gateway = from(&registry.reference("guard:v1"), &copies, &a).config(kept).start().await;
        registry.push("guard:v1", guests::TAGGED_B, None).await;
        gateway.wait_for_reason("fast", NEW).await;
        assert_eq!(gateway.change("guard", "rollback").await.status, 200);
        assert_eq!(reason(&gateway).await, OLD);
        if on_disk {
            gateway = gateway.restart().await;
            assert_eq!(reason(&gateway).await, OLD, "the artifact is still held");
        }
        // out, and in again
        assert_eq!(gateway.change("guard", "unload").await.status, 200);
        assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("in-order"));
        assert_eq!(gateway.change("guard", "load").await.status, 200);
        assert_eq!(reason(&gateway).await, OLD);
        // a new artifact waits for the end of the pin
        assert_eq!(gateway.change("guard", "pin").await.status, 200);
        registry.push("guard:v1", guests::TURNCOAT, None).await;
        let waits = || async { gateway.problems().await.concat().ends_with(", waits until it is unpinned") };
        eventually("it waits", waits).await;
        assert_eq!(reason(&gateway).await, OLD);
        assert_eq!(gateway.change("guard", "unpin").await.status, 200);
        assert_eq!(reason(&gateway).await, "turncoat");
        assert_eq!(gateway.problems().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_source_by_digest_rules_out_other_artifacts() {
    let (registry, a, copies) = (Registry::start().await, upstream().start().await, tempfile::tempdir().unwrap());
    let first = registry.push("guard:v1", guests::TAGGED, None).await;
    let second = registry.push("guard:v2", guests::TAGGED_B, None).await;
    let source = |digest: &str| registry.reference(&format!("guard@{digest}"));
    let gateway = from(&source(&first), &copies, &a).start().await;
    let old = revision(&gateway).await;
    supply(&gateway, json!({"source": source(&second)})).await;
    gateway.wait_for_reason("fast", NEW).await;
    let told = format!(
        "Nothing was changed: policy `guard`: the kept revision {old} is refused: it is not from the artifact {second}, \
         which `policies.supply.guard.source` names; name its own there if this one is meant"
    );
    refused(&gateway.change("guard", "rollback").await, &told);
    // a tag names any
    supply(&gateway, json!({"source": registry.reference("guard:v2")})).await;
    assert_eq!(gateway.change("guard", "rollback").await.status, 200);
    assert_eq!(reason(&gateway).await, OLD);
    assert_eq!(gateway.policy_status("guard").await["digest"], first);
}

fn file(a: &Upstream) -> Builder {
    gateway().model("fast", [a]).policy("guard").policy_file("guard", guests::TAGGED)
}

fn from(reference: &str, copies: &TempDir, a: &Upstream) -> Builder {
    let policies = json!({
        "copies": copies.path().join("copies"),
        "pull": {"interval": "1s"},
        "supply": {"guard": {"source": reference}},
    });
    gateway().model("fast", [a]).policy("guard").config(json!({"policies": policies}))
}

/// The signature is there first, so that no look finds the file without it.
fn put(gateway: &Gateway, bytes: &[u8], signature: Option<String>) {
    if let Some(signature) = signature {
        fs::write(gateway.folder.policies().join("guard.wasm.minisig"), signature).unwrap();
    }
    gateway.folder.put_policy("guard", bytes);
}

/// Asks for this of the policy from now on.
async fn supply(gateway: &Gateway, guard: Value) {
    gateway.folder.edit_config(json!({"policies": {"supply": {"guard": guard}}}));
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
}

fn refused(answer: &Answer, message: &str) {
    assert_eq!((answer.status, answer.error_message()), (409, message.to_owned()));
}

async fn reason(gateway: &Gateway) -> String {
    gateway.chat("fast", "hi").await.header("x-witgate-reason").unwrap_or_default().to_owned()
}

async fn revision(gateway: &Gateway) -> String {
    gateway.policy_status("guard").await["revision"].as_str().unwrap_or_default().to_owned()
}

async fn verified_by(gateway: &Gateway) -> Value {
    gateway.policy_status("guard").await["verified_by"].clone()
}

/// As `sha256sum` prints it.
fn sha256(bytes: &[u8]) -> String {
    witgate_core::config::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
