//! `witgate check`: every layer of a configuration, without serving.

use std::process::ExitCode;
use std::sync::Arc;

use witgate_core::config::{KeyPath, Loaded, Problem, Severity};

use super::serve::find;
use super::{CheckArgs, complain, models, say};
use crate::app;
use crate::config_files::{ConfigFiles, Overrides};
use crate::names::ModelNames;
use crate::reload::store::PolicyStore;
use crate::snapshot::{Parts, StageProblem, prepare};
use crate::supply::Supplies;
use crate::telemetry::metrics::Metrics;
use witgate_wasm::Compiling;

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut files = match find(args.config.config.clone()) {
        Some(path) => ConfigFiles::at(path, Overrides::default()),
        None => ConfigFiles::built_in(None, Overrides::default()),
    };
    let mut loaded = match files.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in &problems {
                complain(problem);
            }
            complain(&format!("{}: {} problem(s)", files.describe(), problems.len()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut problems = policy_problems(&mut loaded)?;
    for warning in &loaded.warnings {
        complain(&warning.to_string());
    }
    problems.extend(exposure_problem(&loaded));
    if !args.running {
        problems.extend(port_problem(&loaded));
    }
    for problem in &problems {
        complain(&problem.to_string());
    }
    if problems.is_empty() {
        say(&summary(&files, &loaded));
        models::guesses(&loaded.config.deployments).for_each(|guess| say(&guess));
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!("{}: {} problem(s)", files.describe(), problems.len()));
    Ok(ExitCode::FAILURE)
}

/// Compiles, configures and tries every policy that a route names. What is not here to be checked is a warning.
fn policy_problems(loaded: &mut Loaded) -> anyhow::Result<Vec<Problem>> {
    let mut config = loaded.config.clone();
    let supplies = Supplies::offline(&config.policies);
    for (policy, reference) in supplies.unheard() {
        let message = format!("no copy of {reference} is kept here, so the policy is not checked");
        let hint = "a gateway pulls it when it starts; `witgate policy pull` shows whether it can".to_owned();
        let path = supply_path(&policy).key("source");
        loaded.warnings.push(loaded.problem(Severity::Warning, path, message, hint));
        let stages = config.routes.iter_mut().flat_map(|route| &mut route.chain);
        stages.filter(|stage| stage.policy == policy).for_each(|stage| stage.optional = true);
    }
    let config = Arc::new(config);
    let parts = Parts {
        cells: Arc::new(app::cells(&config)),
        models: Arc::new(ModelNames::default()),
        metrics: Arc::new(Metrics::new()),
    };
    let mut store = PolicyStore::new(app::engine(&config, None, Compiling::AtOnce)?, config.policies.directory.clone())
        .with_supplies(supplies);
    let refused = store.look(false)?.refused;
    let mut problems: Vec<Problem> = refused
        .into_iter()
        .map(|(policy, problem)| {
            let is_supplied = config.policies.supply.policies.contains_key(&policy);
            let key = if is_supplied { supply_path(&policy) } else { KeyPath::top("policies").key("directory") };
            loaded.problem(Severity::Error, key, problem, None)
        })
        .collect();
    let found = |severity, stage: StageProblem| {
        let route = config.routes.iter().position(|route| route.name == stage.route).unwrap_or(usize::MAX);
        loaded.problem(severity, loaded.stage_path(route, stage.stage), stage.message, None)
    };
    let warnings: Vec<Problem> = match prepare(&mut store, &config, None, &parts) {
        Ok(snapshot) => snapshot.warnings().into_iter().map(|stage| found(Severity::Warning, stage)).collect(),
        Err(stages) => {
            problems.extend(stages.into_iter().map(|stage| found(Severity::Error, stage)));
            Vec::new()
        }
    };
    loaded.warnings.extend(warnings);
    Ok(problems)
}

fn supply_path(policy: &str) -> KeyPath {
    KeyPath::top("policies").key("supply").key(policy)
}

fn exposure_problem(loaded: &Loaded) -> Option<Problem> {
    let error = app::check_exposure(&loaded.config, loaded.config.server.listen).err()?;
    let key = KeyPath::top("server").key("listen");
    Some(loaded.problem(Severity::Error, key, error.to_string(), None))
}

fn port_problem(loaded: &Loaded) -> Option<Problem> {
    let error = crate::server::probe(&loaded.config.server).err()?;
    let key = KeyPath::top("server").key("listen");
    let hint = "give --running when the gateway itself listens there".to_owned();
    Some(loaded.problem(Severity::Error, key, error.to_string(), hint))
}

fn summary(files: &ConfigFiles, loaded: &Loaded) -> String {
    let config = &loaded.config;
    format!(
        "{}: good: {} provider(s), {} deployment(s), {} route(s), {} warning(s)",
        files.describe(),
        config.providers.len(),
        config.deployments.len(),
        config.routes.len(),
        loaded.warnings.len(),
    )
}
