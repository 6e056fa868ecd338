//! Everything that one request needs to know, immutable: configuration, routes, policies, upstream clients.
//!
//! A request takes one snapshot at the door and keeps it, so it never sees half of a reload. [`prepare`] may fail
//! and touches nothing that serves; putting the result into service is one swap that cannot fail.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use witgate_core::breaker::Transition;
use witgate_core::config::{Config, Route, Secret, Stage};
use witgate_core::fleet::Fleet;
use witgate_core::routes::RouteTable;
use witgate_wasm::{Binding, CellStore, Chain, ChainStage, Hook, Imports, Policy, canonical_settings};

use crate::admission::Gate;
use crate::api::auth::KeyRing;
use crate::cache::Scope;
use crate::names::{ModelNames, NameTable};
use crate::pipeline::bounds::Budgets;
use crate::refusal;
use crate::reload::store::{PolicyStore, Source};
use crate::telemetry::metrics::{DeploymentMetrics, Metrics, RouteMetrics};
use crate::upstream::{Times, Upstreams};

/// What one request needs to know.
pub struct Snapshot {
    /// Goes up by one with each swap.
    pub generation: u64,
    /// As loaded.
    pub config: Arc<Config>,
    /// From a model name to a route.
    pub table: RouteTable,
    /// Deployments and their live numbers.
    pub fleet: Arc<Fleet>,
    /// Interned names.
    pub names: Arc<NameTable>,
    /// Client keys.
    pub keys: KeyRing,
    /// Clients of the providers.
    pub upstreams: Arc<Upstreams>,
    /// In the order of the configuration.
    pub routes: Vec<RouteState>,
    /// In the order of the configuration; `None` without `max_concurrency`.
    pub gates: Arc<[Option<Arc<Gate>>]>,
    /// In the order of the configuration.
    pub deployment_metrics: Vec<DeploymentMetrics>,
    bound: HashMap<StageKey, Arc<Policy>>,
}

/// One route, ready to decide.
pub struct RouteState {
    /// Its key in the configuration.
    pub name: Arc<str>,
    /// Asked for each decision.
    pub chain: Arc<Chain>,
    /// Own deployments, in configured order.
    pub candidates: Vec<u32>,
    /// Own deployments and those of the fallback routes.
    pub after_failure: Vec<u32>,
    /// Where answers are kept; `None` when they are not.
    pub cache: Option<Scope>,
    /// Whether answers name the model as the client does.
    pub rewrite_model: bool,
    /// For a whole request.
    pub timeout: Duration,
    /// Instead of the provider's.
    pub times: Times,
    /// Whether a request may be sent again that may have been carried out.
    pub idempotent: bool,
    /// Whether a stream that broke is gone on with.
    pub resume: bool,
    /// What it may send more than once; outlives a reload.
    pub budgets: Arc<Budgets>,
    /// Some stage exports `observer`.
    pub observed: bool,
    /// Some stage was granted headers or prompts.
    pub wants_content: bool,
    /// Prepared metric handles.
    pub metrics: RouteMetrics,
}

/// What outlives every snapshot and goes into each.
pub struct Parts {
    /// Policies' state.
    pub cells: Arc<CellStore>,
    /// Model names that clients sent.
    pub models: Arc<ModelNames>,
    /// Every metric.
    pub metrics: Arc<Metrics>,
}

/// A stage of a route that cannot be put into service, or that does nothing there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageProblem {
    /// Name of the route.
    pub route: Arc<str>,
    /// Place in the route's chain.
    pub stage: usize,
    /// Name of the policy.
    pub policy: Arc<str>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for StageProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "route `{}`, policy {} of its chain: {}", self.route, self.stage + 1, self.message)
    }
}

type StageKey = (Arc<str>, String);

/// Makes a snapshot of `config` with the newest policies of `store`. A policy whose newest revision cannot serve is
/// refused in the store, and its older one is used.
///
/// # Errors
/// Every stage for which no revision of its policy can serve, or why the upstream clients cannot be made.
pub fn prepare(
    store: &mut PolicyStore,
    config: &Arc<Config>,
    before: Option<&Snapshot>,
    parts: &Parts,
) -> Result<Snapshot, Vec<StageProblem>> {
    let unchanged = before.filter(|before| Arc::ptr_eq(&before.config, config));
    let (fleet, names, upstreams) = match unchanged {
        Some(before) => (Arc::clone(&before.fleet), Arc::clone(&before.names), Arc::clone(&before.upstreams)),
        None => (
            Arc::new(fleet_of(config, before.map(|before| &*before.fleet))),
            Arc::new(NameTable::new(config, Arc::clone(&parts.models))),
            Arc::new(Upstreams::new(config, before.map(|before| &*before.upstreams))),
        ),
    };
    let gates = unchanged.map_or_else(|| gates_of(&fleet, before), |before| Arc::clone(&before.gates));
    let mut binder = Binder { store, config, fleet: &fleet, names: &names, parts, before: unchanged };
    let bound = binder.bind_all()?;
    let fail_safe = bound.get(&(Arc::from(IN_ORDER), no_settings().to_string())).cloned();
    let route = |route: &Route| route_state(route, config, &bound, fail_safe.as_ref(), parts, before);
    Ok(Snapshot {
        generation: before.map_or(1, |before| before.generation + 1),
        config: Arc::clone(config),
        table: RouteTable::new(config),
        keys: KeyRing::new(config, &names),
        routes: config.routes.iter().map(route).collect::<Result<_, _>>()?,
        deployment_metrics: fleet.deployments().iter().map(|entry| parts.metrics.deployment(&entry.spec.id)).collect(),
        gates,
        fleet,
        names,
        upstreams,
        bound,
    })
}

impl Snapshot {
    /// Takes effect on what outlives it, when it is put into service: the rules of breakers and budgets, the keys.
    pub fn take_effect(&self) {
        for provider in &self.config.providers {
            if let Some(keys) = self.fleet.provider_keys(&provider.name) {
                keys.set(provider.api_keys.len(), fingerprint(&provider.api_keys));
            }
        }
        for deployment in self.fleet.deployments() {
            deployment.live.set_breaker_rules(self.config.breaker);
        }
        for route in &self.routes {
            route.budgets.configure(&self.config.retries);
        }
    }

    /// Chains that serve, but cannot do what is probably meant: nobody reads their scores, or nobody chooses.
    pub fn warnings(&self) -> Vec<StageProblem> {
        self.config
            .routes
            .iter()
            .zip(&self.routes)
            .filter_map(|(route, state)| idle_scorer(route, &state.chain).or_else(|| no_router(route, &state.chain)))
            .collect()
    }

    /// The policies in service.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.bound.values()
    }

    /// A deployment's breaker opened or closed.
    pub fn breaker_changed(&self, deployment: usize, transition: Transition) {
        let (Some(entry), Some(metrics)) =
            (self.fleet.deployments().get(deployment), self.deployment_metrics.get(deployment))
        else {
            return;
        };
        let id = &*entry.spec.id;
        match transition {
            Transition::Opened => {
                metrics.breaker_opened();
                tracing::warn!(deployment = id, breaker = "open", "breaker");
            }
            Transition::Closed => tracing::info!(deployment = id, breaker = "closed", "breaker"),
        }
    }

    /// Names of the policies that routes name.
    pub fn policies_in_use(&self) -> BTreeSet<Arc<str>> {
        self.bound.keys().map(|(name, _)| Arc::clone(name)).collect()
    }
}

/// The deployments of `config`, with the live numbers of those that were there before.
pub(crate) fn fleet_of(config: &Config, before: Option<&Fleet>) -> Fleet {
    let deployments = config.deployments.iter().map(|configured| Arc::clone(&configured.deployment)).collect();
    let routes = config.routes.iter().map(|route| Arc::clone(&route.name)).collect();
    Fleet::new(deployments, routes, before)
}

/// Another number for other keys, or for the same ones in another order.
fn fingerprint(keys: &[Secret]) -> u64 {
    let mut hasher = DefaultHasher::new();
    keys.iter().for_each(|key| key.digest().hash(&mut hasher));
    hasher.finish()
}

/// A gate for each deployment that has a limit: the one that it had, so that who is inside still counts.
fn gates_of(fleet: &Fleet, before: Option<&Snapshot>) -> Arc<[Option<Arc<Gate>>]> {
    let known = |id: &str| {
        let before = before?;
        let place = before.fleet.deployments().iter().position(|entry| *entry.spec.id == *id)?;
        before.gates[place].clone()
    };
    let gates = fleet
        .deployments()
        .iter()
        .map(|entry| entry.spec.max_concurrency.is_some().then(|| known(&entry.spec.id).unwrap_or_default()));
    gates.collect()
}

struct Binder<'a> {
    store: &'a mut PolicyStore,
    config: &'a Config,
    fleet: &'a Arc<Fleet>,
    names: &'a Arc<NameTable>,
    parts: &'a Parts,
    /// The snapshot in service, when its catalogue is the same.
    before: Option<&'a Snapshot>,
}

impl Binder<'_> {
    /// Binds every stage once for each policy and settings. When a policy's next revision fails for one stage, it
    /// is refused for all and the work starts again, so that a revision is in service everywhere or nowhere.
    fn bind_all(&mut self) -> Result<HashMap<StageKey, Arc<Policy>>, Vec<StageProblem>> {
        let fail_safe = Stage { policy: IN_ORDER.into(), settings: no_settings(), weight: 1.0, optional: false };
        loop {
            let mut bound = HashMap::new();
            let mut problems = Vec::new();
            let mut refused = false;
            let places = self.config.routes.iter().flat_map(|route| {
                let stages = route.chain.iter().enumerate();
                stages.map(|(place, stage)| (Arc::clone(&route.name), place, stage))
            });
            for (route, place, stage) in places.chain([(Arc::from("*"), 0, &fail_safe)]) {
                if let Err(message) = self.bind(stage, &mut bound) {
                    refused |= self.store.refuse_next(&stage.policy, message.clone());
                    problems.push(StageProblem { route, stage: place, policy: Arc::clone(&stage.policy), message });
                }
            }
            match (problems.is_empty(), refused) {
                (true, _) => return Ok(bound),
                (false, true) => {}
                (false, false) => return Err(problems),
            }
        }
    }

    fn bind(&mut self, stage: &Stage, bound: &mut HashMap<StageKey, Arc<Policy>>) -> Result<(), String> {
        let key = key(stage);
        let left_out = self.store.is_out(&stage.policy) || (stage.optional && !self.store.has(&stage.policy));
        if left_out || bound.contains_key(&key) {
            return Ok(());
        }
        let loaded = self.store.newest(&stage.policy).map_err(|error| error.to_string())?;
        let serving = self.before.and_then(|before| before.bound.get(&key));
        if let Some(policy) = serving.filter(|policy| policy.revision() == loaded.component.revision()) {
            bound.insert(key, Arc::clone(policy));
            return Ok(());
        }
        let binding = Binding {
            settings: Arc::clone(&stage.settings),
            rules: self.config.policies.rules_for(&stage.policy).clone(),
            fleet: Arc::clone(self.fleet),
            names: Arc::clone(self.names) as _,
            cells: Arc::clone(&self.parts.cells),
        };
        let tried = self.store.engine().bind(&loaded.component, binding);
        let policy = tried.map_err(|error| match loaded.source {
            Source::Shipped => refusal::told(&error, &stage.policy),
            Source::File | Source::Oci | Source::Kept => refusal::told(&error, format_args!("{}.wasm", stage.policy)),
        })?;
        bound.insert(key, policy);
        Ok(())
    }
}

fn key(stage: &Stage) -> StageKey {
    (Arc::clone(&stage.policy), canonical_settings(&stage.settings))
}

fn no_settings() -> Arc<serde_json::Value> {
    Arc::new(serde_json::Value::Object(serde_json::Map::new()))
}

fn route_state(
    route: &Route,
    config: &Config,
    bound: &HashMap<StageKey, Arc<Policy>>,
    fail_safe: Option<&Arc<Policy>>,
    parts: &Parts,
    before: Option<&Snapshot>,
) -> Result<RouteState, Vec<StageProblem>> {
    let mut stages: Vec<ChainStage> = route
        .chain
        .iter()
        .filter_map(|stage| Some(ChainStage { policy: Arc::clone(bound.get(&key(stage))?), weight: stage.weight }))
        .collect();
    if stages.is_empty() {
        // Only policies that are optional or unloaded, and none of them is there.
        stages.extend(fail_safe.map(|policy| ChainStage { policy: Arc::clone(policy), weight: 1.0 }));
    }
    let mut after_failure = route.deployments.clone();
    for fallback in route.fallbacks.iter().filter_map(|place| config.routes.get(*place)) {
        let new = fallback.deployments.iter().filter(|number| !after_failure.contains(number)).copied();
        let new: Vec<u32> = new.collect();
        after_failure.extend(new);
    }
    let imports = |wanted: fn(&Imports) -> bool| stages.iter().any(|stage| wanted(stage.policy.component().imports()));
    let (observed, wants_content) = (
        stages.iter().any(|stage| stage.policy.hooks().has(Hook::Observer)),
        imports(|imports| imports.headers || imports.prompt),
    );
    let chain = Chain::new(stages, route.on_policy_failure, fail_safe.cloned()).map_err(|error| {
        vec![StageProblem {
            route: Arc::clone(&route.name),
            stage: 0,
            policy: Arc::from(""),
            message: error.to_string(),
        }]
    })?;
    Ok(RouteState {
        name: Arc::clone(&route.name),
        observed,
        wants_content,
        chain: Arc::new(chain),
        candidates: route.deployments.clone(),
        after_failure,
        cache: Scope::of(config, route),
        rewrite_model: route.rewrite_model,
        timeout: route.timeout.unwrap_or(config.server.request_timeout),
        times: Times {
            first_byte: route.first_byte_timeout,
            first_token: route.first_token_timeout,
            idle: route.idle_timeout,
        },
        idempotent: route.idempotent,
        resume: route.resume,
        budgets: budgets(route, config, before),
        metrics: parts.metrics.route(&route.name),
    })
}

fn idle_scorer(route: &Route, chain: &Chain) -> Option<StageProblem> {
    if chain.stages().len() < route.chain.len() {
        // One that is not there might read them.
        return None;
    }
    let scorer = chain.idle_scorer()?.name();
    let what_to_do = match chain.first_router() {
        // In whose place no other can be, or there would be no scores.
        Some(router) if router.hooks().has(Hook::Scorer) => {
            format!(
                "let the router of `{}` read it, or put one that does, such as `best-score`, before it",
                router.name()
            )
        }
        Some(router) => format!("put one that does, such as `best-score`, in the place of `{}`", router.name()),
        None => "add one that does, such as `best-score`".to_owned(),
    };
    Some(StageProblem {
        route: Arc::clone(&route.name),
        stage: route.chain.iter().position(|stage| stage.policy == *scorer)?,
        policy: Arc::clone(scorer),
        message: format!(
            "the scores of `{scorer}` change nothing, because no router of this chain reads the signal `score`; \
             {what_to_do}"
        ),
    })
}

/// Told at the last place of the chain, which is where a router goes.
fn no_router(route: &Route, chain: &Chain) -> Option<StageProblem> {
    if chain.first_router().is_some() {
        return None;
    }
    let last = route.chain.len().checked_sub(1)?;
    Some(StageProblem {
        route: Arc::clone(&route.name),
        stage: last,
        policy: Arc::clone(&route.chain[last].policy),
        message: "the chain has no router: requests go to the first candidate in configured order; add one, such as \
                  `in-order`"
            .to_owned(),
    })
}

fn budgets(route: &Route, config: &Config, before: Option<&Snapshot>) -> Arc<Budgets> {
    let known = before.and_then(|before| before.routes.iter().find(|known| known.name == route.name));
    known.map_or_else(|| Arc::new(Budgets::new(&config.retries)), |known| Arc::clone(&known.budgets))
}

/// Decides when a chain fails, or has nothing in it.
pub const IN_ORDER: &str = "in-order";
