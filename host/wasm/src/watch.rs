//! Keeps an eye on one policy: is it fast enough for a worker thread, and does it fail too often?
//!
//! It crashes when so many of its calls, and such a share of them, failed within a time ([`CrashRules`]). From then on no
//! call is let through. Where an older revision can take its place, whoever listens is told and has five seconds to put
//! it there; otherwise it is suspended for 10 s. Whatever is still there then gets one call to try it, and every further
//! failure of a trial suspends it for 10 s more than the time before, up to 300 s.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use witgate_core::config::CrashRules;

use crate::failure::FailureCause;
use crate::recent::Recent;

/// A policy that takes longer than this on average is called off the worker threads.
const SLOW: Duration = Duration::from_micros(100);
/// It comes back below this, so that one near the border does not go to and fro.
const FAST: Duration = Duration::from_micros(70);
/// A call that took longer counts as this, so that one preempted call does not make a fast policy slow.
const LONGEST_SAMPLE: Duration = Duration::from_millis(1);
/// How long a missed deadline counts as slow, milliseconds.
const LATE: u64 = 30_000;

const STEP: u64 = 10_000;
const LONGEST: u64 = 300_000;
/// For putting an older revision in its place; a swap takes milliseconds, unless a large policy has to be compiled.
const PATIENCE: u64 = 5_000;

/// Pace and failures of one policy, shared by its instances.
#[derive(Debug)]
pub(crate) struct Watch {
    start: Instant,
    slow: AtomicBool,
    /// Milliseconds since `start` until which a missed deadline counts as slow; 0 = none was missed.
    late_until: AtomicU64,
    /// Whether `record` says that it is suspended: read on every call, so that the lock is only taken then.
    suspended: AtomicBool,
    /// Whether an older revision can take its place.
    spare: AtomicBool,
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

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crashed {
    /// Of the calls.
    pub(crate) failures: u32,
    /// Within the window, this one included.
    pub(crate) calls: u32,
    /// `None` while an older revision is awaited.
    pub(crate) suspended: Option<Duration>,
}

impl Watch {
    pub(crate) fn new(rules: &CrashRules) -> Self {
        Self {
            start: Instant::now(),
            slow: AtomicBool::new(false),
            late_until: AtomicU64::new(0),
            suspended: AtomicBool::new(false),
            spare: AtomicBool::new(false),
            record: Mutex::new(Record::new(rules.clone())),
        }
    }

    /// Whether a call may go ahead now.
    pub(crate) fn admit(&self) -> Result<Admission, FailureCause> {
        if !self.suspended.load(Ordering::Relaxed) {
            return Ok(Admission::Normal);
        }
        self.record.lock().admit(self.millis(Instant::now()))
    }

    /// A call ended as it should or in a declared error, or never began; `reached` says whether the policy was called
    /// at all.
    pub(crate) fn ended(&self, admission: Admission, reached: bool) {
        if admission == Admission::Trial {
            let mut record = self.record.lock();
            record.trial_ended(reached);
            self.suspended.store(record.until.is_some(), Ordering::Relaxed);
        }
    }

    /// A call failed; `calls` gives those of the window, by the time. `Some` when that is once too often.
    pub(crate) fn failed(&self, cause: &FailureCause, calls: impl FnOnce(u64) -> u32) -> Option<Crashed> {
        let now = self.millis(Instant::now());
        if matches!(cause, FailureCause::Deadline { .. }) {
            self.late_until.store(now + LATE, Ordering::Relaxed);
        }
        let spare = self.spare.load(Ordering::Relaxed);
        let mut record = self.record.lock();
        let crashed = record.failed(now, calls(now), spare);
        self.suspended.store(record.until.is_some(), Ordering::Relaxed);
        crashed
    }

    /// Whether an older revision can take its place.
    pub(crate) fn set_spare(&self, spare: bool) {
        self.spare.store(spare, Ordering::Relaxed);
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
        late_until != 0 && self.millis(Instant::now()) < late_until
    }

    /// It crashes elsewhere, and an older revision takes its place there and here: no call is let through meanwhile.
    pub(crate) fn await_spare(&self) {
        let now = self.millis(Instant::now());
        let mut record = self.record.lock();
        record.await_spare(now);
        self.suspended.store(record.until.is_some(), Ordering::Relaxed);
    }

    /// Whether it crashes and an older revision is awaited.
    pub(crate) fn awaits_spare(&self) -> bool {
        self.record.lock().awaits_spare
    }

    /// How long it is still suspended.
    pub(crate) fn suspension(&self) -> Option<Duration> {
        let until = self.record.lock().until?;
        Some(Duration::from_millis(until.saturating_sub(self.millis(Instant::now()))))
    }

    /// Milliseconds since it was made.
    pub(crate) fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        since.as_secs() * 1000 + u64::from(since.subsec_millis())
    }
}

/// The next value of an exponentially weighted mean over about 16 calls.
pub(crate) fn mean(before: u32, elapsed: Duration) -> u32 {
    let sample = elapsed.min(LONGEST_SAMPLE).as_nanos() as u32;
    before - before / 16 + sample / 16
}

/// Failures and what follows from them; times in milliseconds. Plain state, without a clock.
#[derive(Debug)]
struct Record {
    rules: CrashRules,
    failures: Recent,
    /// Suspensions in a row.
    strikes: u64,
    until: Option<u64>,
    /// When the strikes no longer count.
    forgotten_at: u64,
    /// A trial call is on its way.
    trying: bool,
    /// `until` is the time by which an older revision is to be there.
    awaits_spare: bool,
}

impl Record {
    fn new(rules: CrashRules) -> Self {
        let failures = Recent::new(rules.window);
        Self { rules, failures, strikes: 0, until: None, forgotten_at: 0, trying: false, awaits_spare: false }
    }

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
            (self.until, self.awaits_spare) = (None, false);
            self.failures.clear();
        }
    }

    /// Suspended already, it stays so for as long as it was.
    fn await_spare(&mut self, now: u64) {
        if self.until.is_none() {
            (self.until, self.awaits_spare) = (Some(now + PATIENCE), true);
        }
    }

    fn failed(&mut self, now: u64, calls: u32, spare: bool) -> Option<Crashed> {
        self.failures.add(now);
        let failures = self.failures.sum(now);
        let trial_failed = std::mem::take(&mut self.trying);
        // Calls that were already running when a suspension began add nothing to it.
        if !trial_failed && (self.until.is_some() || !self.is_crash(failures, calls)) {
            return None;
        }
        let crashed = |suspended| Some(Crashed { failures, calls: calls.max(failures), suspended });
        if spare && !trial_failed {
            self.await_spare(now);
            return crashed(None);
        }
        self.awaits_spare = false;
        if now > self.forgotten_at {
            self.strikes = 0;
        }
        self.strikes += 1;
        let pause = (STEP * self.strikes).min(LONGEST);
        self.until = Some(now + pause);
        self.forgotten_at = now + pause + LONGEST;
        crashed(Some(Duration::from_millis(pause)))
    }

    fn is_crash(&self, failures: u32, calls: u32) -> bool {
        let share = f64::from(failures) / f64::from(calls.max(failures));
        failures >= self.rules.failures.get() && share >= self.rules.share
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::tier::Tier;

    fn record() -> Record {
        Record::new(CrashRules::default())
    }

    /// What a failure of a policy without an older revision leads to, where all calls fail.
    fn failed(record: &mut Record, now: u64) -> Option<u64> {
        let crashed = record.failed(now, 0, false)?;
        crashed.suspended.map(|pause| pause.as_millis() as u64)
    }

    fn suspended_for(answer: Result<Admission, FailureCause>) -> u64 {
        match answer {
            Err(FailureCause::Suspended { remaining }) => remaining.as_millis() as u64,
            other => panic!("expected a suspension, got {other:?}"),
        }
    }

    #[test]
    fn three_failures_within_the_window_suspend() {
        let mut record = record();
        assert_eq!([0, 10_000, 30_000].map(|now| failed(&mut record, now)), [None; 3]);
        assert_eq!(record.admit(30_000), Ok(Admission::Normal));
        assert_eq!(failed(&mut record, 35_000), Some(10_000));
        assert_eq!(suspended_for(record.admit(35_001)), 9_999);
    }

    #[test]
    fn both_the_number_and_the_share_must_be_reached() {
        let rules =
            CrashRules { failures: NonZeroU32::MIN.saturating_add(1), share: 0.1, window: Duration::from_secs(8) };
        let crash = |calls: [u32; 2]| {
            let mut record = Record::new(rules.clone());
            calls.map(|calls| record.failed(0, calls, false).map(|crashed| (crashed.failures, crashed.calls)))
        };
        assert_eq!(crash([1, 2]), [None, Some((2, 2))]);
        assert_eq!(crash([19, 20]), [None, Some((2, 20))]);
        assert_eq!(crash([20, 21]), [None, None]);
        // a window later the first one no longer counts
        let mut record = Record::new(rules);
        assert_eq!(record.failed(0, 1, false), None);
        assert_eq!(record.failed(8_000, 1, false), None);
        assert_eq!(record.failed(15_999, 2, false).map(|crashed| crashed.failures), Some(2));
    }

    #[test]
    fn one_trial_at_a_time_decides_whether_the_suspension_ends() {
        let mut record = record();
        for _ in 0..3 {
            failed(&mut record, 0);
        }
        assert_eq!(suspended_for(record.admit(9_999)), 1);
        assert_eq!(record.admit(10_000), Ok(Admission::Trial));
        assert_eq!(suspended_for(record.admit(10_000)), 0);
        // a trial that never reached the policy says nothing about it
        record.trial_ended(false);
        assert_eq!(record.admit(10_001), Ok(Admission::Trial));
        assert_eq!(failed(&mut record, 10_010), Some(20_000));
        assert_eq!(record.admit(30_010), Ok(Admission::Trial));
        record.trial_ended(true);
        assert_eq!(record.admit(30_011), Ok(Admission::Normal));
        assert_eq!(failed(&mut record, 30_012), None);
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_are_forgotten_after_a_quiet_time() {
        let mut record = record();
        let mut now = 0;
        for _ in 0..2 {
            failed(&mut record, now);
        }
        for strike in 1..=40 {
            assert_eq!(failed(&mut record, now), Some((10_000 * strike).min(300_000)));
            now += (10_000 * strike).min(300_000);
            assert_eq!(record.admit(now), Ok(Admission::Trial));
        }
        record.trial_ended(true);
        now += 300_001;
        assert_eq!([0; 3].map(|_| failed(&mut record, now)), [None, None, Some(10_000)]);
    }

    #[test]
    fn with_an_older_revision_no_call_is_let_through_until_that_is_there() {
        let mut record = record();
        assert_eq!([0; 2].map(|_| record.failed(0, 0, true)), [None; 2]);
        assert_eq!(record.admit(0), Ok(Admission::Normal));
        assert_eq!(record.failed(0, 9, true), Some(Crashed { failures: 3, calls: 9, suspended: None }));
        assert_eq!([1, 4_999].map(|now| suspended_for(record.admit(now))), [4_999, 1]);
        // calls that were inside are told to nobody
        assert_eq!([0, 1, 4_999].map(|now| record.failed(now, 0, true)), [None; 3]);
        // nothing came of it: the one that tries it is not told as a new crash
        assert_eq!(record.admit(5_000), Ok(Admission::Trial));
        assert_eq!(suspended_for(record.admit(5_000)), 0);
        let suspended = Some(Duration::from_secs(10));
        assert_eq!(record.failed(5_000, 10, true), Some(Crashed { failures: 7, calls: 10, suspended }));
        assert_eq!((record.awaits_spare, suspended_for(record.admit(5_001))), (false, 9_999));
        assert_eq!(record.admit(15_000), Ok(Admission::Trial));
        let suspended = Some(Duration::from_secs(20));
        assert_eq!(record.failed(15_000, 7, true).map(|crashed| crashed.suspended), Some(suspended));
    }

    #[test]
    fn one_that_passes_its_trial_may_crash_again() {
        let mut record = record();
        let crash = |record: &mut Record, now| [0; 3].map(|_| record.failed(now, 0, true).is_some());
        assert_eq!(crash(&mut record, 0), [false, false, true]);
        assert_eq!(record.admit(5_000), Ok(Admission::Trial));
        record.trial_ended(true);
        assert_eq!((record.admit(5_000), record.awaits_spare), (Ok(Admission::Normal), false));
        assert_eq!(crash(&mut record, 5_000), [false, false, true]);
        assert!(record.awaits_spare);
    }

    #[test]
    fn a_crash_elsewhere_does_not_shorten_a_suspension() {
        let mut record = record();
        record.await_spare(1_000);
        record.await_spare(3_000);
        assert_eq!((record.until, record.awaits_spare), (Some(6_000), true));
        let mut suspended = self::record();
        assert_eq!([0; 3].map(|now| failed(&mut suspended, now)), [None, None, Some(10_000)]);
        suspended.await_spare(0);
        assert_eq!((suspended.until, suspended.awaits_spare), (Some(10_000), false));
    }

    #[test]
    fn a_call_that_was_inside_at_a_crash_ends_as_it_would_and_ends_no_suspension() {
        let watch = Watch::new(&CrashRules::default());
        watch.set_spare(true);
        let inside = watch.admit();
        assert_eq!(inside, Ok(Admission::Normal));
        let trap = FailureCause::Trap(String::new());
        let told = [0; 3].map(|_| watch.failed(&trap, |_| 0).is_some());
        assert_eq!((told, watch.awaits_spare()), ([false, false, true], true));
        watch.ended(Admission::Normal, true);
        assert!(matches!(watch.admit(), Err(FailureCause::Suspended { .. })));
    }

    #[test]
    fn one_preempted_call_does_not_make_a_fast_policy_slow() {
        let watch = Watch::new(&CrashRules::default());
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
        let watch = Watch::new(&CrashRules::default());
        let fail = |cause| watch.failed(&cause, |_| 0).and_then(|crashed| crashed.suspended);
        let deadline = || FailureCause::Deadline { limit: Duration::from_millis(5), tier: Tier::Optimised };
        assert_eq!(fail(FailureCause::Trap(String::new())), None);
        assert!(!watch.is_slow());
        assert_eq!(fail(deadline()), None);
        assert!(watch.is_slow());
        assert_eq!(watch.admit(), Ok(Admission::Normal));
        assert_eq!(fail(deadline()), Some(Duration::from_secs(10)));
        assert!(watch.admit().is_err());
        assert!(watch.suspension().is_some());
    }
}
