//! From the model name that a client sent to a route.
//!
//! The order: an alias is replaced, once; then an exact name, the most specific pattern, a capability's name, the
//! default route. Everything that can be decided beforehand is, so that a known name costs one hash lookup.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{ANY_CAPABILITY, Config, ModelPattern};

pub mod glob;

/// All names of one configuration.
#[derive(Debug)]
pub struct RouteTable {
    names: HashMap<Arc<str>, Target>,
    /// The most specific first.
    patterns: Vec<(Arc<str>, Target)>,
    default: Option<Target>,
    models: Vec<Arc<str>>,
}

/// Where a name leads.
#[derive(Clone, Debug)]
struct Target {
    route: usize,
    /// Another name than the one that was looked up.
    alias_of: Option<Arc<str>>,
    capability: Option<Arc<str>>,
    deployments: Arc<[u32]>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// Place in [`Config::routes`].
    pub route: usize,
    /// The name that was asked for, after aliases.
    pub model: &'a str,
    /// The capability that was asked for instead of a model.
    pub capability: Option<&'a Arc<str>>,
    /// Places in [`Config::deployments`], in configured order; never empty.
    pub deployments: &'a Arc<[u32]>,
}

impl RouteTable {
    /// The table of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut table = Self {
            names: HashMap::new(),
            patterns: patterns(config),
            default: config.default_route.map(|route| Target::of_route(config, route)),
            models: Vec::new(),
        };
        let exact = |route: usize| config.routes[route].models.iter().filter_map(ModelPattern::as_exact);
        for (route, name) in (0..config.routes.len()).flat_map(|route| exact(route).map(move |name| (route, name))) {
            table.list(name);
            table.names.entry(Arc::clone(name)).or_insert_with(|| Target::of_route(config, route));
        }
        for (route, spec) in config.routes.iter().enumerate() {
            for name in &spec.capabilities {
                table.list(name);
                if table.pattern(name).is_none() {
                    table.names.entry(Arc::clone(name)).or_insert_with(|| Target::of_capability(config, route, name));
                }
            }
        }
        // all are looked up before the first is entered, so that none leads to another
        let aliases: Vec<_> = config
            .aliases
            .iter()
            .filter_map(|(name, model)| {
                let target = table.target(model)?.clone();
                Some((Arc::clone(name), Target { alias_of: Some(Arc::clone(model)), ..target }))
            })
            .collect();
        for (name, target) in aliases {
            table.list(&name);
            table.names.insert(name, target);
        }
        table
    }

    /// Where a client's model name leads; `None` where nothing matches and there is no default route.
    pub fn resolve<'a>(&'a self, model: &'a str) -> Option<Resolved<'a>> {
        let target = self.target(model)?;
        Some(Resolved {
            route: target.route,
            model: target.alias_of.as_deref().unwrap_or(model),
            capability: target.capability.as_ref(),
            deployments: &target.deployments,
        })
    }

    /// The names that clients can be told: exact names, capabilities and aliases, in the order of the file, none
    /// twice. What a pattern lets through cannot be listed.
    pub fn models(&self) -> &[Arc<str>] {
        &self.models
    }

    fn target(&self, model: &str) -> Option<&Target> {
        self.names.get(model).or_else(|| self.pattern(model)).or(self.default.as_ref())
    }

    fn pattern(&self, model: &str) -> Option<&Target> {
        self.patterns.iter().find(|(pattern, _)| glob::matches(pattern, model)).map(|(_, target)| target)
    }

    fn list(&mut self, name: &Arc<str>) {
        if !self.models.contains(name) {
            self.models.push(Arc::clone(name));
        }
    }
}

impl Target {
    fn of_route(config: &Config, route: usize) -> Self {
        let deployments = config.routes[route].deployments.as_slice().into();
        Self { route, alias_of: None, capability: None, deployments }
    }

    fn of_capability(config: &Config, route: usize, capability: &Arc<str>) -> Self {
        let declares = |number: &u32| {
            let entry = config.deployments.get(*number as usize);
            entry.is_some_and(|entry| entry.deployment.capabilities.contains(capability))
        };
        let all = Self::of_route(config, route);
        if **capability == *ANY_CAPABILITY {
            return Self { capability: Some(Arc::clone(capability)), ..all };
        }
        let deployments = all.deployments.iter().copied().filter(declares).collect();
        Self { capability: Some(Arc::clone(capability)), deployments, ..all }
    }
}

/// Sorted by specificity, and where that is the same in the order of the file.
fn patterns(config: &Config) -> Vec<(Arc<str>, Target)> {
    let mut patterns: Vec<(Arc<str>, Target)> = Vec::new();
    for (route, spec) in config.routes.iter().enumerate() {
        let target = Target::of_route(config, route);
        let globs = spec.models.iter().filter_map(ModelPattern::as_glob);
        patterns.extend(globs.map(|pattern| (Arc::clone(pattern), target.clone())));
    }
    patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(glob::specificity(pattern)));
    patterns
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
