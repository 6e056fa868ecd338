//! Files and settings that no gateway can use: each is one clear message, and everything else goes on.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use witgate_tests::{Gateway, eventually, gateway, guests, upstream};

#[tokio::test]
async fn each_bad_file_is_one_clear_message_and_the_gateway_serves_on() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).policy("tagged").policy_file("tagged", guests::TAGGED).start().await;
    let at = |name: &str| gateway.folder.policies().join(name);
    let half = &guests::TAGGED[..guests::TAGGED.len() / 2];

    fs::write(at("version.wasm"), guests::WRONG_VERSION).unwrap();
    told(
        &gateway,
        "version.wasm",
        "policy `version`: version.wasm is refused: it was built for version 0.9.0 of the contract `witgate:policy`, this gateway speaks 0.1.0; \
         build it against this gateway's `wit/policy.wit`",
    )
    .await;
    fs::write(at("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    told(
        &gateway,
        "core.wasm",
        "policy `core`: core.wasm is refused: the file is a core WebAssembly module without a component type, so its \
         functions cannot be told; generate its bindings with wit-bindgen for a world of `witgate:policy`, or build it as a component",
    )
    .await;
    // sparse: it would take a while to read
    fs::File::create(at("large.wasm")).unwrap().set_len(200_000_000).unwrap();
    told(
        &gateway,
        "large.wasm",
        "large.wasm: has 200000000 bytes, the limit is 67108864; leave out debug information, or build it for size",
    )
    .await;
    fs::write(at("half.wasm"), half).unwrap();
    told(
        &gateway,
        "half.wasm",
        &format!(
            "policy `half`: half.wasm is refused: the file ends in the middle, after {} bytes; copy it again, or write it beside the folder \
             and rename it into it when it is whole",
            half.len()
        ),
    )
    .await;
    symlink("circle.wasm", at("circle.wasm")).unwrap();
    told(&gateway, "circle.wasm", "circle.wasm: is a symbolic link that leads in a circle; let it lead to a file")
        .await;
    symlink("nowhere", at("lost.wasm")).unwrap();
    told(
        &gateway,
        "lost.wasm",
        "lost.wasm: is a symbolic link that leads nowhere; let it lead to a file, or remove it",
    )
    .await;
    for (name, shown) in [("o d d.wasm", "o d d.wasm"), ("new\nline.wasm", "new\\nline.wasm"), ("ü.wasm", "ü.wasm")] {
        fs::write(at(name), guests::TAGGED).unwrap();
        told(
            &gateway,
            name,
            &format!(
                "{shown}: a policy's name may have letters, digits, `-`, `_` and `.` only, and at most 64 of them; \
                 rename the file"
            ),
        )
        .await;
    }
    fs::create_dir(at("folder.wasm")).unwrap();
    told(
        &gateway,
        "folder.wasm",
        "folder.wasm: is not a regular file; put the policy's file in its place, or remove it",
    )
    .await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

/// This is what is wrong, and all that is wrong, as long as the file is there; and requests are served.
async fn told(gateway: &Gateway, file: &str, message: &str) {
    eventually(message, async || gateway.problems().await == [message]).await;
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("tagged"), "{file}");
    let path = gateway.folder.policies().join(file);
    let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    removed.unwrap();
    eventually("it is forgotten", async || gateway.problems().await.is_empty()).await;
}

#[tokio::test]
async fn a_bad_file_in_the_place_of_a_good_one_leaves_that_serving() {
    let a = upstream().start().await;
    // optional: only the file keeps it in service
    let chain = json!({"policies": [{"use": "tagged", "optional": true}, "in-order"]});
    let gateway = gateway().model("fast", [&a]).policy_file("tagged", guests::TAGGED);
    let gateway = gateway.config(json!({"routes": {"fast": chain}})).start().await;
    let file = gateway.folder.policy_file("tagged");
    let next = gateway.folder.path().join("next");
    let told = async |told: &str| {
        fs::rename(&next, &file).unwrap();
        eventually(told, async || gateway.problems().await == [told]).await;
        let status = gateway.policy_status("tagged").await;
        assert_eq!((&status["state"], &status["problem"]), (&json!("serving"), &json!(told)));
        assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("tagged"), "{told}");
    };
    fs::File::create(&next).unwrap().set_len(200_000_000).unwrap();
    told("tagged.wasm: has 200000000 bytes, the limit is 67108864; leave out debug information, or build it for size")
        .await;
    symlink("tagged.wasm", &next).unwrap();
    told("tagged.wasm: is a symbolic link that leads in a circle; let it lead to a file").await;
    symlink("nowhere", &next).unwrap();
    told("tagged.wasm: is a symbolic link that leads nowhere; let it lead to a file, or remove it").await;
    fs::remove_file(&file).unwrap();
    fs::create_dir(&next).unwrap();
    told("tagged.wasm: is not a regular file; put the policy's file in its place, or remove it").await;
    fs::remove_dir(&file).unwrap();
    eventually("it is gone", async || gateway.chat("fast", "hi").await.policy() == Some("in-order")).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn settings_that_break_the_policy_s_schema_are_one_clear_message() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).policy("usage-based").start().await;
    let settings = |settings: serde_json::Value| json!({"routes": {"fast": {"policies": [{"use": "usage-based", "settings": settings}]}}});
    gateway.folder.edit_config(settings(json!({"nosuch": 1})));
    eventually("it is told", async || !gateway.problems().await.is_empty()).await;
    let revision = gateway.policy_status("usage-based").await["revision"].as_str().unwrap().to_owned();
    assert_eq!(
        gateway.problems().await,
        [format!(
            "route `fast`, policy 1 of its chain: policy `usage-based` (revision {revision}): its settings are not what it \
             accepts: `settings.nosuch`: there is no such setting; there are `output_tokens`; \
             `witgate policy inspect --schema usage-based` shows all that it accepts"
        )]
    );
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("usage-based"));
    gateway.folder.edit_config(json!({"routes": {"fast": {"policies": ["usage-based"]}}}));
    eventually("nothing is wrong any more", async || gateway.problems().await.is_empty()).await;
}
