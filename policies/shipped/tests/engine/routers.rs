//! The shipped routers.

use serde_json::json;
use witgate_core::decision::StartRule;
use witgate_core::deployment::{Deployment, Price};
use witgate_core::facts::Report;
use witgate_core::live::Millis;
use witgate_core::plan::Decision;
use witgate_core::vocabulary::Fact;

use crate::world::{World, deployment, pick, picked};

fn three() -> World {
    World::new([deployment("m@a"), deployment("m@b"), deployment("m@c")])
}

#[test]
fn in_order_plans_the_candidates_one_after_the_other() {
    let world = three();
    let offer = world.offer(&[]);
    let policy = world.bind("in-order", json!({"attempts": 2}));
    let Decision::Run(plan) = policy.route(&offer, &offer.candidates, None).unwrap() else { panic!("no plan") };
    let attempts: Vec<_> = plan.attempts.iter().map(|attempt| (attempt.target, attempt.start)).collect();
    assert_eq!(attempts, [(0, StartRule::AtOnce), (1, StartRule::OnFailure)]);
    assert_eq!(plan.reason.as_deref(), Some("configured order"));
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let world = three();
    let (policy, offer) = (world.bind("round-robin", json!({})), world.offer(&[]));
    let turns: Vec<u32> = (0..6).map(|seed| pick(&policy, &offer, seed)).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);

    let heavy = Deployment { weight: 2.0, ..deployment("m@a") };
    let world = World::new([heavy, deployment("m@b")]);
    let (policy, offer) = (world.bind("round-robin", json!({})), world.offer(&[]));
    let turns: Vec<u32> = (0..6).map(|seed| pick(&policy, &offer, seed)).collect();
    assert_eq!(turns, [0, 1, 0, 0, 1, 0]);
}

#[test]
fn least_loaded_counts_tokens_or_requests() {
    let world = three();
    let _long = world.busy(0, 1, 9000);
    let _short = world.busy(1, 3, 100);
    let _both = world.busy(2, 4, 5000);
    let offer = world.offer(&[]);
    assert_eq!(picked(&world.bind("least-loaded", json!({})), &offer), [1]);
    assert_eq!(picked(&world.bind("least-loaded", json!({"measure": "requests"})), &offer), [0]);
}

#[test]
fn least_loaded_prefers_who_is_ready_if_it_is_told_to() {
    let world = three();
    let _load = world.busy(2, 1, 900);
    let report = |loaded, free_slots| Report { loaded, free_slots, running: Some(0.0), ..Report::default() };
    world.live(0).report(report(Some(false), None), Millis(u64::MAX));
    world.live(1).report(report(Some(true), Some(0.0)), Millis(u64::MAX));
    world.live(2).report(report(Some(true), Some(2.0)), Millis(u64::MAX));
    let offer = world.offer(&[]);
    assert_eq!(picked(&world.bind("least-loaded", json!({"prefer_ready": true})), &offer), [2]);
    assert_eq!(picked(&world.bind("least-loaded", json!({})), &offer), [0, 1]);
}

#[test]
fn best_score_takes_the_best_rated_and_without_scores_the_least_loaded() {
    let world = three();
    let _load = [world.busy(0, 1, 900), world.busy(1, 3, 200)];
    let offer = world.offer(&[]);
    let policy = world.bind("best-score", json!({}));
    let rated = |settings, scores: [f64; 3]| {
        let policy = world.bind("best-score", settings);
        let Decision::Run(plan) = policy.route(&offer, &offer.candidates, Some(&scores)).unwrap() else {
            panic!("no plan")
        };
        (plan.attempts[0].target, plan.reason.as_deref().map(str::to_owned))
    };
    let reason = |text: &str| Some(text.to_owned());
    assert_eq!(rated(json!({}), [0.9, 0.8, 0.1]), (0, reason("best score")));
    assert_eq!(rated(json!({"tolerance": 0.1}), [0.9, 0.8, 0.1]), (1, reason("least loaded of the best scores")));
    let least_loaded = world.bind("least-loaded", json!({}));
    for seed in 0..32 {
        assert_eq!(pick(&policy, &offer, seed), pick(&least_loaded, &offer, seed));
    }
    assert_eq!(picked(&policy, &offer), [2]);
}

#[test]
fn peak_ewma_never_picks_the_slowest() {
    let world = three();
    world.served(0, 5, 2000);
    world.served(1, 5, 100);
    world.served(2, 5, 150);
    let offer = world.offer(&[]);
    assert_eq!(picked(&world.bind("peak-ewma", json!({})), &offer), [1, 2]);
    assert_eq!(picked(&world.bind("peak-ewma", json!({"compare": "all"})), &offer), [1]);
}

#[test]
fn usage_based_takes_the_candidate_with_the_most_room() {
    let limited = |id, tpm| Deployment { tpm: Some(tpm), ..deployment(id) };
    let world = World::new([limited("m@a", 1000), limited("m@b", 100_000)]);
    let _running = (world.busy(0, 1, 300), world.busy(1, 1, 40_000));
    let policy = world.bind("usage-based", json!({}));
    // 700 of 1,000 are left here, 60,000 of 100,000 there
    assert_eq!(picked(&policy, &world.offer(&[(Fact::PromptTokens, 100.0)])), [0]);
    assert_eq!(picked(&policy, &world.offer(&[(Fact::PromptTokens, 900.0)])), [1]);
}

#[test]
fn cheapest_goes_by_the_size_of_the_request() {
    let priced =
        |id, input, output| Deployment { price: Some(Price { input, output, ..Price::default() }), ..deployment(id) };
    let world = World::new([priced("m@a", 1.0, 10.0), priced("m@b", 3.0, 4.0)]);
    let policy = world.bind("cheapest", json!({}));
    assert_eq!(picked(&policy, &world.offer(&[(Fact::PromptTokens, 10_000.0)])), [0]);
    assert_eq!(picked(&policy, &world.offer(&[(Fact::PromptTokens, 100.0)])), [1]);
}

#[test]
fn latency_takes_the_less_loaded_of_the_fastest() {
    let world = three();
    world.served(0, 50, 100);
    world.served(1, 50, 100);
    world.served(2, 50, 900);
    let _running = world.busy(0, 2, 10);
    let offer = world.offer(&[]);
    assert_eq!(picked(&world.bind("latency", json!({"metric": "ttft-ewma-ms"})), &offer), [1]);
    assert_eq!(picked(&world.bind("latency", json!({})), &offer), [1]);
    assert_eq!(picked(&world.bind("latency", json!({"metric": "ttft-ewma-ms", "tolerance": 10})), &offer), [1, 2]);
}
