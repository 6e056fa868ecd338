//! A gateway without sockets: deployments with a history, an engine, an offer.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use witgate_core::config::PolicyRules;
use witgate_core::decision::{Facts, Names, Offer, Stamp};
use witgate_core::deployment::{Deployment, UpstreamModel};
use witgate_core::fleet::Fleet;
use witgate_core::live::{InFlight, Live, Millis};
use witgate_core::outcome::{Asked, Outcome};
use witgate_core::plan::Decision;
use witgate_core::vocabulary::{Ending, Fact, FailureKind};
use witgate_wasm::{BindError, Binding, CellStore, Engine, EngineOptions, Policy};

/// The moment at which everything is asked, well after the history.
pub(crate) const NOW: Millis = Millis(100_000);

pub(crate) struct World {
    engine: Engine,
    fleet: Arc<Fleet>,
    cells: Arc<CellStore>,
    rules: PolicyRules,
}

impl World {
    pub(crate) fn new<const N: usize>(deployments: [Deployment; N]) -> Self {
        let deployments = deployments.into_iter().map(Arc::new).collect();
        Self {
            engine: Engine::new(EngineOptions { workers: 1, ..EngineOptions::default() }).unwrap(),
            fleet: Arc::new(Fleet::new(deployments, vec!["test".into()], None)),
            cells: Arc::default(),
            rules: PolicyRules {
                // a busy test machine must not be mistaken for a slow policy
                deadline: Duration::from_millis(100),
                memory: 16 << 20,
                calls: NonZeroU32::MAX,
                ..PolicyRules::default()
            },
        }
    }

    pub(crate) fn live(&self, target: usize) -> &Arc<Live> {
        &self.fleet.deployments()[target].live
    }

    /// Requests that go on running, with these tokens each.
    pub(crate) fn busy(&self, target: usize, requests: usize, tokens: u32) -> Vec<InFlight> {
        (0..requests).map(|_| self.live(target).begin(tokens, NOW)).collect()
    }

    /// So many answers just now, each after this time.
    pub(crate) fn served(&self, target: usize, times: usize, millis: u64) {
        let outcome = Outcome { ttft: Some(Duration::from_millis(millis)), ..outcome(Ending::Served, millis) };
        (0..times).for_each(|_| _ = self.live(target).begin(0, NOW).finish(&outcome, NOW));
    }

    /// So many failures just now.
    pub(crate) fn failed(&self, target: usize, times: usize, kind: FailureKind) {
        let outcome = Outcome { failure: Some(kind), ..outcome(Ending::Failed, 50) };
        (0..times).for_each(|_| _ = self.live(target).begin(0, NOW).finish(&outcome, NOW));
    }

    pub(crate) fn try_bind(&self, name: &str, settings: Value) -> Result<Arc<Policy>, BindError> {
        let bytes = witgate_shipped::find(name).unwrap().bytes;
        let component = self.engine.load(name, bytes).unwrap_or_else(|error| panic!("{error}"));
        let binding = Binding {
            settings: Arc::new(settings),
            rules: self.rules.clone(),
            fleet: Arc::clone(&self.fleet),
            names: Arc::new(NoNames),
            cells: Arc::clone(&self.cells),
        };
        self.engine.bind(&component, binding)
    }

    pub(crate) fn bind(&self, name: &str, settings: Value) -> Arc<Policy> {
        self.try_bind(name, settings).unwrap_or_else(|error| panic!("{error}"))
    }

    /// All deployments as candidates.
    pub(crate) fn offer(&self, facts: &[(Fact, f64)]) -> Offer {
        let mut known = Facts::default();
        facts.iter().for_each(|(fact, value)| known.set(*fact, *value));
        Offer {
            stamp: Stamp { decision: 1, attempt: 0, seed: 7, now_ms: 1.8e12 },
            now: NOW,
            candidates: (0..self.fleet.deployments().len() as u32).collect(),
            facts: known,
            content: None,
            readings: None,
        }
    }
}

/// Every target that a router picks over many seeds, sorted.
pub(crate) fn picked(policy: &Policy, offer: &Offer) -> Vec<u32> {
    let mut targets: Vec<u32> = (0..64).map(|seed| pick(policy, offer, seed)).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// What a router picks.
pub(crate) fn pick(policy: &Policy, offer: &Offer, seed: u32) -> u32 {
    let stamp = Stamp { seed, ..offer.stamp };
    let offer = Offer {
        stamp,
        now: offer.now,
        candidates: offer.candidates.clone(),
        facts: offer.facts.clone(),
        content: offer.content.clone(),
        readings: None,
    };
    match policy.route(&offer, &offer.candidates, None).unwrap() {
        Decision::Run(plan) => plan.attempts[0].target,
        other => panic!("no plan: {other:?}"),
    }
}

pub(crate) fn deployment(id: &str) -> Deployment {
    let (model, provider) = id.split_once('@').unwrap();
    Deployment {
        id: id.into(),
        provider: provider.into(),
        model: UpstreamModel::Named(model.into()),
        ..Deployment::default()
    }
}

fn outcome(ending: Ending, millis: u64) -> Outcome {
    Outcome {
        decision: 1,
        attempt: 0,
        target: 0,
        tag: 0,
        ending,
        failure: None,
        status: 200,
        retry_after: None,
        ttft: None,
        latency: Duration::from_millis(millis),
        tokens_in: 10,
        tokens_out: 10,
        cached_tokens: 0,
        cache_write_tokens: 0,
        reasoning_tokens: 0,
        usd: 0.0,
        asked: Asked::default(),
    }
}

struct NoNames;

impl Names for NoNames {
    fn tenant(&self, _: u32) -> Arc<str> {
        "".into()
    }
    fn tenant_label(&self, _: u32, _: &str) -> Option<Arc<str>> {
        None
    }
    fn route(&self, _: u32) -> Arc<str> {
        "test".into()
    }
    fn model(&self, _: u32) -> Arc<str> {
        "".into()
    }
}
