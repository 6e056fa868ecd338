//! `witgate policy verify`: exactly what a gateway would say when it is given the file.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use witgate_core::config::{Config, PolicyRules};
use witgate_wasm::Policy;

use super::guest::Guest;
use super::scene::Scene;
use super::show;
use crate::refusal;

/// Where the policy would serve.
pub struct Use {
    /// Names of the routes; empty when nothing names it yet.
    pub routes: Vec<Arc<str>>,
    /// A JSON object.
    pub settings: Arc<Value>,
}

/// What became of one use.
pub struct Verified {
    /// Where.
    pub used: Use,
    /// The policy in service, or why not.
    pub bound: Result<Arc<Policy>, String>,
}

/// The uses that a configuration makes of a policy, each set of settings once; one with `settings` instead when they
/// are given, and one without settings when there is no use.
pub fn uses(config: &Config, policy: &str, settings: Option<Value>) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    for route in &config.routes {
        for stage in route.chain.iter().filter(|stage| &*stage.policy == policy) {
            let stage_settings = match &settings {
                Some(settings) => Arc::new(settings.clone()),
                None => Arc::clone(&stage.settings),
            };
            match uses.iter_mut().find(|known| known.settings == stage_settings) {
                Some(known) if known.routes.contains(&route.name) => {}
                Some(known) => known.routes.push(Arc::clone(&route.name)),
                None => uses.push(Use { routes: vec![Arc::clone(&route.name)], settings: stage_settings }),
            }
        }
    }
    if uses.is_empty() {
        let settings = settings.unwrap_or_else(|| json!({}));
        uses.push(Use { routes: Vec::new(), settings: Arc::new(settings) });
    }
    uses
}

/// Adds grants to what the configuration gives a policy.
pub fn grant(config: &mut Config, policy: &str, headers: bool, prompt: bool) {
    let mut rules = config.policies.rules_for(policy).clone();
    rules.grant_headers |= headers;
    rules.grant_prompt |= prompt;
    config.policies.rules.insert(0, (policy.into(), rules));
}

/// Puts the policy into service for each use.
pub fn run(guest: &Guest, file: &Path, scene: &Scene, uses: Vec<Use>) -> Vec<Verified> {
    let verify = |used: Use| {
        let bound = guest.bind(scene, &used.settings).map_err(|error| refusal::told(&error, file.display()));
        Verified { used, bound }
    };
    uses.into_iter().map(verify).collect()
}

/// Limits and grants for people.
pub fn rules(rules: &PolicyRules) -> String {
    let grants: Vec<&str> = [(rules.grant_headers, "headers"), (rules.grant_prompt, "prompt")]
        .into_iter()
        .filter_map(|(granted, name)| granted.then_some(name))
        .collect();
    let grants = if grants.is_empty() { "none".to_owned() } else { grants.join(", ") };
    format!(
        "limits     deadline {}, memory {}, {} calls of an instance, {} log lines a second\ngrants     {grants}",
        show::millis(rules.deadline),
        show::bytes(rules.memory),
        show::count(u64::from(rules.calls.get())),
        show::count(u64::from(rules.log_lines)),
    )
}

impl Verified {
    /// For people.
    pub fn text(&self) -> String {
        let routes = match &*self.used.routes {
            [] => "no route names it yet".to_owned(),
            routes => {
                format!("route {}", routes.iter().map(|route| format!("`{route}`")).collect::<Vec<_>>().join(", "))
            }
        };
        let mut text = format!("used       {routes}\nsettings   {}", self.used.settings);
        match &self.bound {
            Ok(policy) => {
                let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let signals = list(policy.signals().iter().map(|signal| signal.name()).collect());
                let facts = list(policy.facts().iter().map(|fact| fact.name()).collect());
                let _ = write!(text, "\nsignals    {signals}\nfacts      {facts}");
                if !policy.outcomes().is_empty() {
                    let _ = write!(
                        text,
                        "\noutcomes   {}",
                        list(policy.outcomes().iter().map(|field| field.name()).collect())
                    );
                }
                text.push_str("\nverdict    good: it would be put into service");
            }
            Err(problem) => {
                let _ = write!(text, "\nverdict    refused: {problem}");
            }
        }
        text
    }
}
