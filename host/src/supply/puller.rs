//! Follows the artifacts that policies come from: one task for each, off the request path and off the reload thread.
//!
//! A task first hands over the copy that is kept, if there is one, and then asks the registry: once for a digest, at
//! each interval for a tag, and after a failure again with growing pauses. What has arrived and is proven waits for
//! the reload thread, which is woken; whatever goes wrong is shown and logged, and what serves goes on serving.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use witgate_core::config::{OciReference, Supply};

use super::copies::Copies;
use super::registry::{Artifact, Looked, PullError, Registry};
use super::{Arrived, PullStatus};
use crate::telemetry::metrics::Metrics;

/// Runs the tasks; they end with it.
pub(super) struct Puller {
    wanted: watch::Sender<Arc<Supply>>,
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

/// What the tasks and the reload thread share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) copies: Copies,
    metrics: Option<Arc<Metrics>>,
    state: Mutex<State>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Some source has been heard of for the first time.
    heard: Notify,
    /// Each change says: ask again now.
    again: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// The configuration that counts; a task of another has nothing to say any more.
    wanted: Arc<Supply>,
    /// What has arrived since the last look; a newer one replaces the older.
    arrivals: BTreeMap<Arc<str>, Result<Arrived, String>>,
    /// By policy name.
    sources: BTreeMap<Arc<str>, Source>,
}

#[derive(Default)]
struct Source {
    /// Something arrived, or went wrong.
    heard: bool,
    last: Option<SystemTime>,
    problem: Option<String>,
}

impl Puller {
    /// Starts to follow the sources of `supply`. Needs to be called within the runtime.
    pub(super) fn start(supply: Arc<Supply>, copies: Copies, metrics: Arc<Metrics>) -> Self {
        let shared = Arc::new(Shared::new(copies, Some(metrics)));
        shared.expect(&supply);
        let (wanted, changes) = watch::channel(supply);
        let supervisor = tokio::spawn(supervise(changes, Arc::clone(&shared)));
        Self { wanted, shared, supervisor }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Follows the sources of another configuration from now on.
    pub(super) fn follow(&self, supply: Arc<Supply>) {
        self.shared.expect(&supply);
        self.wanted.send_replace(supply);
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        // The tasks go with their set; what they write appears whole or not at all.
        self.supervisor.abort();
    }
}

impl Shared {
    pub(super) fn new(copies: Copies, metrics: Option<Arc<Metrics>>) -> Self {
        Self { copies, metrics, ..Self::default() }
    }

    pub(super) fn expect(&self, supply: &Arc<Supply>) {
        let sources = supply.sources().map(|(name, _)| (Arc::clone(name), Source::default())).collect();
        *self.state.lock() = State { wanted: Arc::clone(supply), arrivals: BTreeMap::new(), sources };
    }

    /// Called whenever something has arrived or gone wrong.
    pub(super) fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A gateway has one reload thread.
        let _ = self.wake.set(Box::new(wake));
    }

    /// Asks every registry again now; what comes of it is heard later.
    pub(super) fn ask_again(&self) {
        self.again.send_replace(());
    }

    /// What has arrived since the last call.
    pub(super) fn arrivals(&self) -> BTreeMap<Arc<str>, Result<Arrived, String>> {
        std::mem::take(&mut self.state.lock().arrivals)
    }

    /// Puts something there for the reload thread.
    pub(super) fn arrived(&self, supply: &Arc<Supply>, policy: &Arc<str>, arrival: Result<Arrived, String>) {
        let mut state = self.state.lock();
        if Arc::ptr_eq(&state.wanted, supply) {
            state.arrivals.insert(Arc::clone(policy), arrival);
            self.hear(state, policy, |_| {});
        }
    }

    pub(super) fn status(&self, policy: &str) -> Option<PullStatus> {
        let state = self.state.lock();
        let source = state.sources.get(policy)?;
        let at = source.last.and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs()));
        Some(PullStatus { last_pull: at, problem: source.problem.clone() })
    }

    pub(super) fn is_heard(&self, policy: &str) -> bool {
        self.state.lock().sources.get(policy).is_some_and(|source| source.heard)
    }

    pub(super) fn problems(&self) -> Vec<String> {
        self.state.lock().sources.values().filter_map(|source| source.problem.clone()).collect()
    }

    /// Waits until every source has been heard of.
    pub(super) async fn all_heard(&self) {
        loop {
            let heard = self.heard.notified();
            if self.state.lock().sources.values().all(|source| source.heard) {
                return;
            }
            heard.await;
        }
    }

    /// The registry answered, or not.
    fn pulled(&self, supply: &Arc<Supply>, policy: &Arc<str>, result: &'static str, problem: Option<String>) {
        if let Some(metrics) = &self.metrics {
            metrics.policy_pull(result);
        }
        let state = self.state.lock();
        if Arc::ptr_eq(&state.wanted, supply) {
            self.hear(state, policy, |source| {
                if problem.is_none() {
                    source.last = Some(SystemTime::now());
                }
                source.problem = problem;
            });
        }
    }

    fn hear(&self, mut state: parking_lot::MutexGuard<'_, State>, policy: &Arc<str>, change: impl FnOnce(&mut Source)) {
        if let Some(source) = state.sources.get_mut(policy) {
            source.heard = true;
            change(source);
        }
        drop(state);
        self.heard.notify_waiters();
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}

/// Holds the tasks for one configuration until there is another.
async fn supervise(mut wanted: watch::Receiver<Arc<Supply>>, shared: Arc<Shared>) {
    // Each pull may hold a whole policy in memory.
    let at_once = Arc::new(Semaphore::new(PULLS_AT_ONCE));
    loop {
        let supply = Arc::clone(&wanted.borrow_and_update());
        let mut tasks = JoinSet::new();
        for (policy, reference) in supply.sources() {
            let task = Follow {
                policy: Arc::clone(policy),
                reference: reference.clone(),
                supply: Arc::clone(&supply),
                shared: Arc::clone(&shared),
                at_once: Arc::clone(&at_once),
                again: shared.again.subscribe(),
                registry: None,
                known: None,
            };
            tasks.spawn(task.run());
        }
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some(ended) = tasks.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "a task that follows a registry panicked");
                },
            }
        }
    }
}

/// One policy's source.
struct Follow {
    policy: Arc<str>,
    reference: OciReference,
    supply: Arc<Supply>,
    shared: Arc<Shared>,
    at_once: Arc<Semaphore>,
    again: watch::Receiver<()>,
    registry: Option<Arc<Registry>>,
    /// Digest of the artifact that was seen last, good or not.
    known: Option<String>,
}

impl Follow {
    async fn run(mut self) {
        self.hand_over_copy().await;
        if self.known.is_some() && self.reference.digest().is_some() {
            return;
        }
        let mut failures = 0;
        loop {
            let looked = self.look().await;
            failures = if looked.is_ok() { 0 } else { failures + 1 };
            let pause = pause(self.supply.pull.interval, failures, fastrand::f64());
            match looked {
                Ok(()) if self.reference.digest().is_some() => return,
                Ok(()) => {}
                Err(problem) => {
                    let (policy, retry_s) = (&*self.policy, pause.as_secs_f32());
                    tracing::warn!(
                        policy,
                        problem,
                        failures,
                        retry_s,
                        "policy not pulled; what served before serves on"
                    );
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.again.changed() => {}
            }
        }
    }

    /// The copy is the last good one by its own word; it has to be proven like any other.
    async fn hand_over_copy(&mut self) {
        let (shared, reference) = (Arc::clone(&self.shared), self.reference.clone());
        let Ok(Some(artifact)) = spawn_blocking(move || shared.copies.find(&reference)).await else { return };
        let digest = artifact.digest.clone();
        match self.admit(artifact, false).await {
            Ok(arrived) => {
                tracing::info!(policy = &*self.policy, source = %self.reference, digest, "policy taken from its kept copy");
                self.known = Some(digest);
                self.shared.arrived(&self.supply, &self.policy, Ok(arrived));
            }
            Err(refusal) => {
                tracing::warn!(policy = &*self.policy, problem = refusal, "the kept copy is not used");
            }
        }
    }

    /// One question to the registry, and what comes of it. The error is one that may pass.
    async fn look(&mut self) -> Result<(), String> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        let looked = self.ask().await;
        drop(permit);
        let (digest, pulled) = match looked {
            Ok(Looked::Unchanged) => {
                self.shared.pulled(&self.supply, &self.policy, "unchanged", None);
                return Ok(());
            }
            Ok(Looked::New(digest, pulled)) => (digest, pulled),
            Err(error) => return Err(self.failed(&error)),
        };
        match pulled {
            Ok(artifact) => {
                self.known = Some(digest.clone());
                self.take(artifact, &digest).await;
                Ok(())
            }
            Err(error) if error.is_refusal() => {
                self.known = Some(digest);
                self.refuse(format!("policy `{}`: {error}", self.policy));
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn ask(&mut self) -> Result<Looked, PullError> {
        let registry = match &self.registry {
            Some(registry) => Arc::clone(registry),
            None => {
                // Reads root certificates and docker's credentials.
                let (reference, access) = (self.reference.clone(), self.supply.access(&self.reference.host));
                let made = spawn_blocking(move || Registry::of(&reference, &access)).await;
                let made = made.unwrap_or_else(|error| {
                    Err(PullError::Unreachable { reference: self.reference.to_string(), reason: error.to_string() })
                })?;
                Arc::clone(self.registry.insert(Arc::new(made)))
            }
        };
        registry.look(&self.reference, self.known.as_deref(), &self.supply.pull).await
    }

    fn failed(&mut self, error: &PullError) -> String {
        let problem = format!("policy `{}`: {error}", self.policy);
        self.shared.pulled(&self.supply, &self.policy, "failed", Some(problem.clone()));
        // Credentials may have been renewed meanwhile.
        self.registry = None;
        problem
    }

    async fn take(&mut self, artifact: Artifact, digest: &str) {
        let bytes = artifact.bytes.len();
        match self.admit(artifact, true).await {
            Ok(arrived) => {
                tracing::info!(policy = &*self.policy, source = %self.reference, digest, bytes, "policy pulled");
                self.shared.pulled(&self.supply, &self.policy, "new", None);
                self.shared.arrived(&self.supply, &self.policy, Ok(arrived));
            }
            Err(problem) => self.refuse(problem),
        }
    }

    fn refuse(&self, problem: String) {
        self.shared.pulled(&self.supply, &self.policy, "refused", None);
        self.shared.arrived(&self.supply, &self.policy, Err(problem));
    }

    /// Checks, and keeps what is proven, on a thread that may block; gives the refusal's message. What is kept must be
    /// there before the reload thread says that it is good.
    async fn admit(&self, artifact: Artifact, keep: bool) -> Result<Arrived, String> {
        let (policy, reference, supply) = (Arc::clone(&self.policy), self.reference.clone(), Arc::clone(&self.supply));
        let shared = Arc::clone(&self.shared);
        let admitted = spawn_blocking(move || {
            let arrived = Arrived::prove(&supply, &policy, &reference, artifact)?;
            if keep {
                shared.copies.keep(&arrived);
            }
            Ok(arrived)
        });
        admitted.await.unwrap_or_else(|error| Err(format!("policy `{}`: checking it panicked: {error}", self.policy)))
    }
}

/// Before the next look: the interval, after failures from a second doubled up to it. `chance`, from 0 to 1, takes away
/// up to a fifth, so that many gateways do not ask at once.
fn pause(interval: Duration, failures: u32, chance: f64) -> Duration {
    let pause = match failures {
        0 => interval,
        failures => FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(20)).min(interval),
    };
    pause.mul_f64(1.0 - 0.2 * chance)
}

const PULLS_AT_ONCE: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_after_failures_and_never_above_the_interval() {
        let seconds = |failures, chance| pause(Duration::from_secs(300), failures, chance).as_secs_f64();
        let pauses: Vec<f64> =
            [0, 1, 2, 3, 9, 10, u32::MAX].into_iter().map(|failures| seconds(failures, 0.0)).collect();
        assert_eq!(pauses, [300.0, 1.0, 2.0, 4.0, 256.0, 300.0, 300.0]);
        assert_eq!((seconds(0, 1.0), seconds(1, 1.0)), (240.0, 0.8));
    }
}
