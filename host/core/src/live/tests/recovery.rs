//! Three deployments behind the default router and the prober, of which one gets into trouble: how soon it has its part
//! of the requests again once the trouble is over, and what it gets while it lasts. Clock and randomness are the test's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::breaker::{BreakerRules, BreakerState};
use crate::dice::Dice;

/// What the first deployment does to a request that has come while it is in trouble.
#[derive(Clone, Copy)]
struct Trouble {
    /// Of its requests fail.
    failing: f64,
    /// Times as slow are the others.
    slower: u64,
    /// How long a failure takes.
    failure: u64,
    /// Of its probes fail.
    bad_probes: f64,
}

/// How it was for the deployment in trouble.
#[derive(Debug)]
struct Told {
    /// From the end of the trouble to the end of the first second in which it had half of its fair part.
    back: Option<u64>,
    /// Of all attempts made during the trouble, from its tenth second on.
    share: f64,
}

struct World {
    lives: Vec<Arc<Live>>,
    usual: [u64; 3],
    running: BinaryHeap<Reverse<(u64, usize)>>,
    attempts: Vec<Option<(usize, InFlight, Outcome)>>,
    begun: Vec<(u64, usize)>,
    dice: Dice,
}

impl World {
    fn new(usual: [u64; 3], seed: u64) -> Self {
        let lives: Vec<Arc<Live>> = (0..3).map(|_| Arc::default()).collect();
        lives.iter().for_each(|live| live.set_breaker_rules(BreakerRules::default()));
        let dice = Dice::new(seed);
        Self { lives, usual, running: BinaryHeap::new(), attempts: Vec::new(), begun: Vec::new(), dice }
    }

    /// A minute without trouble, so long with it, and half a minute after it.
    fn run(mut self, a_second: f64, lasts: u64, trouble: Trouble) -> Told {
        let (begin, end) = (MINUTE, MINUTE + lasts);
        let is = |now: u64| (begin..end).contains(&now).then_some(trouble);
        let (mut asked, mut due) = ([0; 3], 0.0);
        for now in 0..end + MINUTE / 2 {
            while let Some(Reverse((at, number))) = self.running.peek().copied().filter(|next| next.0.0 <= now) {
                self.running.pop();
                let Some((target, attempt, outcome)) = self.attempts[number].take() else { continue };
                attempt.finish(&outcome, Millis(at));
                // resilient: elsewhere, at once
                if outcome.failure.is_some() {
                    self.begin(now, Some(target), is(now));
                }
            }
            if now % 100 == 0 {
                self.probe(now, &mut asked, is(now));
            }
            while due <= now as f64 {
                self.begin(now, None, is(now));
                due -= self.dice.unit().max(1e-9).ln() / a_second * 1000.0;
            }
        }
        let share = |from: u64, to: u64| {
            let within = self.begun.iter().filter(|(at, _)| (from..to).contains(at));
            let (first, all) = within.fold((0, 0), |(first, all), (_, to)| (first + usize::from(*to == 0), all + 1));
            first as f64 / all.max(1) as f64
        };
        let back = (0..MINUTE / 2).step_by(100).find(|since| share(end + since, end + since + 1_000) > 1.0 / 6.0);
        Told { back: back.map(|since| since + 1_000), share: share(begin + 10_000, end) }
    }

    /// As the gateway does it, with the usual intervals.
    fn probe(&mut self, now: u64, asked: &mut [u64; 3], trouble: Option<Trouble>) {
        for (target, live) in self.lives.iter().enumerate() {
            if live.is_doubtful(INTERVAL, Millis(now)) && now >= asked[target] + 3_000 {
                asked[target] = now;
                let bad = target == 0 && trouble.is_some_and(|trouble| self.dice.unit() < trouble.bad_probes);
                live.probed(!bad, Millis(now));
            }
        }
    }

    /// As `health` and `peak-ewma` do it.
    fn begin(&mut self, now: u64, not: Option<usize>, trouble: Option<Trouble>) {
        let at = Millis(now);
        let state = |target: usize| self.lives[target].breaker_state(at);
        let trial = (0..3).find(|target| not.is_none() && state(*target) == BreakerState::HalfOpen);
        let target = if let Some(trial) = trial {
            trial
        } else {
            let well: Vec<usize> =
                (0..3).filter(|target| Some(*target) != not && state(*target) == BreakerState::Closed).collect();
            let one = (self.dice.unit() * well.len() as f64) as usize;
            let other = (one + 1 + (self.dice.unit() * (well.len() - 1) as f64) as usize) % well.len();
            if self.cost(well[other], at) < self.cost(well[one], at) { well[other] } else { well[one] }
        };
        let trouble = trouble.filter(|_| target == 0);
        let usual = (self.usual[target] as f64 * (0.8 + 0.4 * self.dice.unit())) as u64;
        let fails = trouble.is_some_and(|trouble| self.dice.unit() < trouble.failing);
        let takes = match trouble {
            Some(trouble) if fails => trouble.failure,
            Some(trouble) => usual * trouble.slower,
            None => usual,
        };
        let outcome = if fails { failed(FailureKind::FirstByteTimeout, None) } else { served(takes, takes, 9) };
        let attempt = self.lives[target].begin(0, at);
        self.running.push(Reverse((now + takes, self.attempts.len())));
        self.attempts.push(Some((target, attempt, outcome)));
        self.begun.push((now, target));
    }

    fn cost(&self, target: usize, now: Millis) -> f64 {
        let live = &self.lives[target];
        let warm = live.warm_up(now).max(0.1);
        live.ttft_peak_ms(now).max(1.0) * f64::from(live.in_flight() + 1) / warm
    }
}

const MINUTE: u64 = 60_000;
const INTERVAL: Duration = Duration::from_secs(3);
const BROWN: Trouble = Trouble { failing: 0.5, slower: 40, failure: 5, bad_probes: 0.5 };
/// What probes see nothing of.
const HIDDEN: Trouble = Trouble { bad_probes: 0.0, ..BROWN };
const SLOW: Trouble = Trouble { failing: 0.0, ..HIDDEN };
const HUNG: Trouble = Trouble { failing: 1.0, slower: 1, failure: 1_000, bad_probes: 1.0 };

#[test]
fn whoever_was_in_trouble_is_back_within_ten_seconds() {
    for (name, trouble) in [("brown", BROWN), ("hidden", HIDDEN), ("slow", SLOW), ("hung", HUNG)] {
        for (usual, a_second) in [([10; 3], 100.0), ([500; 3], 20.0), ([300, 600, 600], 20.0)] {
            let trouble = Trouble { slower: trouble.slower.min(4_000 / usual[0]), ..trouble };
            for (seed, lasts) in [(0, 15_000), (1, 15_000), (2, 15_000), (3, 5 * MINUTE)] {
                let told = World::new(usual, seed).run(a_second, lasts, trouble);
                // what was sent before the end must come back first
                let limit = 10_000 + usual[0] * trouble.slower;
                assert!(
                    told.back.is_some_and(|back| back < limit),
                    "{name}, {usual:?} at {a_second}/s for {lasts} ms, seed {seed}: {told:?}"
                );
            }
        }
    }
}

#[test]
fn trouble_is_looked_at_and_no_more() {
    for (trouble, a_second, most) in [(BROWN, 100.0, 0.01), (HIDDEN, 100.0, 0.01), (SLOW, 20.0, 0.03), (SLOW, 2.0, 0.1)]
    {
        let told = World::new([500; 3], 1).run(a_second, 5 * MINUTE, trouble);
        assert!(told.share < most, "{told:?} at {a_second}/s");
    }
}

#[test]
fn one_that_has_always_been_slow_is_not_taken_to_be_in_trouble() {
    let nothing = Trouble { failing: 0.0, slower: 1, failure: 0, bad_probes: 0.0 };
    let told = World::new([8_000, 400, 400], 1).run(10.0, 5 * MINUTE, nothing);
    assert!(told.share < 0.01, "{told:?}");
}
