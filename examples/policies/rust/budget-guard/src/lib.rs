//! Keeps each tenant to a budget: thrifty when it comes near, closed when it is spent.
//!
//! It stands first in a route's chain and has no opinion while there is money, so that the next policy decides. What a
//! request has cost is known when it has ended, so requests that run together can pass the budget by what they cost.

mod ledger;

use serde::Deserialize;
use witgate_sdk::*;

use ledger::{Account, Ledger};

struct BudgetGuard {
    settings: Settings,
    ledger: Ledger,
    tenant: Fact,
    price: Signal,
    spender: Field,
    usd: Field,
    thrifty: Reason,
    spent: Reason,
}

#[derive(Deserialize)]
struct Settings {
    usd: f64,
    #[serde(default)]
    period: Period,
    #[serde(default = "four_fifths")]
    thrifty_from: f64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Period {
    Hour,
    #[default]
    Day,
}

impl Period {
    const fn millis(self) -> f64 {
        match self {
            Self::Hour => 3_600_000.0,
            Self::Day => 86_400_000.0,
        }
    }
}

impl Policy for BudgetGuard {
    const ABOUT: About = About::new("budget-guard", "1.0.0", "Keeps each tenant to a budget.")
        .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let settings: Settings = setup.settings()?;
        Ok(Self {
            ledger: Ledger::open(settings.period.millis())?,
            settings,
            tenant: setup.fact("tenant"),
            price: setup.signal("usd-per-mtok-out"),
            spender: setup.outcome("tenant"),
            usd: setup.outcome("usd"),
            thrifty: setup.reason("budget nearly spent: the cheapest"),
            spent: setup.reason("the budget of this period is spent"),
        })
    }
}

impl Router for BudgetGuard {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let tenant = ask.fact(self.tenant);
        let Some(account) = Account::of(tenant) else { return Ok(Verdict::Abstain) };
        let now_ms = ask.request.now_ms;
        let share = self.ledger.spent(account, now_ms) / self.budget(tenant);
        if share >= 1.0 {
            let wait_ms = self.ledger.until_next_period(now_ms);
            return Ok(Rejection::new(429, self.spent).retry_after(wait_ms).into());
        }
        if share < self.settings.thrifty_from {
            return Ok(Verdict::Abstain);
        }
        let price = ask.signal(self.price);
        let cheapest = choose::lowest(price.len(), |row| price[row]);
        Ok(Plan::to(ask.candidates()[cheapest]).because(self.thrifty).into())
    }
}

impl Observer for BudgetGuard {
    fn observe(&self, outcomes: &Outcomes) -> Result<(), String> {
        let (tenants, usd) = (outcomes.field(self.spender), outcomes.field(self.usd));
        for (tenant, usd) in tenants.iter().zip(usd) {
            if let Some(account) = Account::of(*tenant) {
                self.ledger.book(account, *usd);
            }
        }
        Ok(())
    }
}

impl BudgetGuard {
    fn budget(&self, tenant: f64) -> f64 {
        let own = names::tenant_label(tenant, "budget_usd").and_then(|text| text.parse().ok());
        own.filter(|usd: &f64| usd.is_finite() && *usd > 0.0).unwrap_or(self.settings.usd)
    }
}

const fn four_fifths() -> f64 {
    0.8
}

register!(BudgetGuard: router, observer);

#[cfg(test)]
mod tests;
