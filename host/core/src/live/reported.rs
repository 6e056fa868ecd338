//! What a deployment's server said of itself last, until that is too old.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Live, Millis};
use crate::facts::Report;

/// The last report; what was not said is NaN, which stays in here.
#[derive(Debug, Default)]
pub(super) struct Reported {
    until: AtomicU64,
    queue: AtomicU64,
    running: AtomicU64,
    kv_used: AtomicU64,
    free_slots: AtomicU64,
    loaded: AtomicU64,
}

impl Live {
    /// The server said this, which counts until then.
    pub fn report(&self, report: Report, until: Millis) {
        let Reported { until: valid, queue, running, kv_used, free_slots, loaded } = &self.reported;
        // First, so that no reader takes the new for the old.
        valid.store(until.0, Relaxed);
        let truth = report.loaded.map(|loaded| f64::from(u8::from(loaded)));
        for (place, value) in [
            (queue, report.queue),
            (running, report.running),
            (kv_used, report.kv_used),
            (free_slots, report.free_slots),
            (loaded, truth),
        ] {
            place.store(value.unwrap_or(f64::NAN).to_bits(), Relaxed);
        }
    }

    /// What the server said last; nothing when that is too old.
    pub fn reported(&self, now: Millis) -> Report {
        if self.reported.until.load(Relaxed) <= now.0 {
            return Report::default();
        }
        let said = |place: &AtomicU64| Some(f64::from_bits(place.load(Relaxed))).filter(|value| !value.is_nan());
        Report {
            queue: said(&self.reported.queue),
            running: said(&self.reported.running),
            kv_used: said(&self.reported.kv_used),
            free_slots: said(&self.reported.free_slots),
            loaded: said(&self.reported.loaded).map(|loaded| loaded > 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_counts_until_it_is_too_old() {
        let live = Live::default();
        assert_eq!(live.reported(Millis(0)), Report::default());
        let report = Report { queue: Some(3.0), kv_used: Some(0.5), loaded: Some(false), ..Report::default() };
        live.report(report, Millis(100));
        assert_eq!(live.reported(Millis(99)), report);
        assert_eq!(live.reported(Millis(100)), Report::default());
        live.report(Report { loaded: Some(true), ..Report::default() }, Millis(200));
        assert_eq!(live.reported(Millis(100)), Report { loaded: Some(true), ..Report::default() });
    }
}
