//! Without a configuration: the built-in one, and whatever model servers answer at their usual local ports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use witgate_core::config::SourceFile;

use super::complain;
use crate::config_files::{ConfigFiles, Overrides};
use crate::upstream::discover;

/// A server that may run on this machine.
struct Usual {
    name: &'static str,
    dialect: &'static str,
    base_url: &'static str,
}

/// The built-in configuration, and a provider for each local server that answers.
pub(super) fn with_local_servers(overrides: Overrides) -> ConfigFiles {
    let found = find_all();
    for (usual, models) in &found {
        complain(&format!("found {} at {}: {}", usual.name, usual.base_url, models.join(", ")));
    }
    let more = (!found.is_empty()).then(|| SourceFile::new("local servers", configuration(&found)));
    ConfigFiles::built_in(more, overrides)
}

fn find_all() -> Vec<(&'static Usual, Vec<String>)> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("local servers are not looked for: {error}"));
            return Vec::new();
        }
    };
    runtime.block_on(async {
        let probes = USUAL.iter().map(|usual| async move {
            // Nothing there, or something else: both are usual, and neither is worth a word.
            let models = discover(usual.base_url, PATIENCE).await.ok()?;
            (!models.is_empty()).then_some((usual, models))
        });
        futures_util::future::join_all(probes).await.into_iter().flatten().collect()
    })
}

fn configuration(found: &[(&Usual, Vec<String>)]) -> String {
    let mut providers = String::from("providers:\n");
    let mut deployments = String::from("deployments:\n");
    // A model that several servers have is one route over all of them.
    let mut routes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (usual, models) in found {
        let Usual { name, dialect, base_url } = usual;
        let _ = writeln!(providers, "  {name}: {{dialect: {dialect}, base_url: \"{base_url}\"}}");
        for model in models {
            let id = format!("{model}@{name}");
            let _ = writeln!(deployments, "  {}: {{provider: {name}, model: {}}}", key(&id), quoted(model));
            routes.entry(model).or_default().push(quoted(&id));
        }
    }
    let mut text = providers + &deployments + "routes:\n";
    for (model, ids) in routes {
        let name = key(&format!("local {model}"));
        let _ = writeln!(text, "  {name}: {{models: {}, deployments: [{}]}}", quoted(model), ids.join(", "));
    }
    text
}

/// As JSON, which is YAML too; in a value a dollar sign would be a variable.
fn quoted(text: &str) -> String {
    key(&text.replace('$', "$$"))
}

fn key(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const PATIENCE: Duration = Duration::from_millis(500);
const USUAL: [Usual; 4] = [
    Usual { name: "ollama", dialect: "ollama", base_url: "http://127.0.0.1:11434/v1" },
    Usual { name: "llama-cpp-python", dialect: "openai", base_url: "http://127.0.0.1:8000/v1" },
    Usual { name: "llama-cpp", dialect: "openai", base_url: "http://127.0.0.1:8080/v1" },
    Usual { name: "vllm", dialect: "openai", base_url: "http://127.0.0.1:8001/v1" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_on_two_servers_is_one_route_and_odd_names_are_quoted() {
        let found = [(&USUAL[0], vec!["q\"3:8b".to_owned(), "both".to_owned()]), (&USUAL[2], vec!["both".to_owned()])];
        let more = SourceFile::new("local servers", configuration(&found));
        let loaded = ConfigFiles::built_in(Some(more), Overrides::default()).load().expect("a good configuration");
        let table = witgate_core::routes::RouteTable::new(&loaded.config);
        let deployments = |model| table.resolve(model).map_or(0, |found| found.deployments.len());
        assert_eq!((deployments("both"), deployments("q\"3:8b")), (2, 1));
    }
}
