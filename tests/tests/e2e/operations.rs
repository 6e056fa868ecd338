//! What an operator uses: health, metrics, logs, signals, and an end in peace.

use serde_json::{Value, json};
use tokio::net::TcpStream;
use witgate_tests::gateway::metric_in;
use witgate_tests::{CHAT, chat_events, eventually, gateway, guests, in_time, upstream};

use crate::program::Serving;

#[tokio::test]
async fn health_tells_life_from_readiness() {
    let a = upstream().start().await;
    let mut gateway = gateway().model("fast", [&a]).start().await;
    for path in ["/health", "/health/live", "/health/ready"] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})), "{path}");
    }
    let app = gateway.take_app();
    app.gateway().drain().begin();
    let ready = gateway.get("/health/ready").await;
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "draining"})));
    assert_eq!(gateway.get("/health/live").await.status, 200);
    // who asks nevertheless is served
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    in_time(app.stop()).await;
}

#[tokio::test]
async fn a_stream_in_flight_is_finished_before_the_end() {
    let a = upstream().chat("one two three").by_permit().start().await;
    let mut gateway = gateway().model("fast", [&a]).start().await;
    let events = chat_events("one two three");
    a.let_go(1);
    let mut stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.event().await, events[0]);
    let app = gateway.take_app();
    let stopping = tokio::spawn(app.stop());
    eventually("no more connections are accepted", async || TcpStream::connect(gateway.address()).await.is_err()).await;
    assert!(!stopping.is_finished());
    a.let_go(events.len());
    assert_eq!(stream.rest().await, events[1..]);
    in_time(stopping).await.unwrap();
}

#[tokio::test]
async fn what_outlasts_the_grace_time_is_cut() {
    let a = upstream().silent().start().await;
    let grace = json!({"server": {"shutdown_grace": "300ms"}});
    let mut gateway = gateway().model("fast", [&a]).config(grace).start().await;
    let begun = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).begin().await;
    eventually("the upstream is asked", async || a.hits() == 1).await;
    in_time(gateway.take_app().stop()).await;
    drop(begun);
}

#[tokio::test]
async fn metrics_are_prometheus_text_and_hold_no_prompts_or_keys() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).keys(&[("ann", "sk-ann")]).start().await;
    let body = r#"{"model":"fast","messages":[{"role":"user","content":"a rather unusual sentence"}]}"#;
    assert_eq!(gateway.post(CHAT, body).header("x-api-key", "sk-ann").send().await.status, 200);
    assert_eq!(gateway.post(CHAT, "{").header("x-api-key", "sk-ann").send().await.status, 400);
    assert_eq!(
        gateway.post(CHAT, body.replace("fast", "made-up")).header("x-api-key", "sk-ann").send().await.status,
        404
    );
    let answer = gateway.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.body_text();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("witgate_") || name.starts_with("process_"), "{line}");
        assert!(text.contains(&format!("# HELP {} ", base(name))), "{line}");
    }
    for secret in ["rather unusual", "sk-ann", "sk-provider", "made-up"] {
        assert!(!text.contains(secret), "{secret}");
    }
    for (series, value) in [
        (r#"witgate_requests_total{endpoint="chat",outcome="served",route="fast"}"#, 1.0),
        (r#"witgate_requests_total{endpoint="chat",outcome="bad-request",route=""}"#, 1.0),
        (r#"witgate_requests_total{endpoint="chat",outcome="unknown-model",route=""}"#, 1.0),
        (r#"witgate_tokens_total{deployment="fast@a",direction="in"}"#, 3.0),
        (r#"witgate_tokens_total{deployment="fast@a",direction="out"}"#, 2.0),
        (r#"witgate_attempts_total{deployment="fast@a",outcome="served"}"#, 1.0),
        (r#"witgate_request_duration_seconds_count{endpoint="chat",outcome="served",route="fast"}"#, 1.0),
        (r#"witgate_time_to_first_token_seconds_count{route="fast"}"#, 1.0),
        (r#"witgate_policy_decision_seconds_count{hook="router",policy="in-order"}"#, 1.0),
        (r#"witgate_policy_reloads_total{result="refused"}"#, 0.0),
    ] {
        assert_eq!(metric_in(text, series), value, "{series}");
    }
}

#[tokio::test]
async fn the_admin_view_shows_every_policy() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).policy_file("tagged", guests::TAGGED).start().await;
    gateway.chat("fast", "hi").await;
    let in_order = gateway.policy_status("in-order").await;
    assert_eq!((&in_order["state"], &in_order["source"]), (&json!("serving"), &json!("shipped")));
    assert_eq!((&in_order["hooks"], &in_order["version"]), (&json!(["router"]), &json!("0.1.0")));
    assert_eq!(in_order["instances"][0]["calls"], 1);
    assert_eq!(gateway.policy_status("tagged").await["state"], "idle");
    assert_eq!(gateway.policy_status("cheapest").await["state"], "shipped");
}

#[tokio::test]
async fn a_log_line_tells_what_became_of_a_request_and_no_secrets() {
    let a = upstream().start().await;
    let folder = gateway().model("fast", [&a]).keys(&[("ann", "sk-ann")]).write();
    let gateway = Serving::start(&folder).await;
    let body = r#"{"model":"fast","messages":[{"role":"user","content":"a rather unusual sentence"}]}"#;
    let request = gateway.request("POST", CHAT).json(body).header("x-api-key", "sk-ann");
    assert_eq!(request.header("x-request-id", "my-request").send().await.status, 200);
    eventually("it is logged", async || gateway.log().contains("my-request")).await;
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("my-request")).unwrap();
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    for (field, value) in [
        ("level", json!("INFO")),
        ("request_id", json!("my-request")),
        ("method", json!("POST")),
        ("path", json!("/v1/chat/completions")),
        ("outcome", json!("served")),
        ("status", json!(200)),
        ("route", json!("fast")),
        ("model", json!("fast")),
        ("key", json!("ann")),
        ("deployment", json!("fast@a")),
        ("policy", json!("in-order")),
        ("attempts", json!(1)),
        ("tokens_in", json!(3)),
        ("tokens_out", json!(2)),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    let refused =
        gateway.request("POST", CHAT).json("{").header("x-api-key", "sk-eve").header("x-request-id", "bad-one");
    assert_eq!(refused.send().await.status, 401);
    eventually("it is logged too", async || gateway.log().contains("bad-one")).await;
    for secret in ["rather unusual", "sk-ann", "sk-eve", "sk-provider"] {
        assert!(!gateway.log().contains(secret), "{secret} in {}", gateway.log());
    }
}

#[tokio::test]
async fn sighup_reads_everything_again_and_sigterm_ends_in_peace() {
    let a = upstream().chat("one two").by_permit().start().await;
    let b = upstream().start().await;
    // so slow a poll, and files that are replaced behind a link: only the signal can tell
    let folder = gateway().model("fast", [&b]).model("slow", [&a]).config(json!({"policies": {"poll": "1h"}})).write();
    let real = folder.path().join("elsewhere");
    std::fs::create_dir(&real).unwrap();
    std::fs::rename(folder.config_file(), real.join("witgate.yaml")).unwrap();
    std::os::unix::fs::symlink(real.join("witgate.yaml"), folder.config_file()).unwrap();
    let mut gateway = Serving::start(&folder).await;
    let chat = async |model: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
        gateway.request("POST", CHAT).json(body).send().await.status
    };
    assert_eq!((chat("fast").await, chat("new").await), (200, 404));
    let mut config = folder.config();
    config["aliases"] = json!({"new": "fast"});
    std::fs::write(real.join("witgate.yaml"), config.to_string()).unwrap();
    gateway.signal("HUP");
    eventually("the alias is there", async || chat("new").await == 200).await;

    config["aliases"] = json!({"new": "nosuch"});
    std::fs::write(real.join("witgate.yaml"), config.to_string()).unwrap();
    gateway.signal("HUP");
    eventually("the mistake is in the log", async || gateway.log().contains("aliases.new")).await;
    assert_eq!(chat("new").await, 200);

    a.let_go(1);
    let body = r#"{"model":"slow","messages":[],"stream":true}"#;
    let mut stream = gateway.request("POST", CHAT).json(body).stream().await;
    let events = chat_events("one two");
    assert_eq!(stream.event().await, events[0]);
    gateway.signal("TERM");
    eventually("no more connections are accepted", async || TcpStream::connect(gateway.address).await.is_err()).await;
    a.let_go(events.len());
    assert_eq!(stream.rest().await, events[1..]);
    assert_eq!(gateway.end().await, Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn start_up_says_what_it_serves_and_one_line_to_try() {
    let a = upstream().start().await;
    let folder = gateway().model("fast", [&a]).write();
    let gateway = Serving::start(&folder).await;
    let log = gateway.log();
    let address = gateway.address;
    assert!(log.contains(&format!("Witgate serves 1 model name(s) on http://{address}/v1\n")), "{log}");
    assert!(log.contains("  fast → 1 deployment(s), in-order\n"), "{log}");
    let line = format!(
        "  curl -s http://{address}/v1/chat/completions -H 'content-type: application/json' \
         -d '{{\"model\":\"fast\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n"
    );
    eventually("the line is there", async || gateway.log().contains(&line)).await;
}

#[tokio::test]
async fn where_keys_are_wanted_the_line_to_try_has_one() {
    let a = upstream().start().await;
    let folder = gateway().model("fast", [&a]).keys(&[("app", "sk-secret")]).write();
    let gateway = Serving::start(&folder).await;
    let line = " -H 'content-type: application/json' -H 'authorization: Bearer YOUR_KEY' -d '{\"model\":\"fast\"";
    eventually("the line is there", async || gateway.log().contains(line)).await;
    assert!(!gateway.log().contains("sk-secret"));
}

#[tokio::test]
async fn a_bad_policy_file_is_in_the_log() {
    let a = upstream().start().await;
    let folder = gateway().model("fast", [&a]).write();
    let gateway = Serving::start(&folder).await;
    folder.put_policy("bad", b"hello");
    eventually("it is told", async || {
        gateway.log().contains("policy `bad`: bad.wasm is refused: the file is not WebAssembly: it is text")
    })
    .await;
}

/// The metric of a histogram's series.
fn base(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}
