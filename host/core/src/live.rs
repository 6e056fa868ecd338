//! How one deployment is doing: the live numbers behind the signals.
//!
//! Reading is a handful of relaxed atomic loads, because every decision reads several signals of every candidate.
//! Writing happens twice for each attempt, under a short lock, and publishes whole values. The numbers of one
//! reading may therefore be a few microseconds apart; none is ever NaN or infinite. They outlive a reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::breaker::{Breaker, Ticket, Transition};
use crate::outcome::Outcome;
use crate::vocabulary::{Ending, FailureKind};

mod ewma;
mod health;
mod keys;
mod learnt;
mod quantiles;
mod reported;
mod trust;
mod usual;
mod window;

use ewma::{Ewma, PeakEwma};
use keys::Keys;
pub use keys::{MOST_KEYS, ProviderKeys};
pub use learnt::Learnt;
use learnt::Told;
use quantiles::{Quantiles, RecentHistogram};
use reported::Reported;
use trust::Trust;
use usual::Usual;
use window::SlidingMinute;

/// Milliseconds on the monotonic clock, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// Time since `earlier`, in milliseconds; 0 when `earlier` is later.
    pub fn since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64
    }

    /// This moment and `duration` more.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The live numbers of one deployment.
#[derive(Debug, Default)]
pub struct Live {
    in_flight: AtomicU32,
    queued: AtomicU32,
    tokens_in_flight: AtomicU64,
    cooldown_until: AtomicU64,
    consecutive_failures: AtomicU32,
    samples: AtomicU32,
    requests: SlidingMinute,
    tokens: SlidingMinute,
    ttft: Ewma,
    ttft_peak: PeakEwma,
    usual_ttft: Usual,
    latency: Ewma,
    tokens_per_second: Ewma,
    error_rate: Ewma,
    ttft_quantiles: Quantiles,
    latency_quantiles: Quantiles,
    keys: Keys,
    last_heard: AtomicU64,
    out_until: AtomicU64,
    closed_since: AtomicU64,
    slow_start_ms: AtomicU32,
    reported: Reported,
    told: Told,
    writer: Mutex<Writer>,
}

/// What only writers need.
#[derive(Debug, Default)]
struct Writer {
    ttft: RecentHistogram,
    latency: RecentHistogram,
    breaker: Breaker,
    trust: Trust,
}

/// One attempt in flight; leaving the scope without [`InFlight::finish`] only takes it out of the counts.
#[derive(Debug)]
pub struct InFlight {
    live: Arc<Live>,
    tokens: u32,
    key: usize,
    ticket: Ticket,
    /// A success has been told already, at the first token.
    told: bool,
}

/// One request that waits for the deployment.
#[derive(Debug)]
pub struct Queued(Arc<Live>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Relaxed);
    }
}

impl Live {
    /// Counts a request as waiting until the value is dropped.
    pub fn queue(self: &Arc<Self>) -> Queued {
        self.queued.fetch_add(1, Relaxed);
        Queued(Arc::clone(self))
    }

    /// Requests that wait.
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// Counts an attempt as running, with its estimated tokens.
    pub fn begin(self: &Arc<Self>, tokens: u32, now: Millis) -> InFlight {
        let mut writer = self.writer.lock();
        let ticket = writer.breaker.begin_anyway(now);
        self.begun(&mut writer, tokens, ticket, now)
    }

    /// The same, unless the deployment is half-open and its trials are taken.
    pub fn begin_if_admitted(self: &Arc<Self>, tokens: u32, now: Millis) -> Option<InFlight> {
        let mut writer = self.writer.lock();
        let ticket = writer.breaker.begin(now)?;
        Some(self.begun(&mut writer, tokens, ticket, now))
    }

    fn begun(self: &Arc<Self>, writer: &mut Writer, tokens: u32, ticket: Ticket, now: Millis) -> InFlight {
        self.publish(&writer.breaker);
        if let Some(otherwise) = writer.trust.begins() {
            self.ttft_peak.set(otherwise, now);
        }
        self.in_flight.fetch_add(1, Relaxed);
        self.tokens_in_flight.fetch_add(u64::from(tokens), Relaxed);
        self.requests.add(1.0, now);
        self.tokens.add(f64::from(tokens), now);
        InFlight { live: Arc::clone(self), tokens, key: self.keys.next(now), ticket, told: false }
    }

    /// Of a deployment at this provider.
    pub fn with_keys_of(provider: Arc<ProviderKeys>) -> Self {
        Self { keys: Keys::of(provider), ..Self::default() }
    }

    /// The key whose turn it is, for what is no attempt.
    pub fn next_key(&self, now: Millis) -> usize {
        self.keys.next(now)
    }

    /// The server has told what its model is able of; what it does not tell any more is forgotten.
    pub fn learn(&self, learnt: Learnt) {
        self.told.learn(learnt);
    }

    /// What the server has told.
    pub fn learnt(&self) -> Learnt {
        self.told.learnt()
    }

    /// Attempts running now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Estimated tokens of the attempts running now.
    pub fn tokens_in_flight(&self) -> u64 {
        self.tokens_in_flight.load(Relaxed)
    }

    /// Milliseconds until the deployment wants to be asked again, and some key may be used.
    pub fn cooldown_ms(&self, now: Millis) -> f64 {
        Millis(self.cooldown_until.load(Relaxed)).since(now).max(self.keys.cooldown_ms(now))
    }

    /// Failures in a row.
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures.load(Relaxed)
    }

    /// Attempts that ended.
    pub fn samples(&self) -> u32 {
        self.samples.load(Relaxed)
    }

    /// Requests started in the last minute.
    pub fn requests_per_minute(&self, now: Millis) -> f64 {
        self.requests.sum(now)
    }

    /// Tokens used in the last minute.
    pub fn tokens_per_minute(&self, now: Millis) -> f64 {
        self.tokens.sum(now)
    }

    /// Mean time to first token, ms.
    pub fn ttft_ms(&self) -> f64 {
        self.ttft.value()
    }

    /// Peak-sensitive time to first token, ms.
    pub fn ttft_peak_ms(&self, now: Millis) -> f64 {
        self.ttft_peak.value(now)
    }

    /// Mean time to the end, ms.
    pub fn latency_ms(&self) -> f64 {
        self.latency.value()
    }

    /// Output tokens a second of one request.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens_per_second.value()
    }

    /// Share of failures.
    pub fn error_rate(&self) -> f64 {
        self.error_rate.value()
    }

    /// Quantiles of time to first token, ms.
    pub fn ttft_quantiles(&self) -> [f64; 3] {
        self.ttft_quantiles.values()
    }

    /// Quantiles of time to the end, ms.
    pub fn latency_quantiles(&self) -> [f64; 3] {
        self.latency_quantiles.values()
    }

    fn record(&self, outcome: &Outcome, in_flight: &mut InFlight, now: Millis) -> Option<Transition> {
        let mut writer = self.writer.lock();
        self.samples.fetch_add(1, Relaxed);
        self.last_heard.fetch_max(now.0, Relaxed);
        let used = f64::from(outcome.tokens_in) + f64::from(outcome.tokens_out);
        match outcome.ending {
            Ending::Served => {
                self.tokens.add(used - f64::from(in_flight.tokens), now);
                self.keys.served(in_flight.key);
                self.consecutive_failures.store(0, Relaxed);
                self.error_rate.record(0.0, ERROR_RATE_DECAY_MS, now);
                self.record_times(&mut writer, outcome, in_flight, now);
            }
            Ending::Failed => self.record_failure(&mut writer, outcome, in_flight, now),
            // Says nothing about the deployment, but a first token that came was a real one.
            Ending::Cancelled | Ending::HedgeLost => {
                if let Some(ttft) = outcome.ttft {
                    let millis = millis(ttft);
                    self.ttft.record(millis, TIME_DECAY_MS, now);
                    self.record_peak(&mut writer, millis, in_flight, now);
                }
            }
        }
        let transition = match (outcome.ending, outcome.failure) {
            (Ending::Failed, Some(kind)) => writer.breaker.failed(&mut in_flight.ticket, kind, now),
            (Ending::Served, _) if !in_flight.told => writer.breaker.succeeded(&mut in_flight.ticket, now),
            (Ending::Served | Ending::Failed | Ending::Cancelled | Ending::HedgeLost, _) => {
                writer.breaker.ended(&mut in_flight.ticket, now);
                None
            }
        };
        self.publish(&writer.breaker);
        self.forgive(&mut writer, transition, now);
        transition
    }

    fn record_times(&self, writer: &mut Writer, outcome: &Outcome, in_flight: &InFlight, now: Millis) {
        let latency = millis(outcome.latency);
        let ttft = outcome.ttft.map_or(latency, millis);
        self.ttft.record(ttft, TIME_DECAY_MS, now);
        self.usual_ttft.record(ttft, now);
        let is_usual = ttft <= self.usual_ttft.value() * SLOWER + NOISE_MS;
        if is_usual && writer.trust.proves_well(in_flight.ticket.begun()) {
            self.ttft_peak.set(ttft, now);
        } else {
            self.record_peak(writer, ttft, in_flight, now);
        }
        self.latency.record(latency, TIME_DECAY_MS, now);
        let generating = latency - if outcome.asked.streaming { ttft } else { 0.0 };
        if outcome.tokens_out > 1 && generating > 0.0 {
            let rate = f64::from(outcome.tokens_out) / generating * 1000.0;
            self.tokens_per_second.record(rate, TIME_DECAY_MS, now);
        }
        if let Some(values) = writer.ttft.record(ttft, now) {
            self.ttft_quantiles.publish(values);
        }
        if let Some(values) = writer.latency.record(latency, now) {
            self.latency_quantiles.publish(values);
        }
    }

    fn record_peak(&self, writer: &mut Writer, millis: f64, in_flight: &InFlight, now: Millis) {
        if writer.trust.counts(millis, in_flight.ticket.begun()) {
            self.ttft_peak.record(millis, now);
        }
    }

    fn record_failure(&self, writer: &mut Writer, outcome: &Outcome, in_flight: &InFlight, now: Millis) {
        let Some(kind) = outcome.failure.filter(|kind| kind.blames_deployment()) else { return };
        self.consecutive_failures.fetch_add(1, Relaxed);
        self.error_rate.record(1.0, ERROR_RATE_DECAY_MS, now);
        let asked = outcome.retry_after.map(|wait| wait.min(LONGEST_COOLDOWN));
        self.record_peak(writer, millis(asked.unwrap_or(FAILURE_PENALTY)), in_flight, now);
        let pause = match kind {
            // The key's, of which there may be others.
            FailureKind::RateLimited | FailureKind::Unauthorised | FailureKind::QuotaExhausted => {
                self.keys.failed(in_flight.key, kind, outcome.status, outcome.retry_after, now);
                None
            }
            FailureKind::Overloaded
            | FailureKind::Connect
            | FailureKind::ConnectTimeout
            | FailureKind::Reset
            | FailureKind::FirstByteTimeout
            | FailureKind::FirstTokenTimeout
            | FailureKind::Deadline
            | FailureKind::Stalled
            | FailureKind::Cut
            | FailureKind::ServerError
            | FailureKind::ContentPolicy
            | FailureKind::Unsupported
            | FailureKind::ModelNotFound
            | FailureKind::ContextLength
            | FailureKind::BadRequest
            | FailureKind::Malformed
            | FailureKind::ErrorInStream
            | FailureKind::QueueFull => asked,
        };
        if let Some(pause) = pause {
            // A later answer never shortens a pause that the provider asked for.
            self.cooldown_until.fetch_max(now.after(pause).0, Relaxed);
        }
    }
}

impl InFlight {
    /// Which of the provider's keys it uses.
    pub fn key(&self) -> usize {
        self.key
    }

    /// The first token has come. Of a trial that is enough: a long answer shall not keep the deployment out.
    pub fn answered(&mut self, now: Millis) -> Option<Transition> {
        if self.told || !self.ticket.is_trial() {
            return None;
        }
        self.told = true;
        let live = Arc::clone(&self.live);
        let mut writer = live.writer.lock();
        let transition = writer.breaker.succeeded(&mut self.ticket, now);
        live.publish(&writer.breaker);
        live.forgive(&mut writer, transition, now);
        transition
    }

    /// The attempt ended like this.
    pub fn finish(mut self, outcome: &Outcome, now: Millis) -> Option<Transition> {
        let live = Arc::clone(&self.live);
        live.record(outcome, &mut self, now)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.ticket.is_trial() {
            // Dropped without a word; the clock is not known here, and the trial's room is given back all the same.
            self.live.with_breaker(|breaker| breaker.abandon(&mut self.ticket));
        }
        self.live.in_flight.fetch_sub(1, Relaxed);
        self.live.tokens_in_flight.fetch_sub(u64::from(self.tokens), Relaxed);
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Of times and rates; Linkerd and Finagle use the same for their peak EWMA.
const TIME_DECAY_MS: f64 = 10_000.0;
/// Longer than for times: failures are rarer than answers.
const ERROR_RATE_DECAY_MS: f64 = 30_000.0;
/// What a failure without `Retry-After` counts as (Linkerd's failure-biased load metric).
const FAILURE_PENALTY: Duration = Duration::from_secs(5);
/// Times as slow as usual: then something is the matter. Of less, the peak has faded within seven seconds.
const SLOWER: f64 = 2.0;
/// So much more says nothing of a deployment: a new connection, or a busy machine in between.
const NOISE_MS: f64 = 50.0;
/// However long a provider says.
const LONGEST_COOLDOWN: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
