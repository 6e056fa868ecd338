//! Breaker, probes and keys of a deployment, as signals show them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Live, Millis, ProviderKeys, SLOWER, Writer};
use crate::breaker::{Breaker, BreakerRules, BreakerState, Transition, View};

impl Live {
    /// What the deployment shares with the others of its provider.
    pub fn provider_keys(&self) -> &Arc<ProviderKeys> {
        self.keys.provider()
    }

    /// When its breaker opens and closes from now on.
    pub fn set_breaker_rules(&self, rules: BreakerRules) {
        self.with_breaker(|breaker| breaker.set_rules(rules));
        let millis = u32::try_from(rules.slow_start.as_millis()).unwrap_or(u32::MAX);
        self.slow_start_ms.store(millis, Relaxed);
    }

    /// The breaker's state.
    pub fn breaker_state(&self, now: Millis) -> BreakerState {
        self.view().state(now)
    }

    /// Milliseconds until the breaker is half-open; 0 when it is not open.
    pub fn breaker_open_ms(&self, now: Millis) -> f64 {
        Millis(self.out_until.load(Relaxed)).since(now)
    }

    /// How far the deployment's slow start has come, 0 to 1.
    pub fn warm_up(&self, now: Millis) -> f64 {
        self.view().warm_up(Duration::from_millis(self.slow_start_ms.load(Relaxed).into()), now)
    }

    /// Keys of the provider that are not cooling down.
    pub fn ready_keys(&self, now: Millis) -> u32 {
        self.keys.ready(now)
    }

    /// Milliseconds since an attempt ended or a probe was answered; since the start when there was none.
    pub fn silent_ms(&self, now: Millis) -> f64 {
        now.since(Millis(self.last_heard.load(Relaxed)))
    }

    /// A probe succeeded (`true`) or failed.
    pub fn probed(&self, good: bool, now: Millis) -> Option<Transition> {
        self.last_heard.fetch_max(now.0, Relaxed);
        if good {
            self.with_breaker(|breaker| breaker.probe_succeeded(now));
            self.trust_again(now);
            return None;
        }
        self.with_breaker(|breaker| breaker.probe_failed(now))
    }

    /// Whether it is to be asked how it is, where that may be done at this interval: its breaker is not closed, or routers
    /// keep away from it because it failed or was slower than usual, so that nobody else would find out that it is well
    /// again. One that was trusted again in vain is left alone for longer.
    pub fn is_doubtful(&self, interval: Duration, now: Millis) -> bool {
        if self.breaker_state(now) != BreakerState::Closed {
            return true;
        }
        self.is_avoided(now) && self.writer.lock().trust.is_due(interval, self.silent_ms(now), now)
    }

    fn is_avoided(&self, now: Millis) -> bool {
        let usual = self.usual_ttft.value();
        self.consecutive_failures() > 0 || (usual > 0.0 && self.ttft_peak_ms(now) > usual * SLOWER)
    }

    /// One that routers keep away from and that answers a probe is tried again: the next request tells more than the
    /// worst of the last ones. Until then nobody knows how quick it is: as it was before its trouble it may well seem too
    /// slow to be tried, if it was new then, or busy.
    fn trust_again(&self, now: Millis) {
        if self.breaker_state(now) == BreakerState::Closed && self.is_avoided(now) {
            let mut writer = self.writer.lock();
            writer.trust.give(self.ttft_peak_ms(now), now);
            self.ttft_peak.set(UNKNOWN, now);
        }
    }

    fn view(&self) -> View {
        View { out_until: self.out_until.load(Relaxed), closed_since: self.closed_since.load(Relaxed) }
    }

    pub(super) fn with_breaker<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut writer = self.writer.lock();
        let changed = change(&mut writer.breaker);
        self.publish(&writer.breaker);
        changed
    }

    pub(super) fn publish(&self, breaker: &Breaker) {
        let View { out_until, closed_since } = breaker.view();
        self.out_until.store(out_until, Relaxed);
        self.closed_since.store(closed_since, Relaxed);
    }

    /// Back in service, a deployment is warmed up by its slow start; what its failures once cost is forgotten.
    pub(super) fn forgive(&self, writer: &mut Writer, transition: Option<Transition>, now: Millis) {
        if transition == Some(Transition::Closed) {
            writer.trust.restore(now);
            self.ttft_peak.set(self.usual_ttft.value(), now);
            self.consecutive_failures.store(0, Relaxed);
            self.error_rate.record(0.0, 1.0, now);
        }
    }
}

/// What no time is known of shows as this.
const UNKNOWN: f64 = 0.0;
