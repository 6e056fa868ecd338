//! Writes a configuration of what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{Model, Server};
use crate::config::Config;
use crate::config::presets::Preset;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// A file for a person, with comments.
    ForPeople,
    /// A text for the program.
    ForTheProgram,
}

/// The configuration for these servers, and for the services whose keys are in the environment (never with the keys).
pub fn configuration(servers: &[Server], services: &[&Preset], written: Written) -> String {
    let named = named(servers);
    let mut text = String::new();
    let people = written == Written::ForPeople;
    if people {
        text.push_str(HEAD);
    }
    text.push_str("providers:\n");
    for (name, server) in &named {
        let _ = write!(text, "  {}: {{{}, base_url: {}}}", key(name), server.kind.is(), quoted(&base_url(server)));
        comment(&mut text, people, &format!("{}, {}", server.kind.title(), counted(server.models.len())));
    }
    for preset in services {
        let variable = preset.key.unwrap_or_default();
        let _ = write!(text, "  {}: {{preset: {}, api_key: \"${{{variable}}}\"}}", preset.name, preset.name);
        comment(&mut text, people, preset.title);
    }
    text.push_str("\ndeployments:\n");
    for (name, server) in &named {
        for model in &server.models {
            let _ = write!(text, "  {}: {}", key(&id(model, name)), deployment(model, name));
            let size = model.size.map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9));
            comment(&mut text, people && size.is_some(), size.as_deref().unwrap_or_default());
        }
    }
    for preset in services {
        let _ = write!(text, "  any@{}: {{model: \"*\"}}", preset.name);
        comment(&mut text, people, "whatever the client asks for");
    }
    text.push_str("\nroutes:\n");
    if people {
        text.push_str("  # A model that several servers have is one route over all of them.\n");
    }
    text.push_str(&routes(&named));
    text.push_str(&services_routes(services, people));
    text
}

/// What watched providers have beside what is configured: a deployment for each of their models, and a route for each
/// name. What a route of the configuration matches already stays its own. `None` when there is nothing.
pub fn watched(config: &Config, found: &BTreeMap<Arc<str>, Vec<Model>>) -> Option<String> {
    let taken = |name: &str| {
        let mut patterns = config.routes.iter().flat_map(|route| route.models.iter());
        patterns.any(|pattern| pattern.matches(name)) || config.aliases.iter().any(|(alias, _)| **alias == *name)
    };
    let is_there = |id: &str| config.deployments.iter().any(|configured| *configured.deployment.id == *id);
    let mut deployments = String::new();
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (provider, models) in found {
        if !config.providers.iter().any(|known| known.name == *provider && known.watch_models.is_some()) {
            continue;
        }
        for model in models.iter().filter(|model| !model.id.is_empty() && !taken(&model.id)) {
            let id = id(model, provider);
            if is_there(&id) || by_name.get(&*model.id).is_some_and(|ids| ids.contains(&quoted(&id))) {
                continue;
            }
            let _ = writeln!(deployments, "  {}: {}", key(&id), deployment(model, provider));
            by_name.entry(&model.id).or_default().push(quoted(&id));
        }
    }
    if by_name.is_empty() {
        return None;
    }
    let mut text = format!("deployments:\n{deployments}routes:\n");
    for (model, ids) in by_name {
        let name = key(&format!("found {model}"));
        let _ = writeln!(text, "  {name}: {{models: {}, deployments: [{}]}}", quoted(model), ids.join(", "));
    }
    Some(text)
}

/// Each server with a name of its own: the usual one, and the port where it is taken.
fn named(servers: &[Server]) -> Vec<(String, &Server)> {
    let mut named: Vec<(String, &Server)> = Vec::new();
    for server in servers {
        let usual = server.kind.name();
        let taken = |name: &str, named: &[(String, &Server)]| named.iter().any(|(known, _)| known == name);
        let port = server.address.rsplit(':').next().unwrap_or_default();
        let with_port = format!("{usual}-{port}");
        let mut name = if taken(usual, &named) { with_port.clone() } else { usual.to_owned() };
        let mut number = 2;
        while taken(&name, &named) {
            name = format!("{with_port}-{number}");
            number += 1;
        }
        named.push((name, server));
    }
    named
}

fn base_url(server: &Server) -> String {
    format!("{}/v1", server.address)
}

fn id(model: &Model, provider: &str) -> String {
    // In a route a star stands for more than itself.
    format!("{}@{provider}", model.id.replace('*', "_"))
}

fn deployment(model: &Model, provider: &str) -> String {
    let mut settings = format!("{{provider: {}, model: {}", key(provider), quoted(&model.id));
    if !model.capabilities.is_empty() {
        let _ = write!(settings, ", capabilities: [{}]", model.capabilities.join(", "));
    }
    if let Some(tokens) = model.context.filter(|tokens| *tokens > 0 && *tokens <= u64::from(u32::MAX)) {
        let _ = write!(settings, ", context_tokens: {tokens}");
    }
    settings + "}"
}

fn routes(named: &[(String, &Server)]) -> String {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (provider, server) in named {
        for model in &server.models {
            by_name.entry(&model.id).or_default().push(quoted(&id(model, provider)));
        }
    }
    let mut text = String::new();
    for (model, ids) in by_name {
        let name = key(&format!("local {model}"));
        let _ = writeln!(text, "  {name}: {{models: {}, deployments: [{}]}}", quoted(model), ids.join(", "));
    }
    text
}

/// Services with names of their own have a route each; those that have everybody's models are asked for the rest.
fn services_routes(services: &[&Preset], people: bool) -> String {
    let mut text = String::new();
    let patterns = |preset: &Preset| NAMES.iter().find(|(name, _)| *name == preset.name).map(|(_, patterns)| *patterns);
    for preset in services {
        let Some(patterns) = patterns(preset) else { continue };
        let patterns: Vec<String> = patterns.iter().map(|pattern| quoted(pattern)).collect();
        let name = preset.name;
        let _ = writeln!(text, "  {name}: {{models: [{}], deployments: \"any@{name}\"}}", patterns.join(", "));
    }
    let rest: Vec<String> = services
        .iter()
        .filter(|preset| patterns(preset).is_none())
        .map(|preset| quoted(&format!("any@{}", preset.name)))
        .collect();
    if !rest.is_empty() {
        let _ = write!(text, "  others: {{default: true, deployments: [{}]}}", rest.join(", "));
        comment(&mut text, people, "every name that leads nowhere else");
    }
    text
}

fn comment(text: &mut String, wanted: bool, about: &str) {
    if wanted {
        let _ = write!(text, "  # {}", about.replace(['\n', '\r'], " "));
    }
    text.push('\n');
}

fn counted(models: usize) -> String {
    if models == 1 { "1 model".to_owned() } else { format!("{models} models") }
}

/// As JSON, which is YAML too; in a value a dollar sign would be a variable.
fn quoted(text: &str) -> String {
    key(&text.replace('$', "$$"))
}

fn key(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const HEAD: &str = "\
# Written by `witgate init`: what answered, and the services whose keys are in the environment. It is yours to change:
# docs/configuration.md lists every key, `witgate check` says what is wrong, `witgate serve` serves it.

# server: {listen: \"127.0.0.1:4000\"}

# auth:                             # without keys everybody on this machine may ask
#   keys: [{name: app, key: \"${WITGATE_KEY}\"}]

";
/// What services call their own models.
const NAMES: [(&str, &[&str]); 5] = [
    ("openai", &["gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "text-embedding-*"]),
    ("anthropic", &["claude-*"]),
    ("gemini", &["gemini-*"]),
    ("mistral", &["mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*"]),
    ("deepseek", &["deepseek-*"]),
];

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::config::presets::PRESETS;
    use crate::config::{self, Loaded, Lookup, SourceFile};
    use crate::routes::RouteTable;
    use crate::survey::Kind;

    /// An environment in which every variable has a value.
    struct Keys;

    impl Lookup for Keys {
        fn variable(&self, name: &str) -> Option<String> {
            Some(format!("value-of-{name}"))
        }

        fn file(&self, _path: &str) -> Result<String, String> {
            Err("there are no files".to_owned())
        }
    }

    fn server(kind: Kind, port: u16, models: &[&str]) -> Server {
        let models = models.iter().map(|id| Model { id: (*id).to_owned(), ..Model::default() });
        Server { kind, address: format!("http://127.0.0.1:{port}"), models: models.collect() }
    }

    fn load(text: &str) -> Loaded {
        config::load(&[SourceFile::new("written", text)], &Keys).unwrap_or_else(|problems| {
            panic!("{}\n{text}", problems.iter().map(ToString::to_string).collect::<String>())
        })
    }

    #[test]
    fn what_is_written_can_be_read_and_has_no_warning() {
        let odd = Server {
            kind: Kind::Ollama,
            address: "http://127.0.0.1:11434".to_owned(),
            models: vec![Model {
                id: "q\"3:8b $x *".to_owned(),
                context: Some(4096),
                size: Some(4_700_000_000),
                capabilities: vec!["chat", "tools"],
            }],
        };
        let servers = [
            odd,
            server(Kind::LlamaCpp, 8080, &["both", "one"]),
            server(Kind::LlamaCpp, 8081, &["both"]),
            server(Kind::Other, 8000, &["gpt-oss"]),
        ];
        let services: Vec<&Preset> =
            PRESETS.iter().filter(|preset| preset.key.is_some() && preset.base_url.is_some()).collect();
        for written in [Written::ForPeople, Written::ForTheProgram] {
            let text = configuration(&servers, &services, written);
            let loaded = load(&text);
            assert_eq!(loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0], "{text}");
            assert!(!text.contains("value-of"), "{text}");
            let table = RouteTable::new(&loaded.config);
            let led = |model: &str| table.resolve(model).map(|found| found.deployments.len());
            assert_eq!(
                (led("both"), led("one"), led("q\"3:8b $x *"), led("gpt-oss")),
                (Some(2), Some(1), Some(1), Some(1))
            );
            assert_eq!((led("gpt-5"), led("claude-x")), (Some(1), Some(1)));
            let others = services.iter().filter(|preset| NAMES.iter().all(|(name, _)| *name != preset.name)).count();
            assert_eq!(led("meta/llama"), Some(others));
        }
    }

    #[test]
    fn one_server_is_written_in_a_few_lines() {
        let mut ollama = server(Kind::Ollama, 11434, &["llama3.2:latest"]);
        ollama.models[0].size = Some(2_019_393_189);
        let openai: Vec<&Preset> = PRESETS.iter().filter(|preset| preset.name == "openai").collect();
        let text = configuration(&[ollama], &openai, Written::ForPeople);
        let body = text.strip_prefix(HEAD).unwrap();
        let wanted = "\
providers:
  \"ollama\": {preset: ollama, base_url: \"http://127.0.0.1:11434/v1\"}  # Ollama, 1 model
  openai: {preset: openai, api_key: \"${OPENAI_API_KEY}\"}  # OpenAI

deployments:
  \"llama3.2:latest@ollama\": {provider: \"ollama\", model: \"llama3.2:latest\"}  # 2.0 GB
  any@openai: {model: \"*\"}  # whatever the client asks for

routes:
  # A model that several servers have is one route over all of them.
  \"local llama3.2:latest\": {models: \"llama3.2:latest\", deployments: [\"llama3.2:latest@ollama\"]}
  openai: {models: [\"gpt-*\", \"chatgpt-*\", \"o1*\", \"o3*\", \"o4*\", \"text-embedding-*\"], deployments: \"any@openai\"}
";
        assert_eq!(body, wanted);
    }

    #[test]
    fn what_is_found_later_is_joined_to_what_is_configured() {
        let before = "\
providers: {o: {dialect: ollama, watch_models: 5s}, p: {dialect: ollama}}
deployments: {old@o: {}, p: {provider: p}}
routes: {old: {deployments: old@o}, wide: {models: \"kept*\", deployments: p}}
aliases: {other: old}
";
        let file = SourceFile::new("file", before);
        let config = config::load(std::slice::from_ref(&file), &Keys).unwrap().config;
        let models =
            |ids: &[&str]| ids.iter().map(|id| Model { id: (*id).to_owned(), ..Model::default() }).collect::<Vec<_>>();
        let found = |ids: &[&str]| BTreeMap::from([(Arc::from("o"), models(ids))]);
        let more = watched(&config, &found(&["new:8b", "old", "kept-1", "other", "new:8b", ""])).unwrap();
        let loaded = config::load(&[file, SourceFile::new("found", more)], &Keys).unwrap();
        assert_eq!(loaded.warnings.len(), 0);
        let table = RouteTable::new(&loaded.config);
        let led = |name: &str| table.resolve(name).map(|found| found.deployments.to_vec());
        assert_eq!((led("new:8b"), led("old"), led("kept-1")), (Some(vec![2]), Some(vec![0]), Some(vec![1])));
        assert_eq!(loaded.config.deployments.len(), 3);
        // nothing new, nobody who is watched
        assert_eq!(watched(&config, &found(&["old"])), None);
        assert_eq!(watched(&config, &BTreeMap::from([(Arc::from("p"), models(&["new"]))])), None);
    }
}
