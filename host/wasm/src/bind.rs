//! From a [`Component`] and a configuration to a [`Policy`] in service: granted, configured, tried out, warmed up.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use witgate_core::config::PolicyRules;
use witgate_core::decision::Names;
use witgate_core::fleet::Fleet;
use witgate_core::plan::Bounds;

use crate::bind_error::{BindError, BindProblem};
use crate::bindings;
use crate::blueprint::Blueprint;
use crate::cells::{CellStore, OpenTables, Quota};
use crate::component::Component;
use crate::engine::{Engine, Inner};
use crate::failure::FailureCause;
use crate::inspect::Imports;
use crate::logbook::Logbook;
use crate::policy::{Policy, Terms};
use crate::pool::Pool;
use crate::state::{FleetCells, Surroundings};
use crate::statistics::Counters;
use crate::subscription::Subscription;
use crate::trial;
use crate::watch::Watch;

/// For one `configure`, while nobody waits.
const SETUP: Duration = Duration::from_secs(2);

/// What a policy is put into service with.
pub struct Binding {
    /// A JSON object.
    pub settings: Arc<serde_json::Value>,
    /// Limits and grants.
    pub rules: PolicyRules,
    /// Whom it chooses among.
    pub fleet: Arc<Fleet>,
    /// Texts behind interned ids.
    pub names: Arc<dyn Names>,
    /// All tables of the gateway.
    pub cells: Arc<CellStore>,
}

impl Engine {
    /// Puts a policy into service: its grants and settings are checked, an instance of it is configured and tried out
    /// with some hundred made-up calls (on tables of its own, so that it learns nothing from them), and one instance
    /// for each worker is made ready. Call it off the request path.
    ///
    /// # Errors
    /// When the policy would not serve; the message says what to do.
    pub fn bind(&self, component: &Arc<Component>, binding: Binding) -> Result<Arc<Policy>, BindError> {
        self.inner.bind(component, binding).map_err(|problem| BindError {
            policy: Arc::clone(&component.name),
            revision: Arc::clone(&component.revision),
            problem,
        })
    }
}

impl Inner {
    fn bind(&self, component: &Arc<Component>, binding: Binding) -> Result<Arc<Policy>, BindProblem> {
        let Binding { settings, rules, fleet, names, cells } = binding;
        check_grants(component, &rules)?;
        let problems = component.check_settings(&settings);
        if !problems.is_empty() {
            return Err(BindProblem::Settings(problems));
        }
        let catalogue = Arc::new(bindings::catalogue(&fleet, &settings));
        let (memory, quota) = (rules.memory, Quota { tables: rules.tables, cells: rules.cells });
        let fleet_cells = match (rules.grant_fleet_cells, cells.is_shared()) {
            (false, _) => FleetCells::NotGranted,
            (true, false) => FleetCells::NoStore,
            (true, true) => FleetCells::Granted,
        };
        let blueprint = |cells: &CellStore, log| Blueprint {
            component: Arc::clone(component),
            surroundings: Arc::new(Surroundings {
                names: Arc::clone(&names),
                tables: OpenTables::new(cells.group(&component.name, &settings), quota),
                fleet_cells,
                log,
            }),
            catalogue: Arc::clone(&catalogue),
            memory,
            asked: OnceLock::new(),
        };
        let log = |lines| Logbook::new(Arc::clone(&component.name), Arc::clone(&component.revision), lines);

        let rehearsal = blueprint(&CellStore::default(), log(rules.log_lines).quiet());
        let instance = build(&rehearsal)?;
        let asked = rehearsal.asked.get().ok_or_else(|| BindProblem::Refused("no subscription".to_owned()))?;
        let subscription = Subscription::resolve(asked).map_err(BindProblem::Subscription)?;
        let terms = Terms { subscription, fleet, rules, bounds: Bounds::default() };
        let pace = trial::run(&rehearsal, instance, &terms)?;

        let blueprint = blueprint(&cells, log(terms.rules.log_lines));
        let meter = self.meter.as_ref().map(|meter| meter.policy(&component.name));
        let policy = Arc::new_cyclic(|me| Policy {
            blueprint,
            watch: Watch::new(&terms.rules.crash),
            pool: Pool::new(self.workers, terms.rules.instances, terms.rules.crash.window, pace),
            terms,
            crashes: self.crashes.clone(),
            counters: Counters::new(),
            meter,
            replacements: self.replacements.clone(),
            me: me.clone(),
        });
        policy.watch.pace(pace);
        let mut bound = component.bound.lock();
        bound.retain(|policy| policy.strong_count() > 0);
        bound.push(Arc::downgrade(&policy));
        drop(bound);
        for place in 0..policy.pool.warm() {
            *policy.pool.place(place).lock() = Some(Box::new(build(&policy.blueprint)?));
        }
        // The component's code may have been replaced meanwhile.
        policy.refresh();
        Ok(policy)
    }
}

fn build(blueprint: &Blueprint) -> Result<crate::instance::Instance, BindProblem> {
    blueprint.build(SETUP).map_err(|cause| match cause {
        FailureCause::Declared(text) => BindProblem::Refused(text),
        cause => BindProblem::Configure(cause),
    })
}

/// Before anything of the policy runs with the configuration: what it imports must have been granted.
fn check_grants(component: &Component, rules: &PolicyRules) -> Result<(), BindProblem> {
    let Imports { headers, prompt, .. } = component.imports;
    let missing: Vec<_> = [
        (headers && !rules.grant_headers, ("headers", "request headers")),
        (prompt && !rules.grant_prompt, ("prompt", "prompts")),
    ]
    .into_iter()
    .filter_map(|(is_missing, capability)| is_missing.then_some(capability))
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(BindProblem::NotGranted { missing, policy: Arc::clone(&component.name) })
}
