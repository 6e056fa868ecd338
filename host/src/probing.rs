//! Probes the providers of deployments that are down or idle, one question at a time for each provider.
//!
//! A deployment that answers requests is not probed: its requests say more. What is probed in vain while it is idle is
//! asked as often as one that is down, so that it is known before the next request comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use witgate_core::breaker::BreakerState;
use witgate_core::config::Probe;
use witgate_core::live::{Live, Millis};

use crate::clock;
use crate::gateway::Gateway;
use crate::pace::Pace;
use crate::snapshot::Snapshot;
use crate::upstream::Probed;

/// Probes until it is dropped.
pub async fn run(gateway: Arc<Gateway>) {
    let mut probing = Probing::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => probing.start(&gateway),
            Some(ended) = probing.running.join_next() => {
                if let Ok((provider, result)) = ended {
                    probing.ended(&gateway, &provider, result);
                }
            }
        }
    }
}

#[derive(Default)]
struct Probing {
    running: JoinSet<(Arc<str>, Option<Probed>)>,
    providers: HashMap<Arc<str>, Asked>,
}

/// When a provider is to be asked next, and what it said last.
struct Asked {
    pace: Pace,
    bad: bool,
}

/// Why a provider is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Some deployment of it is out.
    Down,
    /// Routers keep away from some deployment of it, which perhaps is well again.
    Doubtful,
    /// Nobody has heard of it for a while.
    Idle,
}

impl Probing {
    fn start(&mut self, gateway: &Arc<Gateway>) {
        let snapshot = gateway.snapshot();
        let (now, instant) = (clock::monotonic(), Instant::now());
        self.providers.retain(|name, _| snapshot.config.providers.iter().any(|provider| provider.name == *name));
        for (place, provider) in snapshot.config.providers.iter().enumerate() {
            let Some(probe) = &provider.probe else { continue };
            let was_bad = self.providers.get(&provider.name).is_some_and(|asked| asked.bad);
            let Some(need) = need(&snapshot, place, probe, was_bad, now) else {
                // It answers requests.
                self.providers.remove(&provider.name);
                continue;
            };
            let distance = match need {
                Need::Down | Need::Doubtful => probe.interval,
                Need::Idle => probe.idle,
            };
            // Who has just failed is given a moment; who is doubtful or idle has been silent for long enough.
            let first = if need == Need::Down { instant + distance } else { instant };
            let first = Asked { pace: Pace::from(first), bad: false };
            let asked = self.providers.entry(Arc::clone(&provider.name)).or_insert(first);
            if asked.pace.is_due(distance, instant) {
                let (name, upstreams) = (Arc::clone(&provider.name), Arc::clone(&snapshot.upstreams));
                self.running.spawn(async move { (name, upstreams.probe(place).await) });
            }
        }
    }

    fn ended(&mut self, gateway: &Gateway, name: &Arc<str>, result: Option<Probed>) {
        let snapshot = gateway.snapshot();
        let place = snapshot.config.providers.iter().position(|provider| provider.name == *name);
        if let Some(asked) = self.providers.get_mut(name) {
            asked.pace.ended();
            asked.bad = result == Some(Probed::Bad);
        }
        let (Some(result), Some(place)) = (result, place) else { return };
        gateway.parts.metrics.probed(name, result.label());
        let Some(probe) = &snapshot.config.providers[place].probe else { return };
        let now = clock::monotonic();
        for (number, live) in deployments(&snapshot, place) {
            let concerned = live.is_doubtful(probe.interval, now) || live.silent_ms(now) >= millis(probe.interval);
            let transition = match result {
                Probed::Good if concerned => live.probed(true, now),
                Probed::Bad if concerned => live.probed(false, now),
                Probed::Good | Probed::Bad | Probed::Unclear => None,
            };
            if let Some(transition) = transition {
                snapshot.breaker_changed(number, transition);
            }
        }
    }
}

/// Why the provider is asked; `None` when it need not be. What was `bad` while it was idle counts as down.
fn need(snapshot: &Snapshot, provider: usize, probe: &Probe, bad: bool, now: Millis) -> Option<Need> {
    let mut silence = None;
    let mut doubtful = false;
    for (_, live) in deployments(snapshot, provider) {
        if bad || live.breaker_state(now) != BreakerState::Closed {
            return Some(Need::Down);
        }
        doubtful |= live.is_doubtful(probe.interval, now);
        let since = live.silent_ms(now);
        silence = Some(silence.map_or(since, |shortest: f64| shortest.min(since)));
    }
    if doubtful {
        return Some(Need::Doubtful);
    }
    (silence? >= millis(probe.idle)).then_some(Need::Idle)
}

fn deployments(snapshot: &Snapshot, provider: usize) -> impl Iterator<Item = (usize, &Arc<Live>)> {
    let configured = snapshot.config.deployments.iter().zip(snapshot.fleet.deployments()).enumerate();
    let of_provider = configured.filter(move |(_, (configured, _))| configured.provider == provider);
    of_provider.map(|(number, (_, entry))| (number, &entry.live))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Short against every interval that may be configured.
const TICK: Duration = Duration::from_millis(100);
