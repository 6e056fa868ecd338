//! A gateway on paper: deployments, routes, tenants, limits and grants, but no sockets.
//!
//! What somebody writes down is made into a configuration and read as one, so the words, the checks and the messages
//! are those of `witgate.yaml`.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use serde_json::{Map, Value, json};
use witgate_core::config::{self, Config, NoLookup, SourceFile, suggest};
use witgate_core::fleet::Fleet;

use crate::names::{ModelNames, NameTable};
use crate::snapshot::fleet_of;

/// What is written down about a gateway that exists only to ask a policy.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Id and the rest, as under `deployments` in a configuration. An id without `@` belongs to the provider `test`.
    pub deployments: Map<String, Value>,
    /// Names of routes; one named `test` when there is none.
    pub routes: Vec<String>,
    /// Tenants and their labels.
    pub tenants: Map<String, Value>,
    /// `headers`, `prompt`.
    pub grants: Vec<String>,
}

/// A gateway on paper.
pub struct Scene {
    /// As a gateway would have it.
    pub config: Config,
    /// The deployments.
    pub fleet: Arc<Fleet>,
    /// Tenants, routes and models.
    pub names: Arc<NameTable>,
}

impl Scene {
    /// Reads what was written down.
    ///
    /// # Errors
    /// Everything that a configuration could not have.
    pub fn new(script: &Script) -> anyhow::Result<Self> {
        if script.deployments.is_empty() {
            bail!("`deployments` is empty; name at least one, for example `deployments: {{gpt@here: {{}}}}`");
        }
        let source = SourceFile::new("scenario", script.configuration().to_string());
        let loaded = config::load(&[source], &NoLookup).map_err(|problems| {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| {
                    let hint = problem.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
                    format!("{}: {}{hint}", problem.key, problem.message)
                })
                .collect();
            anyhow!("{}", lines.join("\n"))
        })?;
        Ok(Self::of(loaded.config))
    }

    /// A real configuration, without serving it.
    pub fn of(config: Config) -> Self {
        let names = Arc::new(NameTable::new(&config, Arc::new(ModelNames::default())));
        Self { fleet: Arc::new(fleet_of(&config, None)), names, config }
    }

    /// A deployment's id.
    pub fn id(&self, target: u32) -> Arc<str> {
        let entry = self.fleet.deployments().get(target as usize);
        entry.map_or_else(|| format!("number {target}").into(), |entry| Arc::clone(&entry.spec.id))
    }

    /// A deployment's number.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn target(&self, id: &str) -> anyhow::Result<u32> {
        let ids = || self.fleet.deployments().iter().map(|entry| &*entry.spec.id);
        let place = ids().position(|known| known == id);
        let place = place.and_then(|place| u32::try_from(place).ok());
        place.ok_or_else(|| anyhow!("there is no deployment `{id}`; {}", suggest(id, ids().collect::<Vec<_>>())))
    }

    /// Numbers of all deployments.
    pub fn targets(&self) -> Vec<u32> {
        (0..).take(self.fleet.deployments().len()).collect()
    }
}

impl Script {
    /// The same as JSON, which is YAML too.
    fn configuration(&self) -> Value {
        let mut providers = BTreeSet::new();
        let mut deployments = Map::new();
        for (id, written) in &self.deployments {
            let mut written = literal(written);
            let named = written.get("provider").and_then(Value::as_str).map(str::to_owned);
            let in_id = id.rsplit_once('@').map(|(_, provider)| provider.to_owned());
            let provider = named.or(in_id);
            if let (None, Value::Object(fields)) = (&provider, &mut written) {
                fields.insert("provider".to_owned(), PROVIDER.into());
            } else if let (None, Value::Null) = (&provider, &written) {
                written = json!({"provider": PROVIDER});
            }
            providers.insert(provider.unwrap_or_else(|| PROVIDER.to_owned()));
            deployments.insert(id.clone(), written);
        }
        let providers: Map<String, Value> =
            providers.into_iter().map(|name| (name, json!({"dialect": "demo"}))).collect();
        let everywhere = || json!({"deployments": "*", "policies": [{"use": "in-order"}]});
        let routes = if self.routes.is_empty() { vec![ROUTE.to_owned()] } else { self.routes.clone() };
        let routes: Map<String, Value> = routes.into_iter().map(|name| (name, everywhere())).collect();
        let keys: Vec<Value> = self
            .tenants
            .iter()
            .enumerate()
            .map(|(number, (tenant, labels))| {
                let key = format!("a-key-that-nobody-uses-{number}");
                json!({"name": tenant, "key": key, "labels": literal(labels)})
            })
            .collect();
        json!({
            "server": {"workers": 1},
            "auth": {"keys": keys},
            "providers": providers,
            "deployments": deployments,
            "routes": routes,
            "policies": {"defaults": {"grants": self.grants}},
        })
    }
}

/// In a configuration a dollar sign begins a variable.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace('$', "$$").into(),
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), literal(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

const PROVIDER: &str = "test";
const ROUTE: &str = "test";

#[cfg(test)]
mod tests {
    use super::*;

    fn script(deployments: Value) -> Script {
        let Value::Object(deployments) = deployments else { return Script::default() };
        Script { deployments, ..Script::default() }
    }

    #[test]
    fn deployments_are_written_as_in_a_configuration() {
        let written = json!({"z@here": {"weight": 2, "labels": {"price": "$5"}}, "a": null, "b": {}});
        let scene = Scene::new(&script(written)).expect("a scene");
        let specs: Vec<_> = scene.fleet.deployments().iter().map(|entry| &entry.spec).collect();
        let ids: Vec<_> = specs.iter().map(|spec| (&*spec.id, &*spec.provider)).collect();
        assert_eq!(ids, [("z@here", "here"), ("a", "test"), ("b", "test")]);
        assert_eq!((specs[0].weight, &*specs[0].labels[0].1), (2.0, "$5"));
        assert_eq!((scene.target("b").expect("b"), scene.targets()), (2, vec![0, 1, 2]));
        assert_eq!(
            scene.target("z@hero").expect_err("none").to_string(),
            "there is no deployment `z@hero`; did you mean `z@here`?"
        );
    }

    #[test]
    fn what_a_configuration_could_not_have_is_refused_in_its_words() {
        let refused = |script: &Script| Scene::new(script).err().expect("refused").to_string();
        assert_eq!(
            refused(&script(json!({"a": {"wieght": 2}, "b": {"weight": 0}}))),
            "deployments.a: unknown key `wieght`; did you mean `weight`?\ndeployments.b.weight: must be above 0, found 0"
        );
        assert_eq!(
            refused(&Script::default()),
            "`deployments` is empty; name at least one, for example `deployments: {gpt@here: {}}`"
        );
    }

    #[test]
    fn tenants_have_labels_and_grants_become_rules() {
        let tenants = json!({"acme": {"tier": "gold"}}).as_object().cloned().unwrap_or_default();
        let script = Script { tenants, grants: vec!["prompt".to_owned()], ..script(json!({"a": {}})) };
        let scene = Scene::new(&script).expect("a scene");
        use witgate_core::decision::Names as _;
        let id = scene.names.tenant_id("acme");
        assert_eq!(scene.names.tenant_label(id, "tier").as_deref(), Some("gold"));
        let rules = scene.config.policies.rules_for("any");
        assert_eq!((rules.grant_prompt, rules.grant_headers), (true, false));
    }
}
