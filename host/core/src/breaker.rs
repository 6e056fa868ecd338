//! When a deployment that fails is to be left alone, and when it is to be tried again.
//!
//! The breaker computes a state; it excludes nobody. Policies read the state as a signal and decide, and the host keeps
//! the number of trials of a half-open deployment. A pure state machine: events and the time are given.
//!
//! - *Closed*: requests flow. It opens after failures in a row, or when the share of successes in a sliding window is
//!   too low; 429 counts only in the window.
//! - *Open*: for 30 s, 60 s, 90 s, ... as often as it opens anew. A probe that succeeds lets it half open early; a
//!   probe that fails keeps it open, but not for ever: a probe may be wrong.
//! - *Half-open*: one request at a time may try. Some successes in a row close it, one failure opens it again.
//! - Closed again it is warm only after a while (*slow start*), which routers may follow.

use std::time::Duration;

use crate::live::Millis;
use crate::vocabulary::FailureKind;

mod window;

use window::Window;

/// When a breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerRules {
    /// Failures in a row that open it.
    pub consecutive_failures: u32,
    /// A share of successes below this opens it, 0 to 1.
    pub success_rate: f64,
    /// From so many attempts in the window on.
    pub min_requests: u32,
    /// How far back the share looks; three times as far where there are too few attempts.
    pub window: Duration,
    /// How long it is open the first time.
    pub open: Duration,
    /// And at most.
    pub longest_open: Duration,
    /// Trials under way at a time.
    pub trials: u32,
    /// Trials that must succeed, one after the other.
    pub successes: u32,
    /// From closed again to warm.
    pub slow_start: Duration,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate: 0.8,
            min_requests: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(30),
            longest_open: Duration::from_secs(300),
            trials: 1,
            successes: 3,
            slow_start: Duration::from_secs(10),
        }
    }
}

/// What a policy may know of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests flow.
    Closed,
    /// A request may try.
    HalfOpen,
    /// To be left alone; also while the trials of a half-open one are under way.
    Open,
}

/// A change worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It opened.
    Opened,
    /// It closed.
    Closed,
}

/// What an attempt means to the breaker, from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    begun: Millis,
    trial: bool,
}

/// The breaker of one deployment.
#[derive(Debug)]
pub struct Breaker {
    rules: BreakerRules,
    phase: Phase,
    window: Window,
    failures: u32,
    failed_probes: u32,
    /// How often it opened without having been well for a while in between.
    times: u32,
    trials: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// `None`: it never opened.
    Closed { since: Option<Millis> },
    /// Half-open from `until` on.
    Out { since: Millis, until: Millis, passed: u32 },
}

/// What readers see without a lock: numbers that stay true while time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// 0: closed. Otherwise open until this moment and half-open from then on.
    pub out_until: u64,
    /// When it closed again; 0 when it never opened.
    pub closed_since: u64,
}

impl Ticket {
    /// When the attempt started.
    pub fn begun(self) -> Millis {
        self.begun
    }

    /// Whether it is one of the few that a half-open breaker lets through, and has not ended.
    pub fn is_trial(self) -> bool {
        self.trial
    }
}

impl View {
    /// The state at this moment.
    pub fn state(self, now: Millis) -> BreakerState {
        match self.out_until {
            0 => BreakerState::Closed,
            until if until <= now.0 => BreakerState::HalfOpen,
            _ => BreakerState::Open,
        }
    }

    /// How warm it is: 0 while it is out, and then up to 1 within `slow_start`.
    pub fn warm_up(self, slow_start: Duration, now: Millis) -> f64 {
        match (self.out_until, self.closed_since) {
            (0, 0) => 1.0,
            (0, since) => {
                let whole = (slow_start.as_secs_f64() * 1000.0).max(1.0);
                (now.since(Millis(since)) / whole).min(1.0)
            }
            _ => 0.0,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(BreakerRules::default())
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            phase: Phase::Closed { since: None },
            window: Window::default(),
            failures: 0,
            failed_probes: 0,
            times: 0,
            trials: 0,
        }
    }

    /// Other rules from now on.
    pub fn set_rules(&mut self, rules: BreakerRules) {
        self.rules = rules;
    }

    /// What readers may see.
    pub fn view(&self) -> View {
        match self.phase {
            Phase::Closed { since } => View { out_until: 0, closed_since: since.map_or(0, |since| since.0.max(1)) },
            Phase::Out { until, .. } => View { out_until: until.0.max(1), closed_since: 0 },
        }
    }

    /// An attempt starts. `None`: it is half-open, and its trials are taken.
    pub fn begin(&mut self, now: Millis) -> Option<Ticket> {
        let Phase::Out { since, until, passed } = self.phase else { return Some(Ticket { begun: now, trial: false }) };
        if now < until {
            // Whoever sends a request to an open one knows why: there may be no other.
            return if self.trials < self.rules.trials { Some(Ticket { begun: now, trial: false }) } else { None };
        }
        self.trials += 1;
        if self.trials >= self.rules.trials {
            // Taken. One that takes long does not keep the others out for ever.
            self.phase = Phase::Out { since, until: now.after(TRIAL_PATIENCE), passed };
        }
        Some(Ticket { begun: now, trial: true })
    }

    /// An attempt starts whatever the state.
    pub fn begin_anyway(&mut self, now: Millis) -> Ticket {
        self.begin(now).unwrap_or(Ticket { begun: now, trial: false })
    }

    /// The attempt gave its first token or its whole answer.
    pub fn succeeded(&mut self, ticket: &mut Ticket, now: Millis) -> Option<Transition> {
        self.end_trial(ticket, now);
        match &mut self.phase {
            Phase::Closed { .. } => {
                self.failures = 0;
                self.failed_probes = 0;
                self.window.add(true, now);
                None
            }
            // What began before it opened says nothing about now.
            Phase::Out { since, .. } if ticket.begun < *since => None,
            Phase::Out { passed, .. } => {
                *passed += 1;
                if *passed < self.rules.successes {
                    return None;
                }
                self.phase = Phase::Closed { since: Some(now) };
                self.failures = 0;
                self.failed_probes = 0;
                self.window = Window::default();
                Some(Transition::Closed)
            }
        }
    }

    /// The attempt failed.
    pub fn failed(&mut self, ticket: &mut Ticket, kind: FailureKind, now: Millis) -> Option<Transition> {
        let was_trial = self.end_trial(ticket, now);
        let weight = weight(kind);
        if weight == Weight::None {
            return None;
        }
        match self.phase {
            Phase::Closed { since } => {
                // A straggler from before it was well again.
                if since.is_some_and(|since| ticket.begun < since) {
                    return None;
                }
                self.window.add(false, now);
                if weight == Weight::Full {
                    self.failures += 1;
                }
                let too_many = self.failures >= self.rules.consecutive_failures;
                (too_many || self.too_few_succeed(now)).then(|| self.open(now))
            }
            Phase::Out { since, .. } if ticket.begun < since => None,
            Phase::Out { until, .. } if was_trial || now >= until => Some(self.open(now)),
            Phase::Out { since, until, .. } => {
                self.phase = Phase::Out { since, until, passed: 0 };
                None
            }
        }
    }

    /// The attempt ended without a word about the deployment.
    pub fn ended(&mut self, ticket: &mut Ticket, now: Millis) {
        self.end_trial(ticket, now);
    }

    /// The attempt was dropped, nobody knows when.
    pub fn abandon(&mut self, ticket: &mut Ticket) {
        self.end_trial(ticket, ticket.begun);
    }

    /// A probe succeeded: that closes nothing, but lets a request try early.
    pub fn probe_succeeded(&mut self, now: Millis) {
        self.failed_probes = 0;
        if let Phase::Out { since, until, .. } = &mut self.phase
            && self.trials == 0
        {
            // Not at once: a server whose probes succeed while its requests fail gets a request every now and then.
            *until = (*until).min(now.max(since.after(EARLIEST_TRIAL)));
        }
    }

    /// A probe failed: it stays open a while longer, or opens when nothing else was heard of it.
    pub fn probe_failed(&mut self, now: Millis) -> Option<Transition> {
        match &mut self.phase {
            Phase::Closed { .. } => {
                self.failed_probes += 1;
                (self.failed_probes >= self.rules.consecutive_failures).then(|| self.open(now))
            }
            Phase::Out { since, until, .. } => {
                let latest = since.after(self.rules.longest_open);
                *until = (*until).max(now.after(PROBE_VETO).min(latest));
                None
            }
        }
    }

    fn open(&mut self, now: Millis) -> Transition {
        let was_well = matches!(self.phase, Phase::Closed { since } if since.is_none_or(|since| now >= since.after(self.rules.open)));
        self.times = if was_well { 1 } else { self.times.saturating_add(1) };
        let pause = self.rules.open.saturating_mul(self.times).min(self.rules.longest_open);
        self.phase = Phase::Out { since: now, until: now.after(pause), passed: 0 };
        Transition::Opened
    }

    fn too_few_succeed(&self, now: Millis) -> bool {
        [self.rules.window, self.rules.window * 3].into_iter().any(|window| {
            let (good, bad) = self.window.counts(window, now);
            let all = good + bad;
            all >= self.rules.min_requests && f64::from(good) < self.rules.success_rate * f64::from(all)
        })
    }

    fn end_trial(&mut self, ticket: &mut Ticket, now: Millis) -> bool {
        if !std::mem::take(&mut ticket.trial) {
            return false;
        }
        self.trials = self.trials.saturating_sub(1);
        if let Phase::Out { since, until, .. } = &mut self.phase
            && ticket.begun >= *since
        {
            // Room for the next one.
            *until = (*until).min(now);
        }
        true
    }
}

/// What a failure weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// In a row and in the window.
    Full,
    /// In the window only: a deployment that says no to some is still well.
    Window,
    /// It is the request's fault, the key's, or nobody's.
    None,
}

const fn weight(kind: FailureKind) -> Weight {
    match kind {
        FailureKind::Connect
        | FailureKind::ConnectTimeout
        | FailureKind::Reset
        | FailureKind::FirstByteTimeout
        | FailureKind::FirstTokenTimeout
        | FailureKind::Stalled
        | FailureKind::Cut
        | FailureKind::Overloaded
        | FailureKind::ServerError
        | FailureKind::ModelNotFound
        | FailureKind::Malformed
        | FailureKind::ErrorInStream => Weight::Full,
        FailureKind::RateLimited => Weight::Window,
        FailureKind::Unauthorised
        | FailureKind::QuotaExhausted
        | FailureKind::ContextLength
        | FailureKind::BadRequest
        | FailureKind::ContentPolicy
        | FailureKind::Unsupported
        | FailureKind::QueueFull
        | FailureKind::Deadline => Weight::None,
    }
}

/// From opening to the first trial that a probe may bring about.
const EARLIEST_TRIAL: Duration = Duration::from_secs(3);
/// For how long a failed probe keeps it open: with the usual interval it is renewed in time.
const PROBE_VETO: Duration = Duration::from_secs(10);
/// After which another trial may start although one is still running: a whole answer may take minutes.
const TRIAL_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
