//! Numbers of policies that several gateways share through a real Redis.

use serde_json::json;
use witgate_tests::client::Request;
use witgate_tests::gateway::Builder;
use witgate_tests::redis::{Redis, free_address};
use witgate_tests::{CHAT, Gateway, eventually, gateway, guests};

use crate::program::Serving;

#[tokio::test]
async fn what_gateways_count_becomes_one_number() {
    let redis = Redis::start().await;
    for (merge, (first, second), merged) in [("sum", (40, 2), 42), ("max", (40, 2), 40), ("newest", (40, 2), 2)] {
        let (a, b) = (sharing(&redis, merge).start().await, sharing(&redis, merge).start().await);
        assert_eq!(tell(&a, Some(first)).await, first, "{merge}: at once for itself");
        if merge == "newest" {
            eventually("b hears of it", async || tell(&b, None).await == first).await;
        }
        tell(&b, Some(second)).await;
        for gateway in [&a, &b] {
            eventually(merge, async || tell(gateway, None).await == merged).await;
        }
        // a gateway that comes later finds it
        let late = sharing(&redis, merge).start().await;
        eventually("it finds the number", async || tell(&late, None).await == merged).await;
        assert!(a.metric("witgate_fleet_cells_exchanges_total{result=\"ok\"}").await >= 1.0);
        // and what is counted last is not lost when the gateway ends
        if merge == "sum" {
            tell(&late, Some(8)).await;
            late.stop().await;
            eventually("the others hear of it", async || tell(&a, None).await == 50).await;
        }
    }
}

#[tokio::test]
async fn without_redis_each_gateway_goes_on_and_nothing_is_lost() {
    let mut redis = Redis::start().await;
    let a = sharing(&redis, "sum").start().await;
    let folder = sharing(&redis, "sum").write();
    let b = Serving::start(&folder).await;
    let b_tells = async |more| number(b.request("POST", CHAT), more).await;
    tell(&a, Some(10)).await;
    eventually("b hears of it", async || b_tells(None).await == 10).await;

    redis.kill();
    let failed = async || a.metric("witgate_fleet_cells_exchanges_total{result=\"failed\"}").await;
    eventually("it is counted", async || failed().await >= 2.0).await;
    assert_eq!((tell(&a, Some(5)).await, b_tells(Some(7)).await), (15, 17));

    // it has forgotten everything
    redis.restart().await;
    for _ in 0..2 {
        eventually("a", async || tell(&a, None).await == 22).await;
        eventually("b", async || b_tells(None).await == 22).await;
    }
    eventually("the end is told", async || b.log().contains("the cells of the fleet are shared again")).await;
    let told = "the cells of the fleet are not shared for now; each gateway goes on with its own";
    assert_eq!(b.log().matches(told).count(), 1, "{}", b.log());
}

#[tokio::test]
async fn who_has_no_redis_is_told_how_to_share() {
    let refusal = alone("sum").try_start().await.err().unwrap();
    assert!(
        refusal.ends_with(
            "it refuses its configuration: table `number` cannot be shared by the fleet: this gateway has no shared store; \
             configure `cache.redis`, or open it with scope `process`"
        ),
        "{refusal}"
    );
}

/// Its only route is decided by the policy `fleet`; nobody listens at its upstream, and nobody is asked.
fn alone(merge: &str) -> Builder {
    let policy = json!([{"use": "fleet", "settings": {"merge": merge}}]);
    gateway().model_at("fast", &[free_address()]).policy_file("fleet", guests::FLEET).config(json!({
        "routes": {"fast": {"policies": policy}},
        "policies": {"rules": {"fleet": {"grants": ["fleet-cells"]}}},
    }))
}

fn sharing(redis: &Redis, merge: &str) -> Builder {
    alone(merge).config(json!({"cache": {"redis": {"url": redis.url()}}}))
}

/// The number after `more` of it.
async fn tell(gateway: &Gateway, more: Option<u64>) -> u64 {
    number(gateway.request("POST", CHAT), more).await
}

async fn number(request: Request, more: Option<u64>) -> u64 {
    let mut body = json!({"model": "fast", "messages": [{"role": "user", "content": "hi"}]});
    if let Some(more) = more {
        body["max_tokens"] = json!(more);
    }
    let answer = request.json(body.to_string()).send().await;
    answer.header("retry-after-ms").and_then(|wait| wait.parse::<u64>().ok()).expect("a number") - 1
}
