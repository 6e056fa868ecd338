//! Keeps an eye on one policy's pace: is it fast enough for a worker thread, and does it keep to its deadline?
//!
//! Three missed deadlines within 30 s suspend it for 10 s; then one call is let through to try it, and every further
//! miss of a trial suspends it for 10 s more than the time before, up to 300 s.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::failure::FailureCause;

/// A policy that takes longer than this on average is called off the worker threads.
const SLOW: Duration = Duration::from_micros(100);
/// It comes back below this, so that one near the border does not go to and fro.
const FAST: Duration = Duration::from_micros(70);
/// A call that took longer counts as this, so that one preempted call does not make a fast policy slow.
const LONGEST_SAMPLE: Duration = Duration::from_millis(1);

const MISSES: usize = 3;
const WINDOW: u64 = 30_000;
const STEP: u64 = 10_000;
const LONGEST: u64 = 300_000;

/// The pace of one policy, shared by its instances.
#[derive(Debug)]
pub(crate) struct Watch {
    start: Instant,
    slow: AtomicBool,
    /// Milliseconds since `start` until which a missed deadline counts as slow; 0 = none was missed.
    late_until: AtomicU64,
    /// Whether `record` says that it is suspended: read on every call, so that the lock is only taken then.
    suspended: AtomicBool,
    record: Mutex<Record>,
}

/// What a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As usual.
    Normal,
    /// It decides whether the suspension ends.
    Trial,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            slow: AtomicBool::new(false),
            late_until: AtomicU64::new(0),
            suspended: AtomicBool::new(false),
            record: Mutex::default(),
        }
    }

    /// Whether a call may go ahead now.
    pub(crate) fn admit(&self) -> Result<Admission, FailureCause> {
        if !self.suspended.load(Ordering::Relaxed) {
            return Ok(Admission::Normal);
        }
        self.record.lock().admit(self.millis())
    }

    /// A call ended within its deadline, or never began; `reached` says whether the policy was called at all.
    pub(crate) fn ended(&self, admission: Admission, reached: bool) {
        if admission == Admission::Trial {
            let mut record = self.record.lock();
            record.trial_ended(reached);
            self.suspended.store(record.until.is_some(), Ordering::Relaxed);
        }
    }

    /// A call missed its deadline. `Some` when that suspends the policy: for how long.
    pub(crate) fn missed(&self) -> Option<Duration> {
        let now = self.millis();
        self.late_until.store(now + WINDOW, Ordering::Relaxed);
        let mut record = self.record.lock();
        let suspended = record.missed(now);
        self.suspended.store(record.until.is_some(), Ordering::Relaxed);
        suspended.map(Duration::from_millis)
    }

    /// Notes the mean time of one instance's calls.
    pub(crate) fn pace(&self, mean: Duration) {
        let slow = self.slow.load(Ordering::Relaxed);
        if slow && mean < FAST {
            self.slow.store(false, Ordering::Relaxed);
        } else if !slow && mean > SLOW {
            self.slow.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it belongs off the worker threads: slow on average, or late within the last 30 s.
    pub(crate) fn is_slow(&self) -> bool {
        if self.slow.load(Ordering::Relaxed) {
            return true;
        }
        let late_until = self.late_until.load(Ordering::Relaxed);
        late_until != 0 && self.millis() < late_until
    }

    /// How long it is still suspended.
    pub(crate) fn suspension(&self) -> Option<Duration> {
        let until = self.record.lock().until?;
        Some(Duration::from_millis(until.saturating_sub(self.millis())))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The next value of an exponentially weighted mean over about 16 calls.
pub(crate) fn mean(before: u32, elapsed: Duration) -> u32 {
    let sample = elapsed.min(LONGEST_SAMPLE).as_nanos() as u32;
    before - before / 16 + sample / 16
}

/// Missed deadlines and what follows from them; times in milliseconds. Plain state, without a clock.
#[derive(Debug, Default)]
struct Record {
    /// Within the window.
    missed: Vec<u64>,
    /// Suspensions in a row.
    strikes: u64,
    until: Option<u64>,
    /// When the strikes no longer count.
    forgotten_at: u64,
    /// A trial call is on its way.
    trying: bool,
}

impl Record {
    fn admit(&mut self, now: u64) -> Result<Admission, FailureCause> {
        let Some(until) = self.until else { return Ok(Admission::Normal) };
        if now < until || self.trying {
            return Err(FailureCause::Suspended { remaining: Duration::from_millis(until.saturating_sub(now)) });
        }
        self.trying = true;
        Ok(Admission::Trial)
    }

    fn trial_ended(&mut self, reached: bool) {
        self.trying = false;
        if reached {
            self.until = None;
            self.missed.clear();
        }
    }

    fn missed(&mut self, now: u64) -> Option<u64> {
        self.missed.retain(|at| at + WINDOW > now);
        self.missed.push(now);
        let trial_failed = std::mem::take(&mut self.trying);
        // Calls that were already running when a suspension began add nothing to it.
        if !trial_failed && (self.until.is_some() || self.missed.len() < MISSES) {
            return None;
        }
        if now > self.forgotten_at {
            self.strikes = 0;
        }
        self.strikes += 1;
        let pause = (STEP * self.strikes).min(LONGEST);
        self.until = Some(now + pause);
        self.forgotten_at = now + pause + LONGEST;
        Some(pause)
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn suspended_for(answer: Result<Admission, FailureCause>) -> u64 {
        match answer {
            Err(FailureCause::Suspended { remaining }) => remaining.as_millis() as u64,
            other => panic!("expected a suspension, got {other:?}"),
        }
    }

    #[test]
    fn three_misses_within_the_window_suspend() {
        let mut record = Record::default();
        assert_eq!([record.missed(0), record.missed(10_000), record.missed(30_000)], [None, None, None]);
        assert_eq!(record.admit(30_000), Ok(Admission::Normal));
        assert_eq!(record.missed(39_999), Some(10_000));
        assert_eq!(suspended_for(record.admit(40_000)), 9_999);
    }

    #[test]
    fn one_trial_at_a_time_decides_whether_the_suspension_ends() {
        let mut record = Record::default();
        for _ in 0..3 {
            record.missed(0);
        }
        assert_eq!(suspended_for(record.admit(9_999)), 1);
        assert_eq!(record.admit(10_000), Ok(Admission::Trial));
        assert_eq!(suspended_for(record.admit(10_000)), 0);
        // a trial that never reached the policy says nothing about it
        record.trial_ended(false);
        assert_eq!(record.admit(10_001), Ok(Admission::Trial));
        assert_eq!(record.missed(10_010), Some(20_000));
        assert_eq!(record.admit(30_010), Ok(Admission::Trial));
        record.trial_ended(true);
        assert_eq!(record.admit(30_011), Ok(Admission::Normal));
        assert_eq!(record.missed(30_012), None);
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_are_forgotten_after_a_quiet_time() {
        let mut record = Record::default();
        let mut now = 0;
        for _ in 0..2 {
            record.missed(now);
        }
        for strike in 1..=40 {
            assert_eq!(record.missed(now), Some((10_000 * strike).min(300_000)));
            now += (10_000 * strike).min(300_000);
            assert_eq!(record.admit(now), Ok(Admission::Trial));
        }
        record.trial_ended(true);
        now += 300_001;
        assert_eq!([record.missed(now), record.missed(now), record.missed(now)], [None, None, Some(10_000)]);
    }

    #[test]
    fn one_preempted_call_does_not_make_a_fast_policy_slow() {
        let watch = Watch::new();
        let note = |at: u32, elapsed| {
            let after = mean(at, elapsed);
            watch.pace(Duration::from_nanos(u64::from(after)));
            after
        };
        let mut at = note(500, Duration::from_millis(50));
        assert!(!watch.is_slow());
        for _ in 0..40 {
            at = note(at, Duration::from_micros(200));
        }
        assert!(watch.is_slow());
        for _ in 0..40 {
            at = note(at, Duration::from_micros(1));
        }
        assert!(!watch.is_slow());
    }

    #[test]
    fn a_missed_deadline_counts_as_slow_for_a_while() {
        let watch = Watch::new();
        assert!(!watch.is_slow());
        assert_eq!(watch.missed(), None);
        assert!(watch.is_slow());
        assert_eq!(watch.admit(), Ok(Admission::Normal));
        assert_eq!((watch.missed(), watch.missed()), (None, Some(Duration::from_secs(10))));
        assert!(watch.admit().is_err());
        assert!(watch.suspension().is_some());
    }
}
