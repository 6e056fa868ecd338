//! Two deployments and an engine.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use witgate_core::config::PolicyRules;
use witgate_core::decision::{Facts, Names, Offer, Stamp};
use witgate_core::deployment::Deployment;
use witgate_core::fleet::Fleet;
use witgate_core::live::Millis;
use witgate_core::plan::Decision;
use witgate_core::vocabulary::Fact;
use witgate_wasm::{BindError, Binding, CellStore, Component, Engine, EngineOptions, LoadError, Policy};

pub(crate) struct World {
    engine: Engine,
    fleet: Arc<Fleet>,
    cells: Arc<CellStore>,
    pub(crate) rules: PolicyRules,
}

impl World {
    pub(crate) fn new() -> Self {
        let deployments = ["m@a", "m@b"].map(|id| Arc::new(deployment(id)));
        Self {
            engine: Engine::new(EngineOptions { workers: 1, ..EngineOptions::default() }).unwrap(),
            fleet: Arc::new(Fleet::new(deployments.to_vec(), vec!["test".into()], None)),
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

    pub(crate) fn load(&self, name: &str, bytes: &[u8]) -> Result<Arc<Component>, LoadError> {
        self.engine.load(name, bytes)
    }

    pub(crate) fn bind(&self, name: &str, bytes: &[u8], settings: Value) -> Result<Arc<Policy>, BindError> {
        let component = self.load(name, bytes).unwrap_or_else(|error| panic!("{error}"));
        let binding = Binding {
            settings: Arc::new(settings),
            rules: self.rules.clone(),
            fleet: Arc::clone(&self.fleet),
            names: Arc::new(NoNames),
            cells: Arc::clone(&self.cells),
        };
        self.engine.bind(&component, binding)
    }

    pub(crate) fn offer(&self, facts: &[(Fact, f64)]) -> Offer {
        let mut known = Facts::default();
        facts.iter().for_each(|(fact, value)| known.set(*fact, *value));
        Offer {
            stamp: Stamp { decision: 1, attempt: 0, seed: 1, now_ms: 1.8e12 },
            now: Millis(100_000),
            candidates: vec![0, 1],
            facts: known,
            content: None,
            readings: None,
        }
    }
}

/// What a router picks.
pub(crate) fn pick(policy: &Policy, offer: &Offer) -> u32 {
    match policy.route(offer, &offer.candidates, None).unwrap() {
        Decision::Run(plan) => plan.attempts[0].target,
        other => panic!("no plan: {other:?}"),
    }
}

fn deployment(id: &str) -> Deployment {
    Deployment { id: id.into(), provider: "test".into(), ..Deployment::default() }
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
