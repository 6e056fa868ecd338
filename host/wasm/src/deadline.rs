//! Stops a call that has used up its time.
//!
//! The time is the thread's own, not the wall's: on a machine with more threads than cores, a policy that needs a
//! microsecond can be preempted for many milliseconds, and that is no fault of the policy. Asking the system for the
//! thread's time costs more than most calls, so it is first asked when a call has already run for a millisecond or
//! two. Only slow calls ever get there; a call that spins on an idle core is stopped when its deadline has passed on
//! the wall, give or take a tick.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

/// How often the engine's clock ticks.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks until a call is looked at for the first time. Of these the first may come at once.
pub(crate) const FIRST_LOOK: u64 = 2;

/// How often a call is looked at before it is stopped in any case.
const LOOKS: u32 = 16;

/// Watches over one call.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// What the call may use after the first look.
    allowed: Duration,
    /// The thread's time at the first look.
    since: Option<Duration>,
    looks: u32,
}

impl Deadline {
    /// For a call that may take this long.
    pub(crate) const fn new(limit: Duration) -> Self {
        // At the first look at least one tick has passed.
        Self { allowed: limit.saturating_sub(TICK), since: None, looks: 0 }
    }

    /// The engine's clock has reached what was set: what now?
    pub(crate) fn look(&mut self) -> UpdateDeadline {
        self.extend(thread_time()).map_or(UpdateDeadline::Interrupt, UpdateDeadline::Continue)
    }

    /// Ticks until the next look; `None` when the call has used up its time.
    fn extend(&mut self, now: Duration) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let left = self.allowed.saturating_sub(now.saturating_sub(since));
        // The two clocks do not agree to the microsecond.
        if left < TICK / 2 || self.looks == LOOKS {
            return None;
        }
        self.looks += 1;
        Some(left.as_nanos().div_ceil(TICK.as_nanos()) as u64)
    }
}

/// What this thread has run so far.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_call_that_spins_is_stopped_at_the_second_look() {
        let mut deadline = Deadline::new(ms(5));
        assert_eq!(deadline.extend(ms(100)), Some(4));
        assert_eq!(deadline.extend(ms(104) - Duration::from_micros(50)), None);
    }

    #[test]
    fn a_call_that_was_preempted_gets_what_it_did_not_have() {
        let mut deadline = Deadline::new(ms(5));
        assert_eq!(deadline.extend(ms(100)), Some(4));
        assert_eq!(deadline.extend(ms(101)), Some(3));
        assert_eq!(deadline.extend(ms(103) + ms(1) / 2), Some(1));
        assert_eq!(deadline.extend(ms(104)), None);
    }

    #[test]
    fn a_call_is_stopped_in_the_end_even_if_the_clock_stands_still() {
        let mut deadline = Deadline::new(ms(5));
        for _ in 0..LOOKS {
            assert_eq!(deadline.extend(ms(100)), Some(4));
        }
        assert_eq!(deadline.extend(ms(100)), None);
    }

    #[test]
    fn the_shortest_deadline_has_a_second_look() {
        let mut deadline = Deadline::new(ms(2));
        assert_eq!(deadline.extend(ms(0)), Some(1));
        assert_eq!(deadline.extend(ms(1)), None);
        assert_eq!(Deadline::new(ms(1)).extend(ms(0)), None);
    }

    #[test]
    fn the_threads_clock_runs_while_it_works() {
        let before = thread_time();
        while thread_time() - before < ms(1) {
            std::hint::spin_loop();
        }
    }
}
