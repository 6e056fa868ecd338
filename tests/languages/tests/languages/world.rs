//! A gateway without sockets, for policies that come as files.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use witgate_core::config::PolicyRules;
use witgate_core::decision::{Content, Facts, Names, Offer, Stamp};
use witgate_core::deployment::{Deployment, Price, UpstreamModel};
use witgate_core::fleet::Fleet;
use witgate_core::live::{InFlight, Live, Millis};
use witgate_core::outcome::{Asked, Outcome};
use witgate_core::plan::{Decision, Plan};
use witgate_core::vocabulary::{Ending, Fact, FailureKind};
use witgate_wasm::{BindError, Binding, CellStore, Component, Engine, EngineOptions, Policy};

/// The moment at which everything is asked, well after the history.
pub(crate) const NOW: Millis = Millis(100_000);

pub(crate) struct World {
    pub(crate) engine: Engine,
    fleet: Arc<Fleet>,
    cells: Arc<CellStore>,
    names: Arc<Tenants>,
    pub(crate) rules: PolicyRules,
    content: Option<Arc<dyn Content>>,
}

impl World {
    pub(crate) fn new<const N: usize>(deployments: [Deployment; N]) -> Self {
        // Compiling CPython takes ten seconds: one cache for all tests, also for those of the real program.
        let code_cache = Some(repository().join("target/real/code-cache"));
        Self {
            engine: Engine::new(EngineOptions { code_cache, workers: 1, ..EngineOptions::default() }).unwrap(),
            fleet: Arc::new(Fleet::new(deployments.map(Arc::new).to_vec(), vec!["test".into()], None)),
            cells: Arc::default(),
            names: Arc::default(),
            rules: PolicyRules {
                // a busy test machine must not be mistaken for a slow policy
                deadline: Duration::from_millis(500),
                memory: 64 << 20,
                calls: NonZeroU32::MAX,
                grant_headers: false,
                grant_prompt: false,
                log_lines: 100,
                ..PolicyRules::default()
            },
            content: None,
        }
    }

    pub(crate) fn live(&self, target: usize) -> &Arc<Live> {
        &self.fleet.deployments()[target].live
    }

    /// Requests that go on running.
    pub(crate) fn busy(&self, target: usize, requests: usize) -> Vec<InFlight> {
        (0..requests).map(|_| self.live(target).begin(100, NOW)).collect()
    }

    /// An answer that asked for a pause of ten seconds.
    pub(crate) fn pause(&self, target: usize) {
        let outcome = Outcome {
            decision: 1,
            attempt: 0,
            target: target as u32,
            tag: 0,
            ending: Ending::Failed,
            failure: Some(FailureKind::Overloaded),
            status: 503,
            retry_after: Some(Duration::from_secs(10)),
            ttft: None,
            latency: Duration::from_millis(50),
            tokens_in: 0,
            tokens_out: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            reasoning_tokens: 0,
            usd: 0.0,
            asked: Asked::default(),
        };
        self.live(target).begin(0, NOW).finish(&outcome, NOW);
    }

    pub(crate) fn tenant(&mut self, id: u32, name: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        Arc::get_mut(&mut self.names).unwrap().0.insert(id, Tenant { name: name.into(), labels });
    }

    /// From now on, requests have this prompt, and policies may read it.
    pub(crate) fn prompt(&mut self, text: &str) {
        self.rules.grant_prompt = true;
        self.content = Some(Arc::new(Prompt(text.to_owned())));
    }

    pub(crate) fn load(&self, name: &str, bytes: &[u8]) -> Arc<Component> {
        self.engine.load(name, bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_bind(&self, name: &str, bytes: &[u8], settings: Value) -> Result<Arc<Policy>, BindError> {
        let binding = Binding {
            settings: Arc::new(settings),
            rules: self.rules.clone(),
            fleet: Arc::clone(&self.fleet),
            names: Arc::<Tenants>::clone(&self.names),
            cells: Arc::clone(&self.cells),
        };
        self.engine.bind(&self.load(name, bytes), binding)
    }

    /// An example, as `make guests-extra` has built it.
    pub(crate) fn example(&self, name: &str, settings: Value) -> Arc<Policy> {
        self.try_bind(name, &example(name), settings).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why an example is not put into service with these settings.
    pub(crate) fn refusal(&self, name: &str, settings: Value) -> String {
        self.try_bind(name, &example(name), settings).unwrap_err().problem.to_string()
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
            content: self.content.clone(),
            readings: None,
        }
    }
}

/// A policy that `make guests-extra` has built.
pub(crate) fn example(name: &str) -> Vec<u8> {
    let file = repository().join("target/guests-extra").join(name).with_extension("wasm");
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run `make guests-extra`", file.display()))
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// `model@provider`, with nothing configured.
pub(crate) fn deployment(id: &str) -> Deployment {
    let (model, provider) = id.split_once('@').unwrap();
    Deployment {
        id: id.into(),
        provider: provider.into(),
        model: UpstreamModel::Named(model.into()),
        ..Deployment::default()
    }
}

pub(crate) fn labelled(id: &str, key: &str, value: &str) -> Deployment {
    Deployment { labels: vec![(key.into(), value.into())], ..deployment(id) }
}

/// USD per million tokens, in and out alike.
pub(crate) fn priced(id: &str, usd: f64) -> Deployment {
    Deployment { price: Some(Price { input: usd, output: usd, ..Price::default() }), ..deployment(id) }
}

pub(crate) fn decide(policy: &Policy, offer: &Offer) -> Decision {
    policy.route(offer, &offer.candidates, None).unwrap_or_else(|failure| panic!("{failure}"))
}

pub(crate) fn plan(policy: &Policy, offer: &Offer) -> Plan {
    match decide(policy, offer) {
        Decision::Run(plan) => plan,
        other => panic!("no plan: {other:?}"),
    }
}

/// What a router would try, in order.
pub(crate) fn targets(policy: &Policy, offer: &Offer) -> Vec<u32> {
    plan(policy, offer).attempts.iter().map(|attempt| attempt.target).collect()
}

#[derive(Default)]
struct Tenants(HashMap<u32, Tenant>);

struct Tenant {
    name: Arc<str>,
    labels: HashMap<String, Arc<str>>,
}

impl Names for Tenants {
    fn tenant(&self, id: u32) -> Arc<str> {
        self.0.get(&id).map_or_else(|| "".into(), |tenant| Arc::clone(&tenant.name))
    }
    fn tenant_label(&self, id: u32, key: &str) -> Option<Arc<str>> {
        self.0.get(&id).and_then(|tenant| tenant.labels.get(key)).cloned()
    }
    fn route(&self, _: u32) -> Arc<str> {
        "test".into()
    }
    fn model(&self, _: u32) -> Arc<str> {
        "".into()
    }
}

struct Prompt(String);

impl Content for Prompt {
    fn header(&self, _: &str) -> Option<&str> {
        None
    }
    fn prompt(&self) -> &str {
        &self.0
    }
}
