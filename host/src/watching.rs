//! Keeps in step with the models that watched providers have: asks for their lists, and has the configuration read again
//! when one has changed. Requests keep the snapshot that they came in with, so none in flight notices.
//!
//! A provider that does not answer keeps what it had: that it is down is the breaker's business.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use witgate_core::survey::Model;

use crate::config_files::FoundModels;
use crate::gateway::Gateway;
use crate::pace::Pace;
use crate::upstream::{DiscoverError, models_of};

/// Watches until it is dropped.
pub async fn run(gateway: Arc<Gateway>, found: FoundModels) {
    let mut watching = Watching::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => watching.start(&gateway),
            Some(ended) = watching.running.join_next() => {
                if let Ok((provider, result)) = ended && watching.heard(&found, &provider, result) {
                    gateway.reload_now().await;
                }
            }
        }
    }
}

type Answer = (Arc<str>, Result<Vec<Model>, DiscoverError>);

#[derive(Default)]
struct Watching {
    running: JoinSet<Answer>,
    providers: HashMap<Arc<str>, Watched>,
}

struct Watched {
    pace: Pace,
    /// It did not answer; said once.
    silent: bool,
}

impl Watching {
    fn start(&mut self, gateway: &Gateway) {
        let snapshot = gateway.snapshot();
        let now = Instant::now();
        self.providers.retain(|name, _| snapshot.config.providers.iter().any(|provider| provider.name == *name));
        for provider in &snapshot.config.providers {
            let Some(interval) = provider.watch_models else { continue };
            let first = Watched { pace: Pace::from(now), silent: false };
            let watched = self.providers.entry(Arc::clone(&provider.name)).or_insert(first);
            if !watched.pace.is_due(interval, now) {
                continue;
            }
            let provider = provider.clone();
            self.running.spawn(async move {
                let models = models_of(&provider, PATIENCE).await;
                (provider.name, models)
            });
        }
    }

    /// Whether there is news.
    fn heard(&mut self, found: &FoundModels, provider: &Arc<str>, result: Result<Vec<Model>, DiscoverError>) -> bool {
        let Some(watched) = self.providers.get_mut(provider) else { return false };
        watched.pace.ended();
        match result {
            Ok(models) => {
                watched.silent = false;
                let names: Vec<&str> = models.iter().map(|model| &*model.id).collect();
                let names = names.join(", ");
                let news = found.set(provider, models);
                if news {
                    tracing::info!(provider = &**provider, models = names, "the provider's models");
                }
                news
            }
            Err(error) => {
                if !std::mem::replace(&mut watched.silent, true) {
                    tracing::warn!(provider = &**provider, %error, "its models are not known; those that it had stay");
                }
                false
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
/// Short against every interval that may be configured.
const TICK: Duration = Duration::from_millis(200);
