//! A small gateway around the engine: some deployments, names, an offer.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use witgate_core::config::PolicyRules;
use witgate_core::decision::{Content, Facts, Names, Offer, Stamp};
use witgate_core::deployment::Deployment;
use witgate_core::fleet::Fleet;
use witgate_core::live::Millis;
use witgate_core::plan::Decision;
use witgate_wasm::{BindError, Binding, CellStore, Engine, EngineOptions, LoadError, Policy};

use crate::guest::Guest;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) cells: Arc<CellStore>,
    pub(crate) rules: PolicyRules,
    pub(crate) settings: Value,
}

/// One worker; a deadline that a busy test machine keeps.
pub(crate) fn world() -> World {
    World {
        engine: Engine::new(EngineOptions { workers: 1, ..EngineOptions::default() }).unwrap(),
        cells: Arc::default(),
        rules: PolicyRules {
            deadline: Duration::from_millis(50),
            memory: 1 << 20,
            calls: NonZeroU32::MAX,
            ..PolicyRules::default()
        },
        settings: json!({}),
    }
}

impl World {
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<Arc<witgate_wasm::Component>, LoadError> {
        self.engine.load("test", bytes)
    }

    pub(crate) fn try_bind(&self, guest: &Guest) -> Result<Arc<Policy>, BindError> {
        self.engine.bind(&self.load(&guest.module()).unwrap(), self.binding())
    }

    pub(crate) fn bind(&self, guest: &Guest) -> Arc<Policy> {
        self.try_bind(guest).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn binding(&self) -> Binding {
        Binding {
            settings: Arc::new(self.settings.clone()),
            rules: self.rules.clone(),
            fleet: Arc::new(fleet(4)),
            names: Arc::new(Named),
            cells: Arc::clone(&self.cells),
        }
    }
}

pub(crate) fn fleet(deployments: u32) -> Fleet {
    let deployment = |number: u32| {
        Arc::new(Deployment {
            id: format!("m@{number}").into(),
            provider: "p".into(),
            region: "eu".into(),
            capabilities: vec!["chat".into()],
            labels: vec![("tier".into(), "gold".into())],
            weight: f64::from(number + 1),
            ..Deployment::default()
        })
    };
    Fleet::new((0..deployments).map(deployment).collect(), vec!["first".into()], None)
}

pub(crate) fn offer(candidates: &[u32]) -> Offer {
    Offer {
        stamp: Stamp { decision: 1, attempt: 0, seed: 7, now_ms: 0.0 },
        now: Millis(0),
        candidates: candidates.to_vec(),
        facts: Facts::default(),
        content: Some(Arc::new(Texts)),
        readings: None,
    }
}

/// The deployment that a decision's plan starts with.
pub(crate) fn target(decision: &Decision) -> u32 {
    match decision {
        Decision::Run(plan) => plan.attempts[0].target,
        other => panic!("expected a plan, got {other:?}"),
    }
}

struct Texts;

impl Content for Texts {
    fn header(&self, name: &str) -> Option<&str> {
        match name.to_ascii_lowercase().as_str() {
            "x-team" => Some("red"),
            "authorization" => Some("Bearer secret"),
            _ => None,
        }
    }

    fn prompt(&self) -> &str {
        "Grüße"
    }
}

struct Named;

impl Names for Named {
    fn tenant(&self, id: u32) -> Arc<str> {
        if id == 1 { "acme" } else { "" }.into()
    }
    fn tenant_label(&self, _: u32, _: &str) -> Option<Arc<str>> {
        None
    }
    fn route(&self, _: u32) -> Arc<str> {
        "first".into()
    }
    fn model(&self, _: u32) -> Arc<str> {
        "gpt".into()
    }
}
