//! Where policies come from: a real registry, pins, and real signatures.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use witgate_tests::gateway::Builder;
use witgate_tests::registry::{Registry, Signer};
use witgate_tests::{Gateway, Upstream, eventually, gateway, guests, upstream};

use crate::program::run;

const OLD: &str = "witgate-fixture-tagged";
const NEW: &str = "witgate-fixture-tagged-b";

#[tokio::test]
async fn a_policy_is_pulled_and_decides_and_a_tag_that_moves_is_followed() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    let first = registry.push("acme/guard:v1", guests::TAGGED, None).await;
    let copies = folder();
    let gateway = from(&registry.reference("acme/guard:v1"), &copies, &a).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    let status = gateway.policy_status("guard").await;
    assert_eq!((&status["source"], &status["state"]), (&json!("oci"), &json!("serving")));
    assert_eq!(status["reference"], json!(registry.reference("acme/guard:v1")));
    assert_eq!(status["digest"], json!(first));
    assert!(status["pull"]["last_pull"].as_u64().is_some(), "{status}");
    let second = registry.push("acme/guard:v1", guests::TAGGED_B, None).await;
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.policy_status("guard").await["digest"], json!(second));
    assert_eq!(gateway.metric(r#"witgate_policy_pulls_total{result="new"}"#).await, 2.0);
    assert_eq!(gateway.problems().await, Vec::<String>::new());
    let downloads = registry.requests("GET", "/blobs/");
    eventually("the tag is asked for again", async || {
        gateway.metric(r#"witgate_policy_pulls_total{result="unchanged"}"#).await >= 1.0
    })
    .await;
    assert_eq!(registry.requests("GET", "/blobs/"), downloads, "what is known is not downloaded");
}

#[tokio::test]
async fn a_digest_is_pulled_once_and_stays_whatever_becomes_of_the_tag() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    let digest = registry.push("guard:v1", guests::TAGGED, None).await;
    let copies = folder();
    let gateway = from(&registry.reference(&format!("guard:v1@{digest}")), &copies, &a).start().await;
    registry.push("guard:v1", guests::TAGGED_B, None).await;
    let asked = registry.requests("GET", "/manifests/") + registry.requests("HEAD", "/manifests/");
    // longer than the interval
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(registry.requests("GET", "/manifests/") + registry.requests("HEAD", "/manifests/"), asked);
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
}

#[tokio::test]
async fn a_reload_asks_the_registry_at_once() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    registry.push("guard:v1", guests::TAGGED, None).await;
    let copies = folder();
    let seldom = json!({"policies": {"pull": {"interval": "1d"}}});
    let gateway = from(&registry.reference("guard:v1"), &copies, &a).config(seldom).start().await;
    registry.push("guard:v1", guests::TAGGED_B, None).await;
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
    gateway.wait_for_reason("fast", NEW).await;
}

#[tokio::test]
async fn without_the_registry_the_last_good_copy_serves_also_after_a_restart() {
    let (mut registry, a) = (Registry::start().await, upstream().start().await);
    registry.push("guard:v1", guests::TAGGED, None).await;
    let (copies, reference) = (folder(), registry.reference("guard:v1"));
    let gateway = from(&reference, &copies, &a).start().await;
    // what was only pulled is not good: it must have served
    registry.push("guard:v1", guests::NO_HOOK, None).await;
    eventually("it is refused", async || gateway.problems().await.concat().contains("no hook")).await;
    registry.kill();
    eventually("the failure is told", async || !pull_problem(&gateway).await.is_null()).await;
    let problem = pull_problem(&gateway).await;
    let told = format!("policy `guard`: {reference}: the registry cannot be reached: ");
    assert!(problem.as_str().is_some_and(|problem| problem.starts_with(&told)), "{problem}");
    assert!(gateway.problems().await.iter().any(|problem| problem.starts_with(&told)));
    assert!(gateway.metric(r#"witgate_policy_pulls_total{result="failed"}"#).await >= 1.0);
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    gateway.stop().await;

    let gateway = from(&reference, &copies, &a).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    registry.restart().await;
    registry.push("guard:v1", guests::TAGGED_B, None).await;
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_start_without_registry_and_copy_says_what_is_missing() {
    let (mut registry, a) = (Registry::start().await, upstream().start().await);
    let reference = registry.reference("guard:v1");
    let copies = folder();
    let told = from(&reference, &copies, &a).try_start().await.map(|_| ()).unwrap_err();
    assert_eq!(
        told,
        format!(
            "route `fast`, policy 1 of its chain: policy `guard`: {reference}: the registry has no such artifact; check \
             repository and version"
        )
    );
    registry.kill();
    let told = from(&reference, &copies, &a).try_start().await.map(|_| ()).unwrap_err();
    let expected =
        format!("route `fast`, policy 1 of its chain: policy `guard`: {reference}: the registry cannot be reached: ");
    assert!(told.starts_with(&expected), "{told}");
}

#[tokio::test]
async fn a_source_may_come_and_go_while_the_gateway_serves() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    registry.push("guard:v1", guests::TAGGED_B, None).await;
    let copies = folder();
    let gateway = gateway()
        .model("fast", [&a])
        .policy("guard")
        .policy_file("guard", guests::TAGGED)
        .config(settings(&copies))
        .start()
        .await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    gateway.folder.edit_config(json!({"policies": {"supply": {"guard": {"source": registry.reference("guard:v1")}}}}));
    gateway.wait_for_reason("fast", NEW).await;
    let hidden = "guard.wasm: is not used, because `policies.supply.guard.source` names an artifact; remove the file or \
                  the source";
    assert_eq!(gateway.problems().await, [hidden]);
    gateway.folder.edit_config(json!({"policies": {"supply": {"guard": {"source": null}}}}));
    gateway.wait_for_reason("fast", OLD).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_above_the_limit_is_refused_without_a_download() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    registry.push("guard:v1", guests::TAGGED, None).await;
    let copies = folder();
    let reference = registry.reference("guard:v1");
    let large = registry.push("guard:v2", guests::TAGGED_B, None).await;
    let limit = guests::TAGGED_B.len() - 1;
    let with = |limit: usize| {
        let small = json!({"policies": {"pull": {"largest": limit}}});
        from(&registry.reference("guard:v2"), &copies, &a).config(small)
    };
    let told = with(limit).try_start().await.map(|_| ()).unwrap_err();
    let reference = reference.replace(":v1", ":v2");
    assert_eq!(
        told,
        format!(
            "route `fast`, policy 1 of its chain: policy `guard`: {reference}@{large}: the policy has {} bytes, the limit is {limit} \
             (`policies.pull.largest`)",
            limit + 1
        )
    );
    assert_eq!(registry.requests("GET", "/blobs/"), 0);
    assert_eq!(with(limit + 1).start().await.chat("fast", "hi").await.header("x-witgate-reason"), Some(NEW));
}

#[tokio::test]
async fn bytes_that_the_registry_changed_are_refused() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    registry.push("guard:v1", guests::TAGGED, None).await;
    let copies = folder();
    let gateway = from(&registry.reference("guard:v1"), &copies, &a).start().await;
    let digest = sha256(guests::TAGGED_B);
    // the bytes are there before the tag names them
    registry.push("elsewhere:v1", guests::TAGGED_B, None).await;
    registry.tamper(&format!("sha256:{digest}"));
    let moved = registry.push("guard:v1", guests::TAGGED_B, None).await;
    eventually("it is told", async || !pull_problem(&gateway).await.is_null()).await;
    let told = pull_problem(&gateway).await;
    let expected = format!(
        "policy `guard`: {}@{moved}: the registry's answer cannot be used: Invalid digest. Expected sha256:{digest}, \
         got sha256:",
        registry.reference("guard:v1")
    );
    assert!(told.as_str().is_some_and(|told| told.starts_with(&expected)), "{told}\n{expected}");
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
}

#[tokio::test]
async fn an_artifact_with_the_wrong_signature_or_digest_is_refused_and_the_last_good_one_serves_on() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    let (ours, theirs) = (Signer::new(), Signer::new());
    registry.push("guard:v1", guests::TAGGED, Some(ours.sign(guests::TAGGED))).await;
    let (copies, reference) = (folder(), registry.reference("guard:v1"));
    let verify = json!({"policies": {"supply": {"guard": {"verify": {"minisign": ours.public()}}}}});
    let gateway = from(&reference, &copies, &a).config(verify).start().await;
    assert_eq!(gateway.policy_status("guard").await["verified_by"], json!(ours.id()));

    let digest = registry.push("guard:v1", guests::TAGGED_B, None).await;
    let unsigned = format!(
        "policy `guard`: {reference}@{digest} is refused: it is not signed, but `policies.supply.guard.verify` asks for \
         a signature; sign it with `minisign -Sm FILE.wasm` and put the .minisig beside it, in the folder or for \
         `witgate policy push`"
    );
    assert_eq!(refusal(&gateway, "is not signed").await, unsigned);

    let digest = registry.push("guard:v1", guests::TAGGED_B, Some(theirs.sign(guests::TAGGED_B))).await;
    let other = format!(
        "policy `guard`: {reference}@{digest} is refused: it is signed with the key {}, but \
         `policies.supply.guard.verify` names {}; sign it with that key, or add the key",
        theirs.id(),
        ours.id()
    );
    assert_eq!(refusal(&gateway, "is signed with").await, other);

    let digest = registry.push("guard:v1", guests::TAGGED_B, Some(ours.sign(guests::TAGGED))).await;
    let forged = format!(
        "policy `guard`: {reference}@{digest} is refused: its signature with the key {} does not fit its bytes: they \
         were changed after signing, or the signature is that of another file; put back the file that was signed, or \
         sign this one",
        ours.id()
    );
    assert_eq!(refusal(&gateway, "does not fit").await, forged);
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    assert!(gateway.metric(r#"witgate_policy_pulls_total{result="refused"}"#).await >= 3.0);

    registry.push("guard:v1", guests::TAGGED_B, Some(ours.sign(guests::TAGGED_B))).await;
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_must_be_the_pinned_one() {
    let a = upstream().start().await;
    let pin = json!({"policies": {"supply": {"guard": {"sha256": sha256(guests::TAGGED)}}}});
    let gateway = file(guests::TAGGED, &a).config(pin).start().await;
    assert_eq!(gateway.policy_status("guard").await["sha256"], json!(sha256(guests::TAGGED)));
    gateway.folder.put_policy("guard", guests::TAGGED_B);
    let (found, wanted) = (sha256(guests::TAGGED_B), sha256(guests::TAGGED));
    let told = format!(
        "policy `guard`: guard.wasm is refused: its SHA-256 is {found}, but `policies.supply.guard.sha256` is {wanted}; \
         put the pinned file back, or change the pin if this one is meant"
    );
    assert_eq!(refusal(&gateway, "SHA-256").await, told);
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    // the other way out
    gateway.folder.edit_config(json!({"policies": {"supply": {"guard": {"sha256": found}}}}));
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn every_file_may_have_to_be_signed() {
    let (a, signer) = (upstream().start().await, Signer::new());
    let strict = json!({"policies": {"require_signature": true, "verify": {"minisign": signer.public_file()}}});
    let gateway = file(guests::TAGGED, &a).config(strict);
    let folder = gateway.write();
    let told = run(folder.path(), &["check", "--config", "witgate.yaml"]);
    let unsigned = "policy `guard`: guard.wasm is refused: it is not signed, but `policies.require_signature` asks for a \
                    signature; sign it with `minisign -Sm FILE.wasm` and put the .minisig beside it, in the folder or \
                    for `witgate policy push`";
    assert!(told.code == 1 && told.err.contains(unsigned), "{told:?}");
    fs::write(signature(&folder), signer.sign(guests::TAGGED)).unwrap();
    let told = run(folder.path(), &["check", "--config", "witgate.yaml"]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));

    let strict = json!({"policies": {"require_signature": true, "verify": {"minisign": signer.public()}}});
    let gateway = gateway_with_optional_guard(&a).config(strict).start().await;
    gateway.folder.put_policy("guard", guests::TAGGED);
    assert_eq!(refusal(&gateway, "is not signed").await, unsigned);
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("in-order"));
    // the signature comes later, and is enough
    fs::write(signature(&gateway.folder), signer.sign(guests::TAGGED)).unwrap();
    gateway.wait_for_reason("fast", OLD).await;
    assert_eq!(gateway.policy_status("guard").await["verified_by"], json!(signer.id()));
}

#[tokio::test]
async fn check_verifies_the_kept_copy_and_pulls_nothing() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    let (ours, theirs) = (Signer::new(), Signer::new());
    registry.push("guard:v1", guests::TAGGED, Some(ours.sign(guests::TAGGED))).await;
    let (copies, reference) = (folder(), registry.reference("guard:v1"));
    let by = |signer: &Signer| json!({"policies": {"supply": {"guard": {"verify": {"minisign": signer.public()}}}}});
    let check = |folder: &Path| run(folder, &["check", "--config", "witgate.yaml"]);

    let folder = from(&reference, &copies, &a).config(by(&ours)).write();
    let asked = registry.requests("GET", "/");
    let told = check(folder.path());
    let warned = format!(
        "warning: policies.supply.guard.source: no copy of {reference} is kept here, so the policy is not checked"
    );
    assert!(told.code == 0 && told.err.contains(&warned), "{told:?}");
    assert_eq!(registry.requests("GET", "/"), asked);

    from(&reference, &copies, &a).config(by(&ours)).start().await.stop().await;
    let asked = registry.requests("GET", "/");
    let told = check(folder.path());
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    let told = check(from(&reference, &copies, &a).config(by(&theirs)).write().path());
    let expected =
        format!("it is signed with the key {}, but `policies.supply.guard.verify` names {}", ours.id(), theirs.id());
    assert!(told.code == 1 && told.err.contains(&expected), "{told:?}");
    assert_eq!(registry.requests("GET", "/"), asked);
}

#[tokio::test]
async fn an_author_publishes_a_policy_and_an_operator_gets_it() {
    let (registry, signer, folder) = (Registry::start().await, Signer::new(), folder());
    let reference = registry.reference("acme/tagged:v1");
    fs::write(folder.path().join("tagged.wasm"), guests::TAGGED).unwrap();
    let signature = signer.sign(guests::TAGGED);
    fs::write(folder.path().join("tagged.wasm.minisig"), &signature).unwrap();
    let pushed = run(folder.path(), &["policy", "push", "tagged.wasm", &reference]);
    assert_eq!((pushed.code, pushed.err.as_str()), (0, ""));
    let digest = pushed.out.lines().find_map(|line| line.strip_prefix("digest     ")).expect("a digest").to_owned();
    let manifest: Value = serde_json::from_str(&registry.manifest(&digest)).unwrap();
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], json!("witgate-fixture-tagged"));
    assert_eq!(manifest["annotations"]["dev.witgate.minisign"], json!(signature));
    let again = run(folder.path(), &["policy", "push", "tagged.wasm", &reference]);
    assert_eq!(again.out, pushed.out, "the same policy is the same artifact");
    let pulled = run(folder.path(), &["policy", "pull", &reference, "-o", "got.wasm", "--verify", &signer.public()]);
    let expected = format!(
        "wrote      got.wasm and got.wasm.minisig, {} bytes\ndigest     {digest}\nsha256     {}\n\
         signed     with the key {}, which was checked\n\
         to pin it  policies: {{supply: {{tagged: {{source: \"{reference}@{digest}\"}}}}}}\n",
        guests::TAGGED.len(),
        sha256(guests::TAGGED),
        signer.id()
    );
    assert_eq!((pulled.code, pulled.out.as_str(), pulled.err.as_str()), (0, &*expected, ""));
    assert_eq!(fs::read(folder.path().join("got.wasm")).unwrap(), guests::TAGGED);

    let other = Signer::new();
    let refused = run(folder.path(), &["policy", "pull", &reference, "-o", "not.wasm", "--verify", &other.public()]);
    assert!(
        refused.code == 1 && refused.err.contains(&format!("is signed with the key {}", signer.id())),
        "{refused:?}"
    );
    assert!(!folder.path().join("not.wasm").exists());
    let pinned = format!("{reference}@{digest}");
    let refused = run(folder.path(), &["policy", "push", "tagged.wasm", &pinned]);
    let told = format!(
        "error: {pinned} names a digest, and that follows from the policy; push to a tag: oci://host/repository:tag\n"
    );
    assert_eq!((refused.code, refused.err), (1, told));
    fs::write(folder.path().join("bad.wasm"), "nothing of the kind").unwrap();
    let refused = run(folder.path(), &["policy", "push", "bad.wasm", &reference]);
    assert!(refused.code == 1 && refused.err.contains("the file is not WebAssembly"), "{refused:?}");
}

#[tokio::test]
async fn a_registry_that_wants_a_password_gets_it_from_the_configuration() {
    let (registry, a) = (Registry::start_locked().await, upstream().start().await);
    registry.push("guard:v1", guests::TAGGED, None).await;
    let (copies, reference, host) = (folder(), registry.reference("guard:v1"), registry.address().to_string());
    let told = from(&reference, &copies, &a).try_start().await.map(|_| ()).unwrap_err();
    assert_eq!(
        told,
        format!(
            "route `fast`, policy 1 of its chain: policy `guard`: {reference}: the registry does not let us: it wants \
             credentials; check `policies.registries.{host}` or log in with `docker login {host}`"
        )
    );
    let password = copies.path().join("password");
    fs::write(&password, "sesame\n").unwrap();
    let access = json!({"policies": {"registries": {host: {"username": "ann", "password": {"file": password}}}}});
    let gateway = from(&reference, &copies, &a).config(access).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
}

#[tokio::test]
async fn a_registry_on_this_machine_may_have_to_speak_tls() {
    let (registry, a) = (Registry::start().await, upstream().start().await);
    registry.push("guard:v1", guests::TAGGED, None).await;
    let (copies, reference) = (folder(), registry.reference("guard:v1"));
    let access = json!({"policies": {"registries": {registry.address().to_string(): {"insecure": false}}}});
    let told = from(&reference, &copies, &a).config(access).try_start().await.map(|_| ()).unwrap_err();
    let expected = format!("policy `guard`: {reference}: the registry cannot be reached: ");
    assert!(told.contains(&expected), "{told}");
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn settings(copies: &TempDir) -> Value {
    json!({"policies": {"copies": copies.path().join("copies"), "pull": {"interval": "1s", "timeout": "10s"}}})
}

/// A gateway whose policy comes from there.
fn from(reference: &str, copies: &TempDir, a: &Upstream) -> Builder {
    let source = json!({"policies": {"supply": {"guard": {"source": reference}}}});
    gateway().model("fast", [a]).policy("guard").config(settings(copies)).config(source)
}

/// A gateway whose policy is a file.
fn file(bytes: &[u8], a: &Upstream) -> Builder {
    gateway().model("fast", [a]).policy("guard").policy_file("guard", bytes)
}

fn gateway_with_optional_guard(a: &Upstream) -> Builder {
    let optional = json!({"routes": {"fast": {"policies": [{"use": "guard", "optional": true}, "in-order"]}}});
    gateway().model("fast", [a]).config(optional)
}

fn signature(folder: &witgate_tests::Folder) -> std::path::PathBuf {
    folder.policies().join("guard.wasm.minisig")
}

async fn pull_problem(gateway: &Gateway) -> Value {
    gateway.policy_status("guard").await["pull"]["problem"].clone()
}

/// Waits for a refusal with these words and gives all of it.
async fn refusal(gateway: &Gateway, words: &str) -> String {
    eventually("it is refused", async || gateway.problems().await.concat().contains(words)).await;
    gateway.problems().await.into_iter().find(|problem| problem.contains(words)).unwrap()
}

/// As `sha256sum` prints it.
fn sha256(bytes: &[u8]) -> String {
    witgate_core::config::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
