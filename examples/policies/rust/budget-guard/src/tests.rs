//! The policy as the host sees it.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use witgate_sdk::testing::{self, Loaded};

const ACME: f64 = 1.0;
const HOUR: f64 = 3_600_000.0;

fn guard() -> Loaded<BudgetGuard> {
    testing::load(r#"{"usd": 10, "period": "hour"}"#, &["dear@a", "cheap@b"]).unwrap()
}

fn spend(guard: &Loaded<BudgetGuard>, usd: f64) {
    guard.observe(&[("tenant", ACME), ("usd", usd)]).unwrap();
}

fn at(guard: &Loaded<BudgetGuard>, now_ms: f64) -> Verdict {
    let ask = guard.ask().fact("tenant", ACME).signal("usd-per-mtok-out", &[9.0, 1.0]);
    ask.at(now_ms).route().unwrap()
}

#[test]
fn a_tenant_is_free_then_thrifty_then_stopped_until_the_next_period() {
    let guard = guard();
    assert_eq!(at(&guard, 0.0), Verdict::Abstain);
    spend(&guard, 7.9);
    assert_eq!(at(&guard, 1.0), Verdict::Abstain);
    spend(&guard, 0.1);
    assert_eq!(at(&guard, 2.0), Plan::to(1).because(guard.policy().thrifty).into());
    spend(&guard, 2.0);
    let stopped = Rejection::new(429, guard.policy().spent).retry_after(HOUR - 3.0);
    assert_eq!(at(&guard, 3.0), stopped.into());
    assert_eq!(at(&guard, HOUR), Verdict::Abstain);
}

#[test]
fn a_label_of_the_key_goes_before_the_setting() {
    let guard = guard();
    spend(&guard, 50.0);
    testing::set_tenant_label(ACME as u32, "budget_usd", "100");
    assert_eq!(at(&guard, 1.0), Verdict::Abstain);
    testing::set_tenant_label(ACME as u32, "budget_usd", "plenty");
    assert!(matches!(at(&guard, 1.0), Verdict::Reject(_)));
}

#[test]
fn tenants_beyond_the_ledger_are_not_guarded() {
    assert_eq!((Account::of(4095.0).is_some(), Account::of(4096.0), Account::of(-1.0)), (true, None, None));
}
