//! Files that change while the gateway serves: what is good is live at once, what is bad changes nothing and is told.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;
use witgate_tests::gateway::Builder;
use witgate_tests::{Upstream, chat_events, eventually, gateway, guests, upstream};

use crate::program::Serving;

const OLD: &str = "witgate-fixture-tagged";
const NEW: &str = "witgate-fixture-tagged-b";

#[tokio::test]
async fn a_replaced_file_decides_from_then_on() {
    let a = upstream().start().await;
    let gateway = tagged(&a).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    let before = gateway.generation().await;
    gateway.folder.put_policy("tagged", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    let status = gateway.policy_status("tagged").await;
    assert_eq!((&status["state"], &status["summary"]), (&json!("serving"), &json!("Says who decided.")));
    assert_eq!((gateway.problems().await, gateway.generation().await > before), (vec![], true));
    assert!(gateway.metric(r#"witgate_policy_reloads_total{result="ok"}"#).await >= 1.0);
}

#[tokio::test]
async fn a_bad_file_leaves_the_last_good_one_and_is_told() {
    let a = upstream().start().await;
    let gateway = tagged(&a).start().await;
    for (bytes, problem) in [
        (&b"hello"[..], "policy `tagged`: tagged.wasm is refused: the file is not WebAssembly"),
        (b"", "policy `tagged`: tagged.wasm is refused: the file is not WebAssembly"),
        (
            &guests::TAGGED_B[..guests::TAGGED_B.len() / 2],
            "policy `tagged`: tagged.wasm is refused: the file ends in the middle, after ",
        ),
        (guests::NO_HOOK, "policy `tagged`: tagged.wasm is refused: it exports `witgate:policy/lifecycle` but no hook"),
        (guests::WRONG_VERSION, "policy `tagged`: tagged.wasm is refused: it was built for version "),
        (guests::PEEK_PROMPT, "tagged.wasm is refused: policy `tagged` (revision "),
    ] {
        let before = gateway.metric(r#"witgate_policy_reloads_total{result="refused"}"#).await;
        gateway.folder.put_policy("tagged", bytes);
        eventually("the file is refused", async || {
            gateway.problems().await.iter().any(|told| told.contains(problem))
                && gateway.metric(r#"witgate_policy_reloads_total{result="refused"}"#).await > before
        })
        .await;
        let status = gateway.policy_status("tagged").await;
        assert!(status["problem"].as_str().is_some_and(|told| told.contains(problem)), "{status}");
        assert_eq!(status["state"], "serving");
        assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    }
    gateway.folder.put_policy("tagged", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_is_taken_when_it_is_whole() {
    let a = upstream().start().await;
    let gateway = tagged(&a).start().await;
    // written in place, in pieces, as `cp` does
    let mut file = fs::File::create(gateway.folder.policy_file("tagged")).unwrap();
    for piece in guests::TAGGED_B.chunks(guests::TAGGED_B.len() / 20) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let reason = gateway.chat("fast", "hi").await.header("x-witgate-reason").map(str::to_owned);
        assert!([OLD, NEW].contains(&reason.as_deref().unwrap()), "{reason:?}");
    }
    drop(file);
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_writer_that_pauses_is_waited_for() {
    let a = upstream().start().await;
    let gateway = tagged(&a).start().await;
    // it watches by now
    gateway.folder.put_policy("tagged", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    let refused = r#"witgate_policy_reloads_total{result="refused"}"#;
    let mut file = fs::File::create(gateway.folder.policy_file("tagged")).unwrap();
    for piece in guests::TAGGED.chunks(guests::TAGGED.len() / 2) {
        // longer than some looks, the slow poll's included; the first pause is before the first byte
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!((gateway.problems().await, gateway.metric(refused).await), (vec![], 0.0));
        file.write_all(piece).unwrap();
    }
    drop(file);
    gateway.wait_for_reason("fast", OLD).await;
    assert_eq!((gateway.problems().await, gateway.metric(refused).await), (vec![], 0.0));
}

#[tokio::test]
async fn a_file_that_is_emptied_and_written_again_is_not_refused_meanwhile_and_one_that_stays_empty_is() {
    let a = upstream().start().await;
    let gateway = tagged(&a).start().await;
    let refused = r#"witgate_policy_reloads_total{result="refused"}"#;
    // closed in between, so that it seems to be whole
    for half in [&[][..], &guests::TAGGED_B[..guests::TAGGED_B.len() / 2]] {
        fs::write(gateway.folder.policy_file("tagged"), half).unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!((gateway.problems().await, gateway.metric(refused).await), (vec![], 0.0));
    }
    fs::write(gateway.folder.policy_file("tagged"), guests::TAGGED_B).unwrap();
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!((gateway.problems().await, gateway.metric(refused).await), (vec![], 0.0));
    fs::write(gateway.folder.policy_file("tagged"), []).unwrap();
    eventually("it is refused", async || !gateway.problems().await.is_empty()).await;
    let told = "policy `tagged`: tagged.wasm is refused: the file is not WebAssembly: it is empty";
    assert_eq!((gateway.problems().await, gateway.metric(refused).await), (vec![told.to_owned()], 1.0));
}

#[tokio::test]
async fn a_command_about_another_policy_does_not_take_a_file_that_is_being_written() {
    let a = upstream().start().await;
    let gateway = tagged(&a).policy_file("other", guests::TAGGED).start().await;
    // it watches by now
    gateway.folder.put_policy("tagged", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    let refused = r#"witgate_policy_reloads_total{result="refused"}"#;
    let mut file = fs::File::create(gateway.folder.policy_file("other")).unwrap();
    let (first, second) = guests::TAGGED_B.split_at(guests::TAGGED_B.len() / 2);
    file.write_all(first).unwrap();
    for command in ["pin", "unpin", "unload", "load"] {
        assert_eq!(gateway.change("tagged", command).await.status, 200, "{command}");
        assert_eq!((gateway.problems().await, gateway.metric(refused).await), (vec![], 0.0), "{command}");
    }
    let before = gateway.policy_status("other").await["revision"].clone();
    file.write_all(second).unwrap();
    drop(file);
    eventually("it is taken", async || gateway.policy_status("other").await["revision"] != before).await;
    assert_eq!((gateway.problems().await, gateway.metric(refused).await), (vec![], 0.0));
}

#[tokio::test]
async fn what_editors_leave_behind_is_not_taken_for_a_policy() {
    let a = upstream().start().await;
    let gateway = tagged(&a).start().await;
    for name in ["tagged.wasm~", ".tagged.wasm.swp", ".#tagged.wasm", "#tagged.wasm#", "4913", "tagged.wasm.part"] {
        fs::write(gateway.folder.policies().join(name), guests::TAGGED_B).unwrap();
    }
    fs::create_dir(gateway.folder.policies().join("subfolder")).unwrap();
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    assert_eq!(gateway.problems().await, Vec::<String>::new());
    // as vim saves: the old one moved away, a new one written, the old one removed
    let file = gateway.folder.policy_file("tagged");
    fs::rename(&file, gateway.folder.policies().join("tagged.wasm~")).unwrap();
    fs::write(&file, guests::TAGGED_B).unwrap();
    fs::remove_file(gateway.folder.policies().join("tagged.wasm~")).unwrap();
    gateway.wait_for_reason("fast", NEW).await;
}

#[tokio::test]
async fn a_new_file_may_be_named_by_the_configuration_afterwards() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.policy_status("fresh").await, json!(null));
    gateway.folder.put_policy("fresh", guests::TAGGED);
    eventually("it is loaded", async || gateway.policy_status("fresh").await["state"] == "idle").await;
    gateway.folder.edit_config(json!({"routes": {"fast": {"policies": ["fresh"]}}}));
    gateway.wait_for_reason("fast", OLD).await;
    assert_eq!(gateway.policy_status("fresh").await["state"], "serving");
}

#[tokio::test]
async fn a_renamed_file_is_another_policy() {
    let a = upstream().start().await;
    let both = json!({"routes": {"fast": {"policies": [{"use": "second", "optional": true}, "tagged"]}}});
    let gateway = tagged(&a).config(both).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("tagged"));
    fs::copy(gateway.folder.policy_file("tagged"), gateway.folder.path().join("copy")).unwrap();
    fs::rename(gateway.folder.path().join("copy"), gateway.folder.policy_file("second")).unwrap();
    eventually("the optional stage decides", async || gateway.chat("fast", "hi").await.policy() == Some("second"))
        .await;
    fs::rename(gateway.folder.policy_file("second"), gateway.folder.policy_file("third")).unwrap();
    eventually("it is left out again", async || gateway.chat("fast", "hi").await.policy() == Some("tagged")).await;
    eventually("it has its new name", async || gateway.policy_status("third").await["state"] == "idle").await;
}

#[tokio::test]
async fn a_deleted_file_that_a_route_needs_serves_on_and_is_told() {
    let a = upstream().start().await;
    let gateway = tagged(&a).start().await;
    fs::remove_file(gateway.folder.policy_file("tagged")).unwrap();
    let told = "its file is gone; the last good revision serves on until the gateway restarts";
    eventually("it is told", async || gateway.problems().await.iter().any(|problem| problem.contains(told))).await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    gateway.folder.put_policy("tagged", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_policy_that_goes_with_its_file_is_in_the_log() {
    let a = upstream().start().await;
    let chain = json!({"policies": [{"use": "tagged", "optional": true}, "in-order"]});
    let builder = gateway().model("fast", [&a]).policy_file("tagged", guests::TAGGED);
    let folder = builder.config(json!({"routes": {"fast": chain}})).write();
    let gateway = Serving::start(&folder).await;
    fs::remove_file(folder.policy_file("tagged")).unwrap();
    let find = || gateway.log().lines().find(|line| line.contains("policy file is gone")).map(str::to_owned);
    eventually("it is in the log", async || find().is_some()).await;
    let line: serde_json::Value = serde_json::from_str(&find().unwrap()).expect("a line of JSON");
    assert_eq!((&line["level"], &line["policy"], &line["generation"]), (&json!("INFO"), &json!("tagged"), &json!(2)));
}

#[tokio::test]
async fn a_file_of_a_shipped_policy_s_name_overrides_it_until_it_is_deleted() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.policy_status("in-order").await["source"], "shipped");
    gateway.folder.put_policy("in-order", guests::TAGGED);
    gateway.wait_for_reason("fast", OLD).await;
    assert_eq!(gateway.policy_status("in-order").await["source"], "file");
    fs::remove_file(gateway.folder.policy_file("in-order")).unwrap();
    gateway.wait_for_reason("fast", "configured order").await;
    assert_eq!(gateway.policy_status("in-order").await["source"], "shipped");
}

#[tokio::test]
async fn the_swap_of_a_config_map_is_one_step() {
    let a = upstream().start().await;
    // a mounted ConfigMap: `tagged.wasm` → `..data/tagged.wasm`, `..data` → the folder of the day
    let gateway = tagged(&a).start().await;
    let at = |name: &str| gateway.folder.policies().join(name);
    for (folder, bytes) in [("..2026_1", guests::TAGGED), ("..2026_2", guests::TAGGED_B)] {
        fs::create_dir(at(folder)).unwrap();
        fs::write(at(folder).join("tagged.wasm"), bytes).unwrap();
    }
    symlink("..2026_1", at("..data")).unwrap();
    symlink("..data/tagged.wasm", at("link")).unwrap();
    fs::rename(at("link"), at("tagged.wasm")).unwrap();
    assert_eq!(gateway.request("POST", "/admin/reload").send().await.status, 200);
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    symlink("..2026_2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..2026_1")).unwrap();
    gateway.wait_for_reason("fast", NEW).await;
}

#[tokio::test]
async fn a_policy_folder_that_comes_later_is_found() {
    let a = upstream().start().await;
    let optional = json!({"routes": {"fast": {"policies": [{"use": "tagged", "optional": true}, "in-order"]}}});
    let gateway = gateway().model("fast", [&a]).config(optional).start().await;
    fs::remove_dir(gateway.folder.policies()).unwrap();
    assert_eq!(gateway.chat("fast", "hi").await.policy(), Some("in-order"));
    fs::create_dir(gateway.folder.policies()).unwrap();
    gateway.folder.put_policy("tagged", guests::TAGGED);
    gateway.wait_for_reason("fast", OLD).await;
}

#[tokio::test]
async fn a_changed_configuration_is_live_and_streams_in_flight_are_not_cut() {
    let a = upstream().chat("one two").by_permit().start().await;
    let b = upstream().chat("other").start().await;
    let gateway = gateway().model("fast", [&a]).model("other", [&b]).start().await;
    a.let_go(1);
    let mut stream = gateway.stream("fast", "hi").await;
    let events = chat_events("one two");
    assert_eq!(stream.event().await, events[0]);
    // the model leads elsewhere, and its provider is gone
    let mut config = gateway.folder.config();
    config["routes"]["fast"]["deployments"] = json!(["other@b"]);
    config["deployments"].as_object_mut().unwrap().remove("fast@a");
    config["providers"].as_object_mut().unwrap().remove("a");
    gateway.folder.write_config(&config);
    eventually("the new configuration serves", async || {
        gateway.chat("fast", "hi").await.deployment() == Some("other@b")
    })
    .await;
    a.let_go(events.len());
    assert_eq!(stream.rest().await, events[1..]);
    assert!(gateway.metric(r#"witgate_config_reloads_total{result="ok"}"#).await >= 1.0);
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_says_all_that_is_wrong() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let good = gateway.folder.config();
    gateway.folder.edit_config(json!({
        "sever": {}, "routes": {"fast": {"deployments": ["nobody@a"], "policies": ["nosuch"]}, "slow": {}},
        "deployments": {"fast@a": {"weight": -1}},
    }));
    eventually("it is refused", async || !gateway.problems().await.is_empty()).await;
    let problems = gateway.problems().await.join("\n");
    for told in ["unknown key `sever`", "nobody@a", "weight", "routes.slow"] {
        assert!(problems.contains(told), "{told} is missing in:\n{problems}");
    }
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    assert_eq!(gateway.metric(r#"witgate_config_reloads_total{result="refused"}"#).await, 1.0);
    for broken in ["", "providers: {a: [", "\u{0}"] {
        gateway.folder.write_config_text(broken);
        let answer = gateway.request("POST", "/admin/reload").send().await;
        assert_ne!(answer.json()["problems"], json!([]), "{broken:?}");
        assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    }
    gateway.folder.write_config(&good);
    eventually("nothing is wrong any more", async || gateway.problems().await.is_empty()).await;
}

#[tokio::test]
async fn a_configuration_with_a_policy_that_is_not_there_is_refused_as_a_whole() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    gateway.folder.edit_config(json!({"routes": {"fast": {"policies": ["nosuch"]}}}));
    eventually("it is refused", async || !gateway.problems().await.is_empty()).await;
    let problems = gateway.problems().await;
    assert!(
        problems[0].starts_with("route `fast`, policy 1 of its chain: there is no policy `nosuch`: no file "),
        "{problems:?}"
    );
    assert_eq!((problems.len(), gateway.chat("fast", "hi").await.policy()), (1, Some("in-order")));
}

#[tokio::test]
async fn what_cannot_reload_live_stays_and_live_numbers_outlive_the_swap() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for _ in 0..3 {
        gateway.chat("fast", "hi").await;
    }
    let served = r#"witgate_attempts_total{deployment="fast@a",outcome="served"}"#;
    assert_eq!(gateway.metric(served).await, 3.0);
    gateway.folder.edit_config(json!({"server": {"listen": "127.0.0.1:1", "body_limit": "1KiB"}}));
    eventually("the limit is live", async || gateway.chat("fast", &"x".repeat(1024)).await.status == 413).await;
    assert!(gateway.metric(served).await >= 3.0, "counted on, not anew");
    let told = "`server.listen` does not reload live: restart the gateway to put the new value into force";
    eventually("it is told", async || gateway.problems().await == [told]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(gateway.problems().await, [told], "it is still so some polls later");
}

#[tokio::test]
async fn a_configuration_that_waits_for_a_policy_goes_live_when_the_file_comes() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    gateway.folder.edit_config(json!({"routes": {"fast": {"policies": ["tagged"]}}}));
    eventually("it waits", async || !gateway.problems().await.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(gateway.problems().await.len(), 1, "it is told for as long as it waits");
    // another policy is taken meanwhile
    gateway.folder.put_policy("in-order", guests::TAGGED_B);
    gateway.wait_for_reason("fast", NEW).await;
    assert_eq!(gateway.problems().await.len(), 1);
    gateway.folder.put_policy("tagged", guests::TAGGED);
    gateway.wait_for_reason("fast", OLD).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_file_is_tried_again_when_the_configuration_grants_what_it_needs() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).policy("flip").policy_file("flip", guests::TAGGED).start().await;
    gateway.folder.put_policy("flip", guests::PEEK_PROMPT);
    let told = "to allow it, add `headers` and `prompt` to `policies.rules.flip.grants`";
    eventually("it is refused", async || gateway.problems().await.concat().contains(told)).await;
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-reason"), Some(OLD));
    gateway.folder.edit_config(json!({"policies": {"rules": {"flip": {"grants": ["headers", "prompt"]}}}}));
    eventually("it serves", async || gateway.chat("fast", "a forbidden word").await.status == 451).await;
    assert_eq!(gateway.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn settings_that_do_not_fit_are_the_configuration_s_fault() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let with = |attempts: u32| json!({"routes": {"fast": {"policies": [{"use": "in-order", "settings": {"attempts": attempts}}]}}});
    gateway.folder.edit_config(with(0));
    eventually("it is refused", async || !gateway.problems().await.is_empty()).await;
    let problems = gateway.problems().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let told = "its settings are not what it accepts: `settings.attempts`: 0 is less than the minimum of 1 (allowed: ";
    let hint = "); `witgate policy inspect --schema in-order` shows all that it accepts";
    assert!(problems[0].contains(told) && problems[0].ends_with(hint), "{problems:?}");
    assert_eq!(gateway.policy_status("in-order").await.get("problem"), None);
    gateway.folder.edit_config(with(2));
    eventually("nothing is wrong any more", async || gateway.problems().await.is_empty()).await;
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
}

#[tokio::test]
async fn keys_cannot_be_taken_away_from_a_public_address() {
    let a = upstream().start().await;
    let keys = json!([{"name": "ann", "key": "sk-ann", "admin": true}]);
    let public = json!({"server": {"listen": "0.0.0.0:0"}, "auth": {"keys": keys}});
    let gateway = gateway().model("fast", [&a]).config(public).start().await;
    let reload = || gateway.request("POST", "/admin/reload").header("x-api-key", "sk-ann").send();
    gateway.folder.edit_config(json!({"server": {"listen": "127.0.0.1:0"}, "auth": {"keys": []}}));
    let told = format!(
        "others can reach {}, and without `auth.keys` everybody may ask; keep the keys, or set \
         `server.allow_unauthenticated: true`",
        gateway.address()
    );
    assert_eq!(reload().await.json()["problems"], json!([told]));
    assert_eq!(gateway.chat("fast", "hi").await.status, 401);
}

fn tagged(a: &Upstream) -> Builder {
    gateway().model("fast", [a]).policy("tagged").policy_file("tagged", guests::TAGGED)
}
