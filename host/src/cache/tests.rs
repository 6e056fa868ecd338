//! The cache as the pipeline uses it, without Redis.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use witgate_core::config::{NoLookup, SourceFile};
use witgate_core::fleet::Fleet;
use witgate_core::openai::Endpoint;

use super::*;
use crate::telemetry::metrics::Standing;

pub(super) const HELLO: &str = r#"{"messages":[{"role":"user","content":"hello"}]}"#;
pub(super) const ANSWER: &[u8] = br#"{"choices":[{"finish_reason":"stop","message":{"content":"Hi"}}]}"#;

/// A scope whose answers are kept for as long.
pub(super) fn scope(ttl: &str) -> Scope {
    let yaml = format!(
        "
providers:
  p: {{dialect: demo}}
deployments:
  m@p: {{}}
routes:
  r: {{models: m, deployments: [m@p], cache: {{ttl: {ttl}}}}}
"
    );
    let loaded = config::load(&[SourceFile::new("test", yaml)], &NoLookup).unwrap();
    Scope::of(&loaded.config, &loaded.config.routes[0]).unwrap()
}

/// One gateway's cache, with what it counts.
pub(super) struct World {
    pub(super) cache: Cache,
    pub(super) metrics: Metrics,
}

impl World {
    pub(super) fn new(redis: Option<config::Redis>) -> Self {
        let metrics = Metrics::new();
        let config = config::Cache { memory: 1 << 20, largest: 1000, default: config::RouteCache::Off, redis };
        Self { cache: Cache::new(&config, &metrics).unwrap(), metrics }
    }

    pub(super) async fn ask(&self, scope: &Scope, body: &str, control: Option<&'static str>) -> Lookup {
        let mut headers = HeaderMap::new();
        if let Some(control) = control {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
        }
        let question = Question {
            scope: Some(scope),
            tenant: "t",
            endpoint: Endpoint::Chat,
            model: "m",
            headers: &headers,
            body: body.as_bytes(),
        };
        self.cache.look(question).await
    }

    /// The answer to hello, if it is kept, and where.
    pub(super) async fn found(&self, scope: &Scope) -> Option<(Bytes, Tier)> {
        match self.ask(scope, HELLO, None).await {
            Lookup::Hit(hit) => Some((hit.entry.body.clone(), hit.tier)),
            Lookup::Miss(_) => None,
            Lookup::Bypass => panic!("the question was let past"),
        }
    }

    /// Asks hello, and has it answered.
    pub(super) async fn keep(&self, scope: &Scope, pieces: &[&[u8]]) {
        let mut recording = record(self.ask(scope, HELLO, None).await, StatusCode::OK).unwrap();
        for piece in pieces {
            recording.push(piece);
        }
        recording.finish();
    }

    /// The value of one series.
    pub(super) fn count(&self, series: &str) -> u64 {
        let text = self.metrics.encode(&Fleet::new(vec![], vec![], None), Standing::default());
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
    }
}

fn record(lookup: Lookup, status: StatusCode) -> Option<Recording> {
    let Lookup::Miss(slot) = lookup else { panic!("not a miss") };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    slot.record(status, &headers, "m@p")
}

#[tokio::test]
async fn the_same_question_is_answered_with_the_same_bytes() {
    let (world, scope) = (World::new(None), scope("60s"));
    world.keep(&scope, &[&ANSWER[..10], &ANSWER[10..]]).await;
    let Lookup::Hit(hit) = world.ask(&scope, HELLO, None).await else { panic!("not a hit") };
    assert_eq!((&hit.entry.body[..], &*hit.entry.deployment, hit.tier), (ANSWER, "m@p", Tier::Memory));
    assert_eq!(hit.entry.headers[CONTENT_TYPE], "application/json");
    assert!(hit.age < Duration::from_secs(10));
    assert!(matches!(world.ask(&scope, r#"{"messages":[]}"#, None).await, Lookup::Miss(_)));
    assert_eq!(world.count(r#"witgate_cache_lookups_total{result="hit",tier="memory"}"#), 1);
    assert_eq!(world.count(r#"witgate_cache_lookups_total{result="miss",tier="memory"}"#), 2);
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="stored"}"#), 1);
}

#[tokio::test]
async fn another_tenant_never_gets_the_answer() {
    let (world, scope) = (World::new(None), scope("60s"));
    world.keep(&scope, &[ANSWER]).await;
    let headers = HeaderMap::new();
    let question = Question {
        scope: Some(&scope),
        tenant: "somebody else",
        endpoint: Endpoint::Chat,
        model: "m",
        headers: &headers,
        body: HELLO.as_bytes(),
    };
    assert!(matches!(world.cache.look(question).await, Lookup::Miss(_)));
    assert!(matches!(world.cache.look(Question { tenant: "t", ..question }).await, Lookup::Hit(_)));
    // A route that is not cached has nothing to do with any of it.
    assert!(matches!(world.cache.look(Question { scope: None, ..question }).await, Lookup::Bypass));
}

#[tokio::test]
async fn an_answers_time_ends() {
    let (world, scope) = (World::new(None), scope("300ms"));
    world.keep(&scope, &[ANSWER]).await;
    assert!(world.found(&scope).await.is_some());
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(world.found(&scope).await, None);
}

#[tokio::test]
async fn an_answer_that_did_not_end_well_is_not_kept() {
    let (world, scope) = (World::new(None), scope("60s"));
    let limited = br#"{"choices":[{"finish_reason":"length"}]}"#;
    world.keep(&scope, &[limited]).await;
    // The client went away, or the stream was cut.
    let mut cut = record(world.ask(&scope, HELLO, None).await, StatusCode::OK).unwrap();
    cut.push(ANSWER);
    drop(cut);
    assert!(record(world.ask(&scope, HELLO, None).await, StatusCode::CREATED).is_none());
    assert_eq!(world.found(&scope).await, None);
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="not-kept"}"#), 3);
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="stored"}"#), 0);
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    let (world, scope) = (World::new(None), scope("60s"));
    let blanks = vec![b' '; 1000 - ANSWER.len()];
    world.keep(&scope, &[ANSWER, &blanks, b" "]).await;
    assert_eq!(world.found(&scope).await, None);
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="too-large"}"#), 1);
    world.keep(&scope, &[ANSWER, &blanks]).await;
    assert_eq!(world.found(&scope).await.map(|(body, _)| body.len()), Some(1000));
}

#[tokio::test]
async fn a_client_decides_for_itself() {
    let (world, scope) = (World::new(None), scope("60s"));
    assert!(matches!(world.ask(&scope, HELLO, Some("no-store")).await, Lookup::Bypass));
    world.keep(&scope, &[ANSWER]).await;
    assert!(matches!(world.ask(&scope, HELLO, Some("no-store")).await, Lookup::Hit(_)));
    assert!(matches!(world.ask(&scope, HELLO, Some("no-cache")).await, Lookup::Miss(_)));
    assert!(matches!(world.ask(&scope, HELLO, Some("no-cache, no-store")).await, Lookup::Bypass));
    assert!(matches!(world.ask(&scope, HELLO, Some("max-age=60")).await, Lookup::Hit(_)));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(matches!(world.ask(&scope, HELLO, Some("max-age=0")).await, Lookup::Miss(_)));
}

#[tokio::test]
async fn a_request_that_leaves_something_behind_is_let_past() {
    let (world, scope) = (World::new(None), scope("60s"));
    assert!(matches!(world.ask(&scope, r#"{"store":true}"#, None).await, Lookup::Bypass));
    assert_eq!(world.count(r#"witgate_cache_lookups_total{result="bypass",tier="memory"}"#), 1);
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_told_without_the_password() {
    let redis = config::Redis {
        url: config::Secret::new("redis://:hunter2@host:port"),
        timeout: Duration::from_millis(50),
        prefix: "w:".to_owned(),
    };
    let config = config::Cache { memory: 0, largest: 0, default: config::RouteCache::Off, redis: Some(redis) };
    let error = Cache::new(&config, &Metrics::new()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "`cache.redis.url` cannot be used: Redis URL did not parse - InvalidClientConfig. Write \
         `redis://host:6379` or `rediss://host:6379`"
    );
}
