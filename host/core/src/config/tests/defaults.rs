//! The defaults that the schema states are those that hold.

use serde_json::{Map, Value};

use super::*;

/// The keys of a map that have a default, with it.
fn stated(definition: &str) -> Value {
    let schema = schema();
    let properties = schema["$defs"][definition]["properties"].as_object().unwrap().clone();
    let with_default = properties.into_iter().filter_map(|(key, setting)| Some((key, setting.get("default")?.clone())));
    Value::Object(with_default.collect::<Map<_, _>>())
}

#[test]
fn writing_out_every_default_changes_nothing() {
    let short = "
providers: {demo: {dialect: demo, demo: {}}, far: {dialect: openai, base_url: 'http://far/v1', probe: {}, facts: {}, embedding_batch: {enabled: true}}}
deployments: {m@demo: {price: {}}, m@far: {}}
routes: {m: {deployments: '*'}}
policies: {rules: {health: {crash: {}}}, defaults: {crash: {}}, pull: {}}
auth: {keys: [{name: a, key: sk-a}]}
cache: {redis: {url: 'redis://here'}}
";
    let mut long: Value = json_of(short);
    let mut fill = |pointer: &str, definition: &str| {
        let map = long.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        let Value::Object(stated) = stated(definition) else { unreachable!("it is built as a map") };
        assert!(!stated.is_empty(), "{definition} states no default");
        map.extend(stated);
    };
    fill("/server", "Server");
    fill("/server/queue", "Queue");
    fill("/log", "Log");
    fill("/retries", "Retries");
    fill("/breaker", "Breaker");
    fill("/providers/demo", "Provider");
    fill("/providers/demo/demo", "Demo");
    fill("/providers/far", "Provider");
    fill("/providers/far/probe", "Probe");
    fill("/providers/far/facts", "Facts");
    fill("/providers/far/embedding_batch", "EmbeddingBatch");
    fill("/deployments/m@demo", "Deployment");
    fill("/deployments/m@demo/price", "Price");
    fill("/routes/m", "Route");
    fill("/policies", "Policies");
    fill("/policies/pull", "Pull");
    fill("/policies/defaults", "Rules");
    fill("/policies/defaults/crash", "Crash");
    fill("/policies/rules/health", "Rules");
    fill("/policies/rules/health/crash", "Crash");
    fill("/auth/keys/0", "Key");
    fill("/cache", "Cache");
    fill("/cache/redis", "Redis");
    // JSON is YAML
    let config = |text: &str| format!("{:#?}", load_text(text).map_err(|problems| show(&problems)).unwrap().config);
    assert_eq!(config(&long.to_string()), config(short));
}

fn json_of(text: &str) -> Value {
    let tree = yaml::parse("short", text).map_err(|problems| show(&problems)).unwrap();
    let mut findings = Findings::new(&tree);
    let mut value = interpolate::interpolate(&mut findings, &NoLookup).value;
    for section in ["server", "log", "retries", "breaker"] {
        value[section] = Value::Object(Map::new());
    }
    value["server"]["queue"] = Value::Object(Map::new());
    value
}

#[test]
fn the_schema_speaks_of_no_null_and_no_alternatives() {
    let text = schema().to_string();
    for word in ["null", "anyOf", "oneOf", "Nullable"] {
        assert!(!text.contains(&format!("\"{word}")), "{word} in {text}");
    }
}
