//! A large policy is dropped in while clients post: it serves with quick code, and nobody notices when it is optimised,
//! or that it is not, because it serves no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};
use witgate_tests::{CHAT, Gateway, eventually, gateway, guests, upstream};

use crate::program::Serving;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_policy_is_optimised_while_it_serves_and_keeps_its_revision_and_its_cells() {
    let up = upstream().start().await;
    // nothing is known of it from an earlier run
    let more = json!({"policies": {"code_cache": "off", "rules": {"witness": {"deadline": "2s"}}}});
    let started = gateway().model("fast", [&up]).policy("witness").policy_file("witness", guests::WITNESS).config(more);
    let gateway = Arc::new(started.start().await);
    let small = gateway.policy_status("witness").await;
    assert_eq!(small["tier"], "optimised");
    for _ in 0..3 {
        assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    }

    gateway.folder.put_policy("witness", &large(guests::WITNESS));
    let report = gateway.request("POST", "/admin/reload").send().await.json();
    assert_eq!(report["problems"], json!([]));
    let quick = gateway.policy_status("witness").await;
    assert_eq!((&quick["tier"], &quick["state"]), (&json!("quick"), &json!("serving")));
    assert_ne!(quick["revision"], small["revision"]);
    let reloads = gateway.metric(r#"witgate_policy_reloads_total{result="ok"}"#).await;
    let generation = gateway.generation().await;

    let done = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn({
        let (gateway, done) = (Arc::clone(&gateway), Arc::clone(&done));
        async move {
            let mut answers = Vec::new();
            while !done.load(SeqCst) {
                let answer = gateway.chat("fast", "hi").await;
                answers.push((answer.status, answer.header("x-witgate-policy").unwrap_or_default().to_owned()));
            }
            answers
        }
    });
    let tier = async || gateway.policy_status("witness").await["tier"].clone();
    eventually("it is optimised", async || tier().await == "optimised").await;
    for _ in 0..3 {
        assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    }
    done.store(true, SeqCst);

    let answers = client.await.unwrap();
    assert!(!answers.is_empty());
    let by = (200, format!("witness/{}", quick["revision"].as_str().unwrap_or_default()));
    assert!(answers.iter().all(|answer| *answer == by), "{by:?}: {answers:?}");
    let served = 3 + answers.len() as u64 + 3;
    eventually("every outcome is counted in the same cell", async || served_by_the_cell(&gateway).await == served)
        .await;
    let after = gateway.policy_status("witness").await;
    let same = |status: &Value| [&status["revision"], &status["loaded_at"], &status["state"]].map(Clone::clone);
    assert_eq!(same(&after), same(&quick));
    assert_eq!(gateway.generation().await, generation);
    assert_eq!(gateway.metric(r#"witgate_policy_reloads_total{result="ok"}"#).await, reloads);
    let instances = &after["instances"][0];
    assert_eq!((&instances["retired"], &instances["lost"], &instances["failures"]), (&json!(0), &json!(0), &json!({})));
}

#[tokio::test]
async fn a_large_policy_that_serves_no_more_is_not_optimised() {
    let up = upstream().start().await;
    let started = gateway().model("fast", [&up]).policy("flip").policy_file("flip", guests::TAGGED);
    let folder = started.config(json!({"policies": {"code_cache": "off"}})).write();
    let gateway = Serving::start(&folder).await;
    // the first is being optimised, and the second waits for it, when each is replaced
    let files =
        [large(&large(guests::TAGGED)), large(guests::TAGGED_B), guests::TURNCOAT.to_vec(), large(guests::TAGGED)];
    let mut revisions = Vec::new();
    for file in &files {
        folder.put_policy("flip", file);
        assert_eq!(gateway.request("POST", "/admin/reload").send().await.json()["problems"], json!([]));
        let policies = gateway.request("GET", "/admin/policies").send().await.json();
        let status = policies["policies"].as_array().unwrap().iter().find(|status| status["name"] == "flip").unwrap();
        revisions.push(status["revision"].as_str().unwrap().to_owned());
    }
    let line = |message: &str, revision: &str| {
        let is_it = |line: &Value| line["message"] == message && line["revision"] == revision;
        let log = gateway.log();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).find(is_it)
    };
    eventually("the last is optimised", async || line("policy optimised", &revisions[3]).is_some()).await;
    for revision in &revisions[..2] {
        assert_eq!(line("policy optimised", revision), None);
        let abandoned = line("not optimised; it serves no more", revision).expect("a line");
        assert_eq!(abandoned["level"], "INFO");
    }
    let second = line("not optimised; it serves no more", &revisions[1]).expect("a line");
    assert!(second["seconds"].as_f64().is_some_and(|seconds| seconds < 0.1), "it was begun: {second}");
}

/// What the policy has counted of served requests of its first deployment.
async fn served_by_the_cell(gateway: &Gateway) -> u64 {
    let body = json!({"model": "fast", "messages": [], "max_tokens": 1_000_000}).to_string();
    let answer = gateway.post(CHAT, body).send().await;
    assert_eq!((answer.status, answer.error_message()), (429, "counted".to_owned()));
    answer.header("retry-after-ms").expect("a count").parse::<u64>().expect("a number") - 1
}

/// The same component with a core module in it that nobody uses: some 800 kB of code.
pub(crate) fn large(component: &[u8]) -> Vec<u8> {
    larger(component, FUNCTIONS)
}

/// The same with so many functions, each of a thousand bytes.
pub(crate) fn larger(component: &[u8], count: usize) -> Vec<u8> {
    assert!(component.starts_with(b"\0asm\x0d"), "a component");
    // parameters and a constant, mixed over and over
    let body = [&[0_u8][..], &[0x20, 0, 0x20, 1, 0x6c, 0x41, 9, 0x73, 0x21, 0].repeat(100), &[0x0b]].concat();
    let mut functions = Vec::new();
    for _ in 0..count {
        functions.extend(sized(&body));
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend([1, 6, 1, 0x60, 2, 0x7f, 0x7f, 0]);
    let number = leb(count);
    for (id, content) in [(3, vec![0; count]), (10, functions)] {
        module.push(id);
        module.extend(sized(&[&number[..], &content].concat()));
    }
    [component, &[1], &sized(&module)].concat()
}

const FUNCTIONS: usize = 800;

fn sized(bytes: &[u8]) -> Vec<u8> {
    [leb(bytes.len()), bytes.to_vec()].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
