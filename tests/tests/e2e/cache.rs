//! The response cache, in memory and in a real Redis.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::redis::{Redis, free_address};
use witgate_tests::{Answer, CHAT, DONE, Upstream, chat_body, chat_events, eventually, gateway, upstream};

const REQUEST: &str = r#"{"model":"fast","messages":[{"role":"user","content":"hi"}],"temperature":0}"#;

#[tokio::test]
async fn the_same_request_is_answered_from_memory_byte_by_byte() {
    let odd = r#"{ "n":1.0, "choices" :[{"finish_reason" : "stop","message":{"content":"h\u00e9"}} ]} "#;
    let a = upstream().body(odd).start().await;
    let gateway = caching(&[&a]).start().await;
    let miss = gateway.post(CHAT, REQUEST).send().await;
    assert_eq!((cached(&miss), miss.header("age")), (Some("miss"), None));
    let hit = gateway.post(CHAT, REQUEST).send().await;
    assert_eq!((cached(&hit), hit.status), (Some("hit"), 200));
    assert_eq!((hit.body_text(), hit.header("content-type")), (odd, miss.header("content-type")));
    assert!(hit.header("age").unwrap().parse::<u64>().unwrap() <= 30, "{hit:?}");
    assert_ne!(hit.header("x-request-id"), miss.header("x-request-id"));
    assert_eq!(a.hits(), 1);
    let lookups = async |result| {
        gateway.metric(&format!("witgate_cache_lookups_total{{result=\"{result}\",tier=\"memory\"}}")).await
    };
    assert_eq!((lookups("miss").await, lookups("hit").await), (1.0, 1.0));
}

#[tokio::test]
async fn a_stream_is_replayed_event_by_event() {
    let a = upstream().chat("one two").start().await;
    let gateway = caching(&[&a]).start().await;
    for expected in ["miss", "hit"] {
        let stream = gateway.stream("fast", "hi").await;
        assert_eq!(stream.head.header("x-witgate-cache"), Some(expected));
        assert_eq!(stream.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(stream.rest().await, chat_events("one two"));
    }
    // a stream is no answer to a request that asked for none
    let whole = gateway.chat("fast", "hi").await;
    assert_eq!((cached(&whole), whole.text()), (Some("miss"), "one two".to_owned()));
    assert_eq!(a.hits(), 2);
}

#[tokio::test]
async fn any_field_that_differs_is_a_miss_and_the_order_of_keys_is_not() {
    let a = upstream().start().await;
    let gateway = caching(&[&a]).start().await;
    gateway.post(CHAT, REQUEST).send().await;
    let same = r#"{ "temperature":0, "messages":[{"content":"h\u0069","role":"user"}],"model":"fast"}"#;
    assert_eq!(cached(&gateway.post(CHAT, same).send().await), Some("hit"));
    for (from, to) in [
        ("\"hi\"", "\"hi \""),
        ("\"user\"", "\"system\""),
        ("0}", "0.0}"),
        ("0}", "0,\"seed\":1}"),
        ("0}", "0,\"unknown\":null}"),
        ("0}", "0,\"stream\":false}"),
        ("}]", "},{\"role\":\"user\",\"content\":\"hi\"}]"),
    ] {
        let other = REQUEST.replace(from, to);
        assert_eq!(cached(&gateway.post(CHAT, other.as_str()).send().await), Some("miss"), "{other}");
    }
}

#[tokio::test]
async fn tenants_are_kept_apart_and_keys_of_one_tenant_are_not() {
    let a = upstream().start().await;
    let keys = json!({"auth": {"keys": [
        {"name": "ann", "key": "sk-ann", "tenant": "shop"},
        {"name": "bob", "key": "sk-bob", "tenant": "shop"},
        {"name": "eve", "key": "sk-eve", "tenant": "other"},
    ]}});
    let gateway = caching(&[&a]).config(keys).start().await;
    let ask = async |key: &str| {
        let answer = gateway.post(CHAT, REQUEST).header("x-api-key", key).send().await;
        cached(&answer).map(str::to_owned)
    };
    assert_eq!(ask("sk-ann").await.as_deref(), Some("miss"));
    assert_eq!(ask("sk-bob").await.as_deref(), Some("hit"));
    assert_eq!(ask("sk-eve").await.as_deref(), Some("miss"));
}

#[tokio::test]
async fn errors_and_broken_answers_are_never_kept() {
    let a = upstream().start().await;
    let gateway = caching(&[&a]).config(json!({"providers": {"a": {"idle_timeout": "300ms"}}})).start().await;
    let first = &chat_events("ok")[0];
    let in_stream = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    for bad in [upstream().status(500), upstream().status(400), upstream().body("{\"error\":{\"message\":\"no\"}}")] {
        a.becomes(bad.clone());
        assert_ne!(gateway.post(CHAT, REQUEST).send().await.status, 200, "{bad:?}");
    }
    a.becomes(upstream());
    assert_eq!(cached(&gateway.post(CHAT, REQUEST).send().await), Some("miss"));
    for bad in [
        upstream().events([first.as_str()]).cut(),
        upstream().events([first.as_str()]),
        upstream().events([first.as_str()]).stall(),
        upstream().events([first.as_str(), in_stream]),
    ] {
        a.becomes(bad.clone());
        let stream = gateway.stream("fast", "hi").await;
        assert_eq!(stream.head.header("x-witgate-cache"), Some("miss"), "{bad:?}");
        let events = stream.rest().await;
        assert!(!events.contains(&DONE.to_owned()), "{events:?}");
    }
}

#[tokio::test]
async fn a_stream_that_the_client_left_is_not_kept() {
    let a = upstream().chat("one two three").by_permit().start().await;
    let gateway = caching(&[&a]).start().await;
    a.let_go(1);
    let mut left = gateway.stream("fast", "hi").await;
    left.event().await;
    drop(left);
    eventually("the upstream is let go", async || a.abandoned() == 1).await;
    a.becomes(upstream());
    assert_eq!(gateway.stream("fast", "hi").await.head.header("x-witgate-cache"), Some("miss"));
}

#[tokio::test]
async fn an_answer_that_a_limit_cut_short_is_not_kept() {
    let a = upstream().body(chat_body("ok").replace("\"stop\"", "\"length\"")).start().await;
    let gateway = caching(&[&a]).start().await;
    for _ in 0..2 {
        assert_eq!(cached(&gateway.post(CHAT, REQUEST).send().await), Some("miss"));
    }
}

#[tokio::test]
async fn routes_that_say_nothing_do_not_cache() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for _ in 0..2 {
        assert_eq!(cached(&gateway.post(CHAT, REQUEST).send().await), None);
    }
    assert_eq!(a.hits(), 2);
}

#[tokio::test]
async fn an_entry_s_time_ends() {
    let a = upstream().start().await;
    let short = json!({"routes": {"fast": {"cache": {"ttl": "300ms"}}}});
    let gateway = caching(&[&a]).config(short).start().await;
    gateway.post(CHAT, REQUEST).send().await;
    eventually("the entry is too old", async || {
        tokio::time::sleep(Duration::from_millis(350)).await;
        cached(&gateway.post(CHAT, REQUEST).send().await) == Some("miss")
    })
    .await;
}

#[tokio::test]
async fn an_answer_above_the_limit_is_not_kept() {
    let a = upstream().start().await;
    let gateway = caching(&[&a]).config(json!({"cache": {"largest": "1KiB"}})).start().await;
    for (length, expected) in [(1024, Some("hit")), (1025, Some("miss"))] {
        let answer = chat_body(&"x".repeat(length - chat_body("").len()));
        a.becomes(upstream().body(answer.as_str()));
        let request = REQUEST.replace("hi", &length.to_string());
        assert_eq!(gateway.post(CHAT, request.as_str()).send().await.body.len(), length);
        assert_eq!(cached(&gateway.post(CHAT, request.as_str()).send().await), expected, "{length}");
    }
}

#[tokio::test]
async fn the_client_may_decline_a_kept_answer() {
    let a = upstream().start().await;
    let gateway = caching(&[&a]).start().await;
    let ask = async |control: &str| {
        let answer = gateway.post(CHAT, REQUEST).header("cache-control", control).send().await;
        cached(&answer).map(str::to_owned)
    };
    assert_eq!(ask("no-store").await.as_deref(), Some("bypass"));
    assert_eq!(ask("max-age=0").await.as_deref(), Some("miss"));
    assert_eq!(ask("no-cache").await.as_deref(), Some("miss"));
    assert_eq!(ask("x").await.as_deref(), Some("hit"));
}

#[tokio::test]
async fn two_gateways_share_a_redis() {
    let redis = Redis::start().await;
    let a = upstream().chat("one two").start().await;
    let one = caching(&[&a]).config(shared(&redis.url())).start().await;
    let two = caching(&[&a]).config(shared(&redis.url())).start().await;
    let miss = one.post(CHAT, REQUEST).send().await;
    assert_eq!(cached(&miss), Some("miss"));
    let streamed = one.stream("fast", "hi").await.rest().await;
    // writing happens in the background
    let mut hit = None;
    eventually("the other gateway has it", async || {
        let answer = two.post(CHAT, REQUEST).send().await;
        let found = cached(&answer) == Some("hit");
        hit = Some(answer);
        found
    })
    .await;
    assert_eq!(hit.unwrap().body, miss.body);
    let stream = two.stream("fast", "hi").await;
    assert_eq!(stream.rest().await, streamed);
    assert!(two.metric(r#"witgate_cache_lookups_total{result="hit",tier="redis"}"#).await >= 1.0);
    assert_eq!(one.metric(r#"witgate_cache_lookups_total{result="hit",tier="redis"}"#).await, 0.0);
}

#[tokio::test]
async fn redis_going_down_costs_only_hits() {
    let mut redis = Redis::start().await;
    let a = upstream().start().await;
    let one = caching(&[&a]).config(shared(&redis.url())).start().await;
    let two = caching(&[&a]).config(shared(&redis.url())).start().await;
    one.post(CHAT, REQUEST).send().await;
    eventually("it is in Redis", async || cached(&two.post(CHAT, REQUEST).send().await) == Some("hit")).await;
    redis.kill();
    // what is in memory stays
    assert_eq!(cached(&one.post(CHAT, REQUEST).send().await), Some("hit"));
    for number in 0..20 {
        let request = REQUEST.replace("hi", &format!("question {number}"));
        for (gateway, expected) in [(&one, "miss"), (&one, "hit"), (&two, "miss")] {
            let answer = gateway.post(CHAT, request.as_str()).send().await;
            assert_eq!((answer.status, cached(&answer)), (200, Some(expected)), "{number}");
        }
    }
    assert!(two.metric(r#"witgate_cache_errors_total{kind="redis"}"#).await >= 1.0);
}

#[tokio::test]
async fn a_redis_that_never_was_there_fails_no_request_and_no_start() {
    let a = upstream().start().await;
    let nobody = format!("redis://{}", free_address());
    let gateway = caching(&[&a]).config(shared(&nobody)).start().await;
    assert_eq!(cached(&gateway.post(CHAT, REQUEST).send().await), Some("miss"));
    assert_eq!(cached(&gateway.post(CHAT, REQUEST).send().await), Some("hit"));
    gateway.stop().await;
}

fn caching(upstreams: &[&Upstream]) -> gateway::Builder {
    gateway().model("fast", upstreams.iter().copied()).config(json!({"routes": {"fast": {"cache": {"ttl": "10m"}}}}))
}

fn shared(url: &str) -> Value {
    // far above what it takes, so that a busy machine does not look like a Redis that is down
    json!({"cache": {"redis": {"url": url, "timeout": "5s"}}})
}

fn cached(answer: &Answer) -> Option<&str> {
    answer.header("x-witgate-cache")
}
