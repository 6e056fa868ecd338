//! Keeps what model servers say of themselves fresh: one question at a time for each provider, more often while it
//! works. What is not heard any more is forgotten, and its signals are neutral again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use witgate_core::facts::Report;

use crate::clock;
use crate::gateway::Gateway;
use crate::pace::Pace;
use crate::snapshot::Snapshot;

/// Asks until it is dropped.
pub async fn run(gateway: Arc<Gateway>) {
    let mut asking = Asking::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => asking.start(&gateway),
            Some(ended) = asking.running.join_next() => {
                if let Ok(heard) = ended {
                    asking.ended(heard);
                }
            }
        }
    }
}

#[derive(Default)]
struct Asking {
    running: JoinSet<Heard>,
    providers: HashMap<Arc<str>, Pace>,
}

/// What one said.
struct Heard {
    name: Arc<str>,
    /// The one that was asked in: deployments are numbered by it.
    snapshot: Arc<Snapshot>,
    reports: Vec<(usize, Report)>,
    counts_for: Duration,
}

impl Asking {
    fn start(&mut self, gateway: &Arc<Gateway>) {
        let snapshot = gateway.snapshot();
        let now = Instant::now();
        self.providers.retain(|name, _| snapshot.config.providers.iter().any(|provider| provider.name == *name));
        for (place, provider) in snapshot.config.providers.iter().enumerate() {
            let Some(facts) = &provider.facts else { continue };
            let distance = if works(&snapshot, place) { facts.interval } else { facts.idle };
            let pace = self.providers.entry(Arc::clone(&provider.name)).or_insert(Pace::from(now));
            if !pace.is_due(distance, now) {
                continue;
            }
            let (name, snapshot) = (Arc::clone(&provider.name), Arc::clone(&snapshot));
            let counts_for = distance * MISSED + facts.timeout;
            self.running.spawn(async move {
                let reports = snapshot.upstreams.facts(place, &name).await;
                Heard { name, snapshot, reports, counts_for }
            });
        }
    }

    fn ended(&mut self, heard: Heard) {
        if let Some(pace) = self.providers.get_mut(&heard.name) {
            pace.ended();
        }
        let until = clock::monotonic().after(heard.counts_for);
        for (place, report) in heard.reports {
            if let Some(entry) = heard.snapshot.fleet.deployments().get(place) {
                entry.live.report(report, until);
            }
        }
    }
}

/// Whether a provider has requests, or had one in the last minute.
fn works(snapshot: &Snapshot, provider: usize) -> bool {
    let now = clock::monotonic();
    let deployments = snapshot.config.deployments.iter().zip(snapshot.fleet.deployments());
    deployments
        .filter(|(configured, _)| configured.provider == provider)
        .any(|(_, entry)| entry.live.in_flight() > 0 || entry.live.requests_per_minute(now) > 0.0)
}

/// Reports that may be missed before the last one counts no more.
const MISSED: u32 = 3;
/// Short against every interval that may be configured.
const TICK: Duration = Duration::from_millis(100);
