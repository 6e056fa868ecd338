//! How many attempts beyond the first the gateway may make: a share of the requests, and some more a second.
//!
//! When everything is down, every request fails and wants to be tried again; without a bound, retries multiply the
//! load on servers that can least bear it, and keep them down. Credit comes with every request and with every second, and
//! what is saved up is never more than what one window brings (after Finagle's retry budget), so a quiet night does not
//! pay for a storm. It is a bucket and no sliding sum: of a sum, what a storm took at once would be there again at once
//! a window later. A pure state machine: the time is given.

use std::collections::VecDeque;
use std::time::Duration;

use crate::live::Millis;

/// What a budget allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetRules {
    /// Of what comes in, 0 to 10.
    pub share: f64,
    /// And so much a second besides, so that a gateway without much traffic may retry at all.
    pub per_second: f64,
    /// How long what came in, and the seconds, count.
    pub window: Duration,
    /// So much may be taken out within any window, whatever the traffic.
    pub least: f64,
}

/// What may be taken out, and what came in and was taken out within the window.
#[derive(Clone, Debug)]
pub struct Budget {
    rules: BudgetRules,
    slots: VecDeque<Slot>,
    /// What is saved up; below 0 after the least was taken out although there was not so much.
    saved: f64,
    /// When it was reckoned up last.
    at: Millis,
}

/// A tenth of the window.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    came: f64,
    taken: f64,
}

impl Budget {
    /// A budget into which nothing has come yet but the window's seconds.
    pub fn new(rules: BudgetRules) -> Self {
        let slots = VecDeque::with_capacity(SLOTS as usize + 1);
        Self { saved: reserve(&rules), rules, slots, at: Millis(0) }
    }

    /// Other rules from now on; what came and what was taken still counts.
    pub fn set_rules(&mut self, rules: BudgetRules) {
        if rules.window != self.rules.window {
            self.slots.clear();
        }
        // More a second is there at once, as it is at the start.
        self.saved += (reserve(&rules) - reserve(&self.rules)).max(0.0);
        self.rules = rules;
    }

    /// So much came in: requests, or their tokens.
    pub fn came(&mut self, amount: f64, now: Millis) {
        self.slot(now).came += amount;
        self.saved += amount * self.rules.share;
        self.reckon(now);
    }

    /// Takes so much out, if there is enough; says whether there was.
    pub fn take(&mut self, amount: f64, now: Millis) -> bool {
        let enough = self.left(now) >= amount;
        if enough {
            self.slot(now).taken += amount;
            self.saved = (self.saved - amount).max(-self.rules.least);
        }
        enough
    }

    /// What could be taken out now; never below 0.
    pub fn left(&mut self, now: Millis) -> f64 {
        self.reckon(now);
        let taken: f64 = self.slots.iter().map(|slot| slot.taken).sum();
        let left = self.saved.max(self.rules.least - taken).max(0.0);
        // A sum of many fifths is a little less or more than whole.
        (left * 1e6).round() / 1e6
    }

    /// Adds what the time since the last reckoning brought, and takes away what is older than the window.
    fn reckon(&mut self, now: Millis) {
        self.forget(now);
        let came: f64 = self.slots.iter().map(|slot| slot.came).sum();
        let most = (came * self.rules.share + reserve(&self.rules)).max(self.rules.least);
        self.saved = (self.saved + now.since(self.at) / 1000.0 * self.rules.per_second).min(most);
        self.at = self.at.max(now);
    }

    fn slot(&mut self, now: Millis) -> &mut Slot {
        let number = self.number(now);
        self.forget(now);
        // Workers read the clock before they take the lock, so a slot may be asked for that is not the last.
        if self.slots.back().is_none_or(|last| last.number < number) {
            self.slots.push_back(Slot { number, came: 0.0, taken: 0.0 });
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last]
    }

    fn forget(&mut self, now: Millis) {
        let number = self.number(now);
        while self.slots.front().is_some_and(|slot| slot.number + SLOTS <= number) {
            self.slots.pop_front();
        }
    }

    fn number(&self, now: Millis) -> u64 {
        let window = u64::try_from(self.rules.window.as_millis()).unwrap_or(u64::MAX);
        now.0 / (window / SLOTS).max(1)
    }
}

/// What the seconds of a window bring.
fn reserve(rules: &BudgetRules) -> f64 {
    rules.per_second * rules.window.as_secs_f64()
}

const SLOTS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BudgetRules =
        BudgetRules { share: 0.2, per_second: 10.0, window: Duration::from_secs(10), least: 0.0 };

    fn taken(budget: &mut Budget, wanted: u32, now: u64) -> u32 {
        (0..wanted).map(|_| u32::from(budget.take(1.0, Millis(now)))).sum()
    }

    #[test]
    fn without_traffic_there_is_the_reserve_and_no_more() {
        let mut budget = Budget::new(RULES);
        assert_eq!(budget.left(Millis(0)), 100.0);
        assert_eq!(taken(&mut budget, 101, 0), 100);
        // it comes back second by second
        assert_eq!(budget.left(Millis(1_500)), 15.0);
        assert_eq!(taken(&mut budget, 99, 9_500), 95);
        assert_eq!(budget.left(Millis(60_000)), 100.0);
    }

    #[test]
    fn requests_add_their_share_for_the_window() {
        let mut budget = Budget::new(BudgetRules { per_second: 0.0, ..RULES });
        (0..50).for_each(|_| budget.came(1.0, Millis(500)));
        assert_eq!(taken(&mut budget, 20, 900), 10);
        let mut unused = Budget::new(BudgetRules { per_second: 0.0, ..RULES });
        (0..50).for_each(|_| unused.came(1.0, Millis(500)));
        assert_eq!((unused.left(Millis(9_999)), unused.left(Millis(10_000))), (10.0, 0.0));
    }

    #[test]
    fn with_everything_down_a_fifth_and_ten_a_second_are_retried() {
        let mut budget = Budget::new(RULES);
        let (mut requests, mut retries) = (0_u32, 0_u32);
        // 200 requests a second for a minute; each wants three retries
        for now in (0..60_000).step_by(5) {
            budget.came(1.0, Millis(now));
            requests += 1;
            retries += taken(&mut budget, 3, now);
        }
        let allowed = f64::from(requests) * 0.2 + 60.0 * 10.0;
        // the first window's reserve is there at once
        assert!(f64::from(retries) <= allowed + 100.0, "{retries} of {allowed}");
        assert!(f64::from(retries) >= allowed * 0.9, "{retries} of {allowed}");
    }

    #[test]
    fn after_the_first_window_no_stretch_of_time_gets_more_than_its_own_credit() {
        // everything has been well for a minute, and then is down for another; each request wants two retries
        let mut budget = Budget::new(RULES);
        let mut retries = Vec::new();
        for now in (0..120_000).step_by(5) {
            budget.came(1.0, Millis(now));
            retries.push(if now < 60_000 { 0 } else { taken(&mut budget, 2, now) });
        }
        let first_window = retries[12_000..14_000].iter().sum::<u32>();
        assert!((490..=1_000).contains(&first_window), "what was saved is there at once, and no more: {first_window}");
        for seconds in [1, 3, 10, 15, 25] {
            let requests = seconds * 200;
            let allowed = requests as f64 * 0.2 + seconds as f64 * 10.0 + 1.0;
            for stretch in retries[14_000..].windows(requests) {
                let retried = f64::from(stretch.iter().sum::<u32>());
                assert!(retried <= allowed, "{retried} retries within {seconds} s, where {allowed} are allowed");
            }
        }
    }

    #[test]
    fn the_least_is_there_whatever_the_traffic() {
        let hedges = BudgetRules { share: 0.02, per_second: 0.0, window: Duration::from_secs(60), least: 1.0 };
        let mut budget = Budget::new(hedges);
        assert_eq!(taken(&mut budget, 2, 0), 1);
        (0..100).for_each(|_| budget.came(1.0, Millis(1)));
        assert_eq!(taken(&mut budget, 2, 2), 1);
    }

    #[test]
    fn a_clock_that_is_a_moment_late_loses_nothing() {
        let mut budget = Budget::new(BudgetRules { per_second: 0.0, ..RULES });
        budget.came(5.0, Millis(2_000));
        budget.came(5.0, Millis(1_999));
        assert_eq!(budget.left(Millis(2_000)), 2.0);
    }
}
