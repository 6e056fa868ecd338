//! Three deployments under load, with faults: how soon they are noticed, how soon they are forgotten, and what clients
//! see of them. The clock and the randomness are the test's own, so every run is the same.

use std::sync::Arc;

use super::*;
use crate::dice::Dice;
use crate::live::Live;
use crate::outcome::{Asked, Outcome};
use crate::vocabulary::Ending;

/// Share of a deployment's requests that fail, and whether its probes do, at a moment.
type Fault = fn(deployment: usize, now: u64) -> (f64, bool);

struct World {
    lives: Vec<Arc<Live>>,
    fault: Fault,
    dice: Dice,
    now: u64,
    requests: u32,
    attempts: u32,
    unanswered: u32,
    opened: Vec<(usize, u64)>,
    closed: Vec<(usize, u64)>,
}

impl World {
    fn new(fault: Fault, seed: u64) -> Self {
        let lives: Vec<Arc<Live>> = (0..3).map(|_| Arc::default()).collect();
        lives.iter().for_each(|live| live.set_breaker_rules(BreakerRules::default()));
        Self {
            lives,
            fault,
            dice: Dice::new(seed),
            now: 0,
            requests: 0,
            attempts: 0,
            unanswered: 0,
            opened: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Requests at this distance, in milliseconds, until the given moment.
    fn run(mut self, distance: u64, end: u64) -> Self {
        while self.now < end {
            if self.now.is_multiple_of(3_000) {
                self.probe();
            }
            self.request();
            self.now += distance;
        }
        self
    }

    /// Of those that are out.
    fn probe(&mut self) {
        for deployment in 0..self.lives.len() {
            let live = &self.lives[deployment];
            if live.breaker_state(Millis(self.now)) != BreakerState::Closed {
                let (_, probes_fail) = (self.fault)(deployment, self.now);
                live.probed(!probes_fail, Millis(self.now));
            }
        }
    }

    /// As the shipped policies do it: a half-open one is tried, an open one left out, a cold one spared, and a failure
    /// goes elsewhere.
    fn request(&mut self) {
        self.requests += 1;
        let mut tried = Vec::new();
        while tried.len() < self.lives.len() {
            let Some(target) = self.choose(&tried) else { break };
            tried.push(target);
            if self.attempt(target) {
                return;
            }
        }
        self.unanswered += 1;
    }

    fn choose(&mut self, tried: &[usize]) -> Option<usize> {
        let now = Millis(self.now);
        let untried: Vec<usize> = (0..self.lives.len()).filter(|target| !tried.contains(target)).collect();
        let state = |target: &usize| self.lives[*target].breaker_state(now);
        if let Some(trial) = untried.iter().find(|target| tried.is_empty() && state(target) == BreakerState::HalfOpen) {
            return Some(*trial);
        }
        let mut usable: Vec<usize> =
            untried.iter().copied().filter(|target| state(target) == BreakerState::Closed).collect();
        if usable.is_empty() {
            usable = untried;
        }
        let weights: Vec<f64> = usable.iter().map(|target| 0.1 + 0.9 * self.lives[*target].warm_up(now)).collect();
        let mut point = self.dice.unit() * weights.iter().sum::<f64>();
        usable.iter().zip(&weights).find_map(|(target, weight)| {
            point -= weight;
            (point < 0.0).then_some(*target)
        })
    }

    fn attempt(&mut self, target: usize) -> bool {
        self.attempts += 1;
        let (share, _) = (self.fault)(target, self.now);
        let fails = self.dice.unit() < share;
        let running = self.lives[target].begin(0, Millis(self.now));
        match running.finish(&outcome(fails), Millis(self.now)) {
            Some(Transition::Opened) => self.opened.push((target, self.now)),
            Some(Transition::Closed) => self.closed.push((target, self.now)),
            None => {}
        }
        !fails
    }
}

fn outcome(fails: bool) -> Outcome {
    Outcome {
        decision: 0,
        attempt: 0,
        target: 0,
        tag: 0,
        ending: if fails { Ending::Failed } else { Ending::Served },
        failure: fails.then_some(FailureKind::ServerError),
        status: if fails { 500 } else { 200 },
        retry_after: None,
        ttft: (!fails).then_some(Duration::from_millis(50)),
        latency: Duration::from_millis(50),
        tokens_in: 10,
        tokens_out: 10,
        cached_tokens: 0,
        cache_write_tokens: 0,
        reasoning_tokens: 0,
        usd: 0.0,
        asked: Asked::default(),
    }
}

const SEEDS: u64 = 8;
const MINUTE: u64 = 60_000;

#[test]
fn one_percent_of_noise_opens_nothing() {
    // 100 requests a second for half an hour, and 3 a second for four hours
    for (distance, end) in [(10, 30 * MINUTE), (333, 4 * 60 * MINUTE)] {
        let world = World::new(|_, _| (0.01, false), 1).run(distance, end);
        assert_eq!(world.opened, [], "{} requests", world.requests);
        assert_eq!(world.unanswered, 0);
    }
}

#[test]
fn a_brown_out_is_noticed_within_ten_seconds() {
    let half: Fault = |deployment, now| (if deployment == 1 && now >= MINUTE { 0.5 } else { 0.0 }, false);
    let third: Fault = |deployment, now| (if deployment == 1 && now >= MINUTE { 0.33 } else { 0.0 }, false);
    for (fault, distance) in [(half, 10), (third, 10), (half, 100)] {
        for seed in 0..SEEDS {
            let world = World::new(fault, seed).run(distance, 3 * MINUTE);
            let (deployment, at) = world.opened[0];
            assert_eq!(deployment, 1);
            assert!(at - MINUTE < 10_000, "noticed after {} ms, seed {seed}", at - MINUTE);
            assert!(world.opened.iter().all(|(deployment, _)| *deployment == 1), "{:?}", world.opened);
            assert_eq!(world.unanswered, 0);
        }
    }
}

#[test]
fn a_deployment_that_comes_back_is_used_again_within_ten_seconds() {
    // dead for a minute; the same, but its probes are blind to it; half of its requests fail for ten minutes
    let dead: Fault = |deployment, now| {
        let out = deployment == 2 && (MINUTE..2 * MINUTE).contains(&now);
        (if out { 1.0 } else { 0.0 }, out)
    };
    let blind: Fault =
        |deployment, now| (if deployment == 2 && (MINUTE..2 * MINUTE).contains(&now) { 1.0 } else { 0.0 }, false);
    let brown: Fault =
        |deployment, now| (if deployment == 2 && (MINUTE..11 * MINUTE).contains(&now) { 0.5 } else { 0.0 }, false);
    for (fault, ended) in [(dead, 2 * MINUTE), (blind, 2 * MINUTE), (brown, 11 * MINUTE)] {
        for seed in 0..SEEDS {
            let world = World::new(fault, seed).run(10, ended + 40_000);
            let (_, last_opened) = *world.opened.last().expect("the fault was noticed");
            assert!(last_opened < ended, "it opened at {last_opened} although the fault was over");
            let (_, back) = *world.closed.last().expect("it came back");
            assert!(back < ended + 10_000, "back after {} ms, seed {seed}", back.saturating_sub(ended));
            assert_eq!(world.unanswered, 0);
        }
    }
}

#[test]
fn one_of_three_that_is_down_costs_clients_nothing_and_upstreams_little() {
    let down: Fault = |deployment, _| (if deployment == 0 { 1.0 } else { 0.0 }, true);
    let world = World::new(down, 3).run(10, 10 * MINUTE);
    assert_eq!((world.unanswered, world.requests), (0, 60_000));
    let more = world.attempts - world.requests;
    assert!(more < 60, "{more} attempts too many");
}

#[test]
fn without_probes_it_comes_back_by_itself() {
    let mut world = World::new(|deployment, now| (if deployment == 0 && now < 20_000 { 1.0 } else { 0.0 }, false), 5);
    while world.now < MINUTE {
        world.request();
        world.now += 10;
    }
    let (_, back) = world.closed[0];
    assert!((30_000..31_000).contains(&back), "back after {back} ms");
}

#[test]
fn a_slow_start_raises_the_share_little_by_little() {
    let fault: Fault = |deployment, now| {
        let out = deployment == 0 && now < 10_000;
        (if out { 1.0 } else { 0.0 }, out)
    };
    let world = World::new(fault, 7).run(10, 14_000);
    let before = world.lives[0].samples();
    let (_, back) = world.closed[0];
    let world = world.run(10, back + 3_000);
    let share = f64::from(world.lives[0].samples() - before) / ((back + 3_000 - 14_000) as f64 / 10.0);
    assert!(share < 0.15, "a share of {share} while it is cold");
    let before = world.lives[0].samples();
    let world = world.run(10, back + 60_000);
    assert!(world.lives[0].samples() - before > 1_500, "and its whole share when it is warm");
}
