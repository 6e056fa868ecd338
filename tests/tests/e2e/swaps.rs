//! Hundreds of policy swaps while clients post and stream: no request fails, and each is decided by a policy that
//! was live when it was asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::json;
use witgate_tests::{CHAT, Gateway, chat_events, eventually, gateway, upstream};

const SWAPS: usize = 220;
const POSTING: usize = 3;
const STREAMING: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_fail_no_request_and_take_effect_at_once() {
    let dear = upstream().start().await;
    let cheap = upstream().start().await;
    let shipped = |name: &str| witgate_shipped::find(name).expect("it is shipped").bytes;
    // two policies that choose differently, each in four builds that only their revision tells apart
    let builds: Vec<(Vec<u8>, &str)> = (0..8)
        .map(|number| match number % 2 {
            0 => (build(shipped("in-order"), number), "fast@a"),
            _ => (build(shipped("cheapest"), number), "fast@b"),
        })
        .collect();
    let more = json!({
        "deployments": {"fast@a": {"price": {"input": 9, "output": 9}}},
        // a thread that this busy machine does not run for a while has not missed its deadline
        "policies": {"rules": {"swapped": {"deadline": "2s"}}},
    });
    let gateway = gateway()
        .model("fast", [&dear, &cheap])
        .policy("swapped")
        .policy_file("swapped", &builds[0].0)
        .config(more)
        .start()
        .await;
    let gateway = Arc::new(gateway);

    // what each build's revision is, learnt by putting it into service once
    let mut revisions = Vec::new();
    for (bytes, _) in &builds {
        revisions.push(put(&gateway, bytes).await);
    }
    let deployments: HashMap<&str, &str> =
        revisions.iter().map(String::as_str).zip(builds.iter().map(|(_, deployment)| *deployment)).collect();
    assert_eq!(deployments.len(), builds.len(), "every build has a revision of its own");

    let timeline = Arc::new(Timeline::default());
    let done = Arc::new(AtomicBool::new(false));
    let clients = (0..POSTING + STREAMING).map(|number| {
        let (gateway, timeline, done) = (Arc::clone(&gateway), Arc::clone(&timeline), Arc::clone(&done));
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while !done.load(SeqCst) {
                let from = timeline.live.load(SeqCst);
                let (policy, deployment) = ask(&gateway, number < POSTING).await;
                answers.push(Answered { from, to: timeline.begun.load(SeqCst), policy, deployment });
            }
            answers
        })
    });
    let clients: Vec<_> = clients.collect();

    for swap in 1..=SWAPS {
        timeline.begun.store(swap, SeqCst);
        let number = swap % builds.len();
        assert_eq!(put(&gateway, &builds[number].0).await, revisions[number]);
        timeline.live.store(swap, SeqCst);
    }
    done.store(true, SeqCst);

    let mut total = 0;
    for client in clients {
        let answers = client.await.unwrap();
        assert!(!answers.is_empty());
        total += answers.len();
        for Answered { from, to, policy, deployment } in answers {
            let revision = policy.strip_prefix("swapped/").unwrap_or_else(|| panic!("{policy} decided"));
            assert_eq!(deployment, deployments[revision], "{policy}");
            let live: Vec<&String> = (from..=to).map(|swap| &revisions[swap % revisions.len()]).collect();
            // before the first swap the last build of the warm-up serves
            let warm = from == 0 && revision == revisions[revisions.len() - 1];
            assert!(warm || live.contains(&&revision.to_owned()), "{policy} decided between swaps {from} and {to}");
        }
    }
    assert_eq!(dear.hits() + cheap.hits(), total, "one attempt for each request");
    let reloads = gateway.metric(r#"witgate_policy_reloads_total{result="ok"}"#).await;
    assert!(reloads >= SWAPS as f64, "{reloads}");
    assert_eq!(gateway.metric(r#"witgate_policy_reloads_total{result="refused"}"#).await, 0.0);
    // nothing is kept of the policies before
    eventually("one revision is in service", async || {
        let metrics = gateway.get("/metrics").await;
        metrics.body_text().matches("witgate_policy_info{policy=\"swapped\"").count() == 1
    })
    .await;
}

struct Answered {
    /// The last swap that was complete when the request was sent.
    from: usize,
    /// The last swap that had begun when the answer had come.
    to: usize,
    policy: String,
    deployment: String,
}

#[derive(Default)]
struct Timeline {
    begun: AtomicUsize,
    live: AtomicUsize,
}

/// Asks once, by a post or a stream, and gives the policy and the deployment of the receipt.
async fn ask(gateway: &Gateway, post: bool) -> (String, String) {
    let head = if post {
        let answer = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).send().await;
        assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
        answer.head
    } else {
        let stream = gateway.stream("fast", "hi").await;
        let head = stream.head.clone();
        assert_eq!(stream.rest().await, chat_events("ok"));
        head
    };
    let header = |name| head.header(name).expect("a receipt").to_owned();
    assert_eq!(header("x-witgate-attempts"), "1");
    (header("x-witgate-policy"), header("x-witgate-deployment"))
}

/// Drops the file in, has it read, and gives the revision that serves then.
async fn put(gateway: &Gateway, bytes: &[u8]) -> String {
    gateway.folder.put_policy("swapped", bytes);
    let mut revision = String::new();
    let report = gateway.request("POST", "/admin/reload").send().await.json();
    assert_eq!(report["problems"], json!([]));
    for policy in report["policies"].as_array().into_iter().flatten() {
        if policy["name"] == "swapped" {
            revision = policy["revision"].as_str().unwrap_or_default().to_owned();
        }
    }
    revision
}

/// The same component with another custom section at its end.
fn build(component: &[u8], number: usize) -> Vec<u8> {
    let name = format!("build-{number}");
    let length = |length: usize| u8::try_from(length).expect("a short section");
    let section = [&[0, length(name.len() + 1), length(name.len())], name.as_bytes()].concat();
    [component, &section].concat()
}
