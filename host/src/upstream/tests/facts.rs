//! What servers say of themselves. vLLM's page is that of vLLM 0.32.0, shortened; Ollama's answer is the one of its
//! docs/api.md, List Running Models; llama.cpp's are those of build b11549.

use std::sync::Mutex;

use witgate_core::config::{Facts as Configured, Probe};
use witgate_core::facts::Report;

use super::server::{Server, json};
use super::*;

const VLLM: &str = "\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine=\"0\",model_name=\"theirs\"} 2.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine=\"0\",model_name=\"theirs\"} 3.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"theirs\"} 0.75
";
const PS: &str = r#"{"models":[{"name":"theirs:latest","model":"theirs:latest","size":5137025024,"digest":"2ae6f6dd","details":{"format":"gguf"},"expires_at":"2024-06-04T14:38:31.83753-07:00","size_vram":5137025024}]}"#;
const SLOTS: &str = r#"[{"id":0,"n_ctx":1024,"is_processing":false},{"id":1,"n_ctx":1024,"is_processing":true}]"#;
const PROPS: &str = r#"{"default_generation_settings":{"params":{},"n_ctx":1024},"total_slots":2}"#;
const PAGE: &str = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 4\n";
const OFF: &str =
    r#"{"error":{"code":501,"message":"This server does not support slots endpoint.","type":"not_supported_error"}}"#;

/// A server that has these paths, and what it is asked.
async fn having(paths: &'static [(&'static str, &'static str)]) -> (Server, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let server = Server::start(move |mut peer| {
        let seen = Arc::clone(&seen);
        async move {
            while let Some(request) = peer.request().await {
                let path = request.split(' ').nth(1).unwrap().to_owned();
                let answer = paths.iter().find(|(known, _)| *known == path);
                seen.lock().unwrap().push(path);
                peer.send(&match answer {
                    Some((_, body)) => json("200 OK", body),
                    None => json("501 Not Implemented", OFF),
                })
                .await;
            }
        }
    })
    .await;
    (server, asked)
}

fn telling(server: &Server, dialect: Dialect) -> Upstreams {
    let second = Duration::from_secs(1);
    let facts = Some(Configured { interval: second, idle: second, timeout: second });
    upstreams(&super::Configured { dialect, facts, ..provider(server.address) })
}

#[tokio::test]
async fn vllm_tells_its_queue_and_its_cache() {
    let (server, asked) = having(&[("/metrics", VLLM)]).await;
    let wanted = Report { queue: Some(3.0), running: Some(2.0), kv_used: Some(0.75), ..Report::default() };
    assert_eq!(telling(&server, Dialect::OpenAi).facts(0, "p").await, [(0, wanted)]);
    assert_eq!(*asked.lock().unwrap(), ["/metrics"], "it has no slots");
}

#[tokio::test]
async fn ollama_tells_what_it_has_loaded() {
    let (server, asked) = having(&[("/api/ps", PS)]).await;
    let loaded = |loaded| [(0, Report { loaded: Some(loaded), ..Report::default() })];
    assert_eq!(telling(&server, Dialect::Ollama).facts(0, "p").await, loaded(true));
    assert_eq!(*asked.lock().unwrap(), ["/api/ps"]);
    let (server, _) = having(&[("/api/ps", r#"{"models":[]}"#)]).await;
    assert_eq!(telling(&server, Dialect::Ollama).facts(0, "p").await, loaded(false));
}

#[tokio::test]
async fn llama_cpp_tells_as_much_as_it_was_started_with() {
    let all = Report { queue: Some(4.0), running: Some(1.0), free_slots: Some(1.0), ..Report::default() };
    let (server, _) = having(&[("/metrics", PAGE), ("/slots", SLOTS)]).await;
    assert_eq!(telling(&server, Dialect::OpenAi).facts(0, "p").await, [(0, all)]);
    let (server, _) = having(&[("/slots", SLOTS)]).await;
    assert_eq!(telling(&server, Dialect::OpenAi).facts(0, "p").await, [(0, Report { queue: None, ..all })]);
    let (server, _) = having(&[("/metrics", PAGE), ("/props", PROPS)]).await;
    assert_eq!(telling(&server, Dialect::OpenAi).facts(0, "p").await, [(0, all)]);
}

#[tokio::test]
async fn what_a_server_does_not_know_it_is_not_asked_every_time() {
    let (server, asked) = having(&[]).await;
    let upstreams = telling(&server, Dialect::OpenAi);
    for _ in 0..5 {
        assert_eq!(upstreams.facts(0, "p").await, []);
    }
    assert_eq!(*asked.lock().unwrap(), ["/metrics", "/slots"]);
}

#[tokio::test]
async fn a_silent_server_tells_nothing_and_holds_nobody_up() {
    let server = Server::start(|mut peer| async move { peer.wait_for_close().await }).await;
    let asked = Instant::now();
    assert_eq!(telling(&server, Dialect::OpenAi).facts(0, "p").await, []);
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_preset_s_probe_is_asked_first_and_the_dialect_s_where_it_is_not_known() {
    let second = Duration::from_secs(1);
    let probe = Probe { path: None, first: Some("/slots"), interval: second, idle: second, timeout: second };
    let asking =
        |server: &Server| upstreams(&super::Configured { probe: Some(probe.clone()), ..provider(server.address) });
    let (server, asked) = having(&[("/slots", SLOTS), ("/health", "{}")]).await;
    assert_eq!(asking(&server).probe(0).await, Some(Probed::Good));
    assert_eq!(*asked.lock().unwrap(), ["/slots"]);
    let (server, asked) = having(&[("/health", "{}")]).await;
    assert_eq!(asking(&server).probe(0).await, Some(Probed::Good));
    assert_eq!(*asked.lock().unwrap(), ["/slots", "/health"]);
}
