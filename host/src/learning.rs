//! Learns from model servers of one's own what their models are able of, so that it need not be configured: when a
//! configuration comes into service, and once a minute, since a server may have been started anew with another model.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use witgate_core::config::Dialect;

use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

/// Asks until it is dropped.
pub async fn run(gateway: Arc<Gateway>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked: Option<(usize, Instant)> = None;
    loop {
        ticks.tick().await;
        let snapshot = gateway.snapshot();
        // Policies alone change nothing about servers.
        let configuration = Arc::as_ptr(&snapshot.config) as usize;
        let is_new = asked.is_none_or(|(known, when)| known != configuration || when.elapsed() >= INTERVAL);
        if is_new {
            learn(&snapshot).await;
            asked = Some((configuration, Instant::now()));
        }
    }
}

async fn learn(snapshot: &Snapshot) {
    let asked = snapshot.config.providers.iter().enumerate().map(|(place, provider)| async move {
        let is_own = provider.catalogue == provider.name && provider.dialect != Dialect::Demo;
        // Whoever is not to be probed is left alone.
        if !is_own || provider.probe.is_none() {
            return;
        }
        for (number, learnt) in snapshot.upstreams.told(place, provider).await {
            if let Some(entry) = snapshot.fleet.deployments().get(number)
                && entry.live.learnt() != learnt
            {
                tracing::info!(
                    deployment = &*entry.spec.id,
                    context_tokens = learnt.context_tokens,
                    can = %names(learnt.abilities.which(true).map(witgate_core::ability::Ability::name)),
                    cannot = %names(learnt.abilities.which(false).map(witgate_core::ability::Ability::name)),
                    "the server tells what its model is able of"
                );
                entry.live.learn(learnt);
            }
        }
    });
    futures_util::future::join_all(asked).await;
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(",")
}

const TICK: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(60);
