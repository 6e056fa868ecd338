//! Tells whoever listens that a policy fails too often, so that an older revision can take its place.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::failure::Failure;

/// A policy that failed too often.
#[derive(Clone, Debug, PartialEq)]
pub struct Crash {
    /// The failure that was one too many.
    pub last: Failure,
    /// Failed calls within the window.
    pub failures: u32,
    /// All calls within the window.
    pub calls: u32,
    /// How far back failures count.
    pub window: Duration,
    /// For how long it is suspended; `None` when it is asked no more until an older revision is there.
    pub suspended: Option<Duration>,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last, failures, calls, window, .. } = self;
        let seconds = window.as_secs_f64();
        let Failure { hook, cause, .. } = last;
        write!(f, "{failures} of {calls} calls failed within {seconds} s; the last failed in `{hook}`: {cause}")
    }
}

/// Who is told.
#[derive(Clone, Default)]
pub(crate) struct Crashes(Arc<OnceLock<Box<Listener>>>);

type Listener = dyn Fn(&Crash) + Send + Sync;

impl Crashes {
    /// The first one stays.
    pub(crate) fn listen(&self, listener: Box<Listener>) {
        let _ = self.0.set(listener);
    }

    pub(crate) fn tell(&self, crash: &Crash) {
        if let Some(listener) = self.0.get() {
            listener(crash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureCause;
    use crate::hooks::Hook;

    #[test]
    fn a_crash_says_how_often_and_how_it_failed() {
        let cause = FailureCause::Trap("wasm trap: integer divide by zero".to_owned());
        let last = Failure { policy: "p".into(), revision: "r".into(), hook: Hook::Router, cause };
        let crash = Crash { last, failures: 3, calls: 40, window: Duration::from_millis(1500), suspended: None };
        assert_eq!(
            crash.to_string(),
            "3 of 40 calls failed within 1.5 s; the last failed in `router`: it trapped: wasm trap: integer divide by \
             zero"
        );
    }
}
