//! What a good configuration becomes, and how later problems find their place.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::ability::{Abilities, Ability};
use crate::catalogue::Match;
use crate::deployment::{LongPrice, Price, UpstreamModel};
use crate::dialect::OnLoss;
use crate::openai::Endpoint;

const GOOD: &str = r#"
server: {listen: "127.0.0.1:80", body_limit: 1MB, workers: 2, max_attempts: "${NUMBER}"}
auth:
  keys:
    - {name: ci, key: "${KEY}", labels: {team: build}, admin: true}
    - {name: app, key: {file: /secrets/key}, tenant: shop}
providers:
  openai: {dialect: openai, base_url: "https://api.openai.com/v1/", api_key: "${KEY}", headers: {X-Org: "a$$b"}}
  local: {dialect: ollama, idle_timeout: 1h30m, probe: {enabled: false}}
  fake: {dialect: demo, demo: {token_delay: 20ms, failure_rate: 0.5}}
deployments:
  gpt-4o@openai:
    capabilities: [vision, tools, vision]
    price: {input: 2.5, output: 10, cached_input: 1.25}
    rpm: 500
  any@local: {model: "*", weight: 2}
  fake: {provider: fake, region: eu, labels: {tier: free}}
routes:
  gpt-4o:
    deployments: [gpt-4o@openai, "*"]
    fallbacks: [rest]
    policies: [health, {use: cheapest, settings: {limit: 3, none: null, from: {env: "${NUMBER}"}}, weight: 2, optional: true}]
    cache: {ttl: 10m}
    timeout: 1m
  see: {capabilities: [vision, auto], deployments: gpt-4o@openai, on_policy_failure: refuse}
  rest: {models: ["llama*", "**/x"], deployments: "*@local", default: true, idempotent: false}
aliases: {gpt-4: gpt-4o}
retries: {share: 0.5}
breaker: {open: 5m, longest_open: 10m}
policies:
  code_cache: off
  defaults: {memory: 32MiB, grants: [headers]}
  rules: {cheapest: {deadline: 10ms, crash: {share: 0.5}, isolation: fresh}, health: {grants: [], instances: 3}}
cache: {default: {ttl: 1m}, redis: {url: "redis://:pw@127.0.0.1"}}
"#;

#[test]
fn what_is_written_is_what_is_meant() {
    let config = load_text(GOOD).map_err(|problems| show(&problems)).unwrap().config;
    assert_eq!(config.server.listen, "127.0.0.1:80".parse().unwrap());
    assert_eq!((config.server.body_limit, config.server.max_attempts.get()), (1_000_000, 7));

    let keys = &config.auth.keys;
    assert_eq!((&*keys[0].tenant, keys[0].key.expose()), ("ci", "sk-from-the-environment"));
    assert_eq!((&*keys[1].tenant, keys[1].key.expose()), ("shop", "sk-from-a-file"));
    assert_eq!(keys[0].labels, [("team".into(), "build".into())]);

    let openai = &config.providers[0];
    assert_eq!((openai.dialect, &*openai.base_url), (Dialect::OpenAi, "https://api.openai.com/v1"));
    assert_eq!((&*openai.headers[0].0, openai.headers[0].1.expose()), ("x-org", "a$b"));
    assert_eq!(config.providers[1].base_url, "http://127.0.0.1:11434/v1");
    assert_eq!(config.providers[1].idle_timeout, Duration::from_secs(5400));
    assert_eq!(config.providers[2].demo.as_ref().map(|demo| demo.failure_rate), Some(0.5));

    assert_eq!(openai.api_keys.iter().map(|key| key.expose()).collect::<Vec<_>>(), ["sk-from-the-environment"]);
    assert_eq!(openai.probe.as_ref().map(|probe| probe.interval), Some(Duration::from_secs(3)));
    assert_eq!((&config.providers[1].probe, config.retries.share), (&None, 0.5));
    assert_eq!((config.breaker.open, config.breaker.longest_open), (DAY / 288, DAY / 144));

    let deployment = |number: usize| &config.deployments[number].deployment;
    assert_eq!(deployment(0).model, UpstreamModel::Named("gpt-4o".into()));
    // what the catalogue knows comes to what is written
    let capabilities: Vec<&str> = deployment(0).capabilities.iter().map(|name| &**name).collect();
    assert_eq!(capabilities, ["chat", "json-schema", "tools", "vision"]);
    assert_eq!(deployment(0).known.as_ref().map(|known| &*known.name), Some("openai/gpt-4o"));
    let price = Price { input: 2.5, output: 10.0, cached_input: Some(1.25), ..Price::default() };
    assert_eq!(deployment(0).price, Some(price));
    assert_eq!((deployment(1).model.clone(), deployment(1).weight), (UpstreamModel::AsRequested, 2.0));
    assert_eq!((&*deployment(2).provider, config.deployments[2].provider), ("fake", 2));

    let [gpt, see, rest] = &config.routes[..] else { panic!("there are three routes") };
    assert_eq!((&gpt.deployments[..], &gpt.fallbacks[..]), (&[0, 1, 2][..], &[2][..]));
    assert!(gpt.idempotent && !rest.idempotent);
    assert_eq!(gpt.models, [ModelPattern::Exact("gpt-4o".into())]);
    assert_eq!(*gpt.chain[1].settings, json!({"limit": 3, "none": null, "from": {"env": "7"}}));
    assert_eq!((&*gpt.chain[1].policy, gpt.chain[1].weight, gpt.chain[1].optional), ("cheapest", 2.0, true));
    assert_eq!((gpt.cache, see.cache), (RouteCache::For(DAY / 144), RouteCache::For(DAY / 1440)));
    assert_eq!((see.models.len(), see.on_policy_failure), (0, FailureMode::Refuse));
    assert_eq!(rest.models, [ModelPattern::Glob("llama*".into()), ModelPattern::Glob("*/x".into())]);
    assert_eq!(rest.chain.iter().map(|stage| &*stage.policy).collect::<Vec<_>>(), DEFAULT_CHAIN);
    assert_eq!((&rest.deployments[..], config.default_route), (&[1][..], Some(2)));

    let rules = |policy| config.policies.rules_for(policy);
    assert_eq!((rules("other").memory, rules("other").grant_headers), (32 << 20, true));
    assert_eq!((rules("cheapest").deadline, rules("cheapest").memory), (Duration::from_millis(10), 32 << 20));
    let crash = CrashRules { share: 0.5, ..CrashRules::default() };
    assert_eq!((&rules("cheapest").crash, rules("cheapest").isolation), (&crash, Isolation::Fresh));
    assert!(!rules("health").grant_headers);
    assert_eq!(rules("health").instances.map(std::num::NonZeroUsize::get), Some(3));
    assert_eq!((config.policies.code_cache, config.policies.revisions), (None, None));
    assert_eq!(keys.iter().map(|key| key.admin).collect::<Vec<_>>(), [true, false]);
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn no_secret_shows_in_what_was_loaded() {
    let loaded = load_text(GOOD).map_err(|problems| show(&problems)).unwrap();
    let shown = format!("{loaded:#?}");
    for secret in ["sk-from-the-environment", "sk-from-a-file", ":pw@", "a$b"] {
        assert!(!shown.contains(secret), "{secret} shows in {shown}");
    }
}

#[test]
fn a_later_problem_finds_its_place() {
    let text = good("").replace("{deployments: m@demo}", "\n    deployments: m@demo")
        + "    policies:\n    - health\n    - use: cheapest\n      settings:\n        \"a/b\":\n        - {deep: 1}\n        - 2\n";
    let loaded = load_text(&text).map_err(|problems| show(&problems)).unwrap();
    let problem = |pointer| {
        let path = loaded.settings_path(0, 1, pointer);
        loaded.problem(Severity::Error, path, "must be text", None).to_string()
    };
    assert_eq!(
        problem("/a~1b/0/deep"),
        "witgate.yaml:13:18: error: routes.m.policies[1].settings.a/b[0].deep: must be text"
    );
    assert_eq!(problem("/a~1b/1"), "witgate.yaml:14:11: error: routes.m.policies[1].settings.a/b[1]: must be text");
    assert_eq!(problem(""), "witgate.yaml:11:7: error: routes.m.policies[1].settings: must be text");
    assert_eq!(problem("/gone"), "witgate.yaml:11:7: error: routes.m.policies[1].settings.gone: must be text");
    assert_eq!(loaded.place_of(loaded.stage_path(0, 0).parts()).to_string(), "witgate.yaml:9:7");
    assert_eq!(loaded.place_of(loaded.settings_path(0, 0, "/x").parts()).to_string(), "witgate.yaml:9:7");
    assert_eq!(loaded.place_of(&[]).to_string(), "witgate.yaml:1:1");
}

#[test]
fn a_file_may_use_anchors_and_merge_keys() {
    let text = "
providers: {demo: {dialect: demo}}
deployments:
  a@demo: &base {price: &price {input: 1}, rpm: 5}
  b@demo: {<<: *base, rpm: 6}
  c@demo: {<<: [{tpm: 3}, *base], price: *price}
routes: {r: {deployments: '*'}}
";
    let config = load_text(text).map_err(|problems| show(&problems)).unwrap().config;
    let seen: Vec<_> = config
        .deployments
        .iter()
        .map(|d| (d.deployment.price.unwrap().input, d.deployment.rpm, d.deployment.tpm))
        .collect();
    assert_eq!(seen, [(1.0, Some(5), None), (1.0, Some(6), None), (1.0, Some(5), Some(3))]);
}

#[test]
fn a_variable_in_settings_is_what_yaml_makes_of_it() {
    let stage = "policies: \n    - use: p\n      settings: \n        number: ${NUMBER}\n        text: '${NUMBER}'\n        list: \n        - a ${NUMBER}\n";
    let text = good("").replace("{deployments: m@demo}", &format!("\n    deployments: m@demo\n    {stage}"));
    let config = load_text(&text).map_err(|problems| show(&problems)).unwrap().config;
    assert_eq!(*config.routes[0].chain[0].settings, json!({"number": 7, "text": "7", "list": ["a 7"]}));
}

#[test]
fn the_code_cache_is_in_the_users_cache_folder() {
    let config = load_text(&good("")).unwrap().config;
    assert_eq!(config.policies.code_cache.as_deref(), Some(Path::new("/home/witgate/.cache/witgate")));
    assert_eq!(config.policies.revisions.as_deref(), Some(Path::new("/home/witgate/.cache/witgate/revisions")));
    let elsewhere = load_text(&good("policies: {revisions: /var/lib/witgate}")).unwrap().config;
    assert_eq!(elsewhere.policies.revisions.as_deref(), Some(Path::new("/var/lib/witgate")));
    let files = [SourceFile::new("witgate.yaml", good(""))];
    assert_eq!(load(&files, &NoLookup).unwrap().config.policies.code_cache, None);
}

#[test]
fn a_preset_fills_in_what_is_not_said() {
    struct Keys;
    impl Lookup for Keys {
        fn variable(&self, name: &str) -> Option<String> {
            matches!(name, "GROQ_API_KEY" | "ANTHROPIC_API_KEY").then(|| format!("from {name}"))
        }

        fn file(&self, _: &str) -> Result<String, String> {
            Err("no such file".to_owned())
        }
    }
    let text = "
providers:
  groq: {preset: groq}
  claude: {preset: anthropic, api_key: mine, on_loss: drop, idle_timeout: 2m}
  azure: {preset: azure, base_url: \"https://r.openai.azure.com/openai/v1\", headers: {api-key: mine}}
  elsewhere: {preset: openai, base_url: \"http://127.0.0.1:9/v1/\"}
  here: {preset: vllm}
  plain: {dialect: openai, base_url: \"https://api.openai.com/v1\", api_key: mine}
  other: {dialect: openai, base_url: \"http://127.0.0.1:9/v1\"}
  old: {preset: vllm, responses: false}
  new: {dialect: openai, base_url: \"http://127.0.0.1:9/v1\", responses: true}
  deepseek: {preset: deepseek, base_url: \"http://127.0.0.1:9\"}
  mistral: {preset: mistral, api_key: mine}
  le-chat: {dialect: openai, base_url: \"https://api.mistral.ai/v1\", api_key: mine}
deployments: {a@groq: , b@claude: , c@azure: , d@elsewhere: , e@here: , f@plain: , g@other: , h@old: , i@new: ,
  j@deepseek: , k@mistral: , l@le-chat: }
routes: {m: {deployments: \"*\"}}
";
    let loaded = load(&[SourceFile::new("witgate.yaml", text)], &Keys).unwrap();
    let of = |name: &str| loaded.config.providers.iter().find(|provider| &*provider.name == name).unwrap();
    let key = |name: &str| of(name).api_keys.first().map(Secret::expose);
    let groq = of("groq");
    assert_eq!((groq.dialect, &*groq.base_url), (Dialect::OpenAi, "https://api.groq.com/openai/v1"));
    assert_eq!((key("groq"), groq.key_header), (Some("from GROQ_API_KEY"), KeyHeader::Bearer));
    assert!(groq.lacks.contains(&Endpoint::Embeddings) && !groq.lacks.contains(&Endpoint::Chat));
    let claude = of("claude");
    assert_eq!((claude.dialect, &*claude.base_url), (Dialect::Anthropic, "https://api.anthropic.com/v1"));
    assert_eq!((key("claude"), claude.key_header, claude.on_loss), (Some("mine"), KeyHeader::XApiKey, OnLoss::Drop));
    assert_eq!(claude.idle_timeout, Duration::from_secs(120));
    // The key may be given as a header, and somewhere else there may be none.
    assert_eq!((key("azure"), key("elsewhere"), key("here")), (None, None, None));
    assert_eq!(of("elsewhere").base_url, "http://127.0.0.1:9/v1");
    assert_eq!(of("here").base_url, "http://127.0.0.1:8000/v1");
    let limits = ["groq", "azure", "elsewhere", "plain"].map(|name| of(name).output_limit.field());
    assert_eq!(limits, ["max_tokens", "max_completion_tokens", "max_completion_tokens", "max_completion_tokens"]);
    // The preset knows, and what is said counts; OpenAI itself is known by its address.
    for name in ["groq", "azure", "elsewhere", "here", "plain", "new"] {
        assert!(of(name).responses, "{name}");
    }
    for name in ["claude", "other", "old"] {
        assert!(!of(name).responses, "{name}");
    }
    let unasked = ["groq", "plain", "mistral", "le-chat"].map(|name| of(name).usage_unasked);
    assert_eq!(unasked, [false, false, true, true]);
    // DeepSeek's own address has no path either, so there is nothing to wonder about.
    assert_eq!(show(&loaded.warnings), "");
}

#[test]
fn where_policies_come_from_is_resolved() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/policies_supply_limits.yaml"));
    let config = load_text(&text.unwrap()).map_err(|problems| show(&problems)).unwrap().config;
    assert_eq!(config.policies.copies.as_deref(), Some(Path::new("kept")));
    let supply = &*config.policies.supply;
    assert_eq!(supply.access("10.0.0.7:5000").insecure, Some(true));
    let password = Credentials::Password { username: "ann".to_owned(), password: Secret::new("sk-from-a-file") };
    assert_eq!(supply.access("ghcr.io").credentials, password);
    assert_eq!(supply.access("quay.io").credentials, Credentials::Token(Secret::new("sk-from-the-environment")));
    assert_eq!(supply.access("elsewhere.example"), Access::default());
    let own = &supply.policies["b"];
    assert_eq!(own.keys, [SigningKey::parse(KEY).unwrap(), SigningKey::parse(KEY).unwrap()]);
    assert_eq!(own.sha256, Some(digest(b"abc")));
    assert_eq!(supply.sources().collect::<Vec<_>>(), [(&"b".into(), own.source.as_ref().unwrap())]);
    assert!(!format!("{config:?}").contains("sk-from"));
}

#[test]
fn a_path_is_passed_through_to_the_provider_with_the_longest_beginning() {
    let text = "
providers: {a: {dialect: openai, base_url: 'http://a/v1'}, b: {dialect: openai, base_url: 'http://b/v1'}, c: {dialect: openai, base_url: 'http://c/v1'}}
deployments: {m@a: {}}
routes: {m: {deployments: '*'}}
passthrough: {provider: a, paths: {/v1/files: b, /v1/files/special: c}}
";
    let passthrough = load_text(text).unwrap().config.passthrough;
    for (path, place) in [
        ("/v1/files", 1),
        ("/v1/files/file-1/content", 1),
        ("/v1/files/special/x", 2),
        ("/v1/files/specials", 1),
        ("/v1/filesystem", 0),
        ("/v1/batches", 0),
    ] {
        assert_eq!(passthrough.provider_for(path), Some(place), "{path}");
    }
    assert_eq!(load_text(&good("")).unwrap().config.passthrough.provider_for("/v1/files"), None);
}

#[test]
fn embeddings_are_batched_where_a_server_is_one_s_own_and_where_the_configuration_says_so() {
    let batched = |provider: &str| {
        let text = format!("providers: {{p: {provider}}}\ndeployments: {{m@p: }}\nroutes: {{m: {{deployments: '*'}}}}");
        load_text(&text).unwrap().config.providers[0].embedding_batch.is_some()
    };
    assert!(batched("{preset: llama-cpp}") && batched("{preset: ollama}"));
    assert!(!batched("{preset: llama-cpp, embedding_batch: {enabled: false}}"));
    assert!(!batched("{preset: openai, api_key: k}") && !batched("{dialect: openai, base_url: 'http://127.0.0.1/v1'}"));
    assert!(batched("{preset: openai, api_key: k, embedding_batch: {enabled: true}}"));
}

#[test]
fn a_deployment_goes_on_as_it_says_else_as_its_provider_does() {
    let text = r#"
providers:
  vllm: {preset: vllm}
  mistral: {preset: mistral, api_key: mine}
  claude: {dialect: anthropic}
  plain: {dialect: openai, base_url: "http://here/v1"}
  said: {dialect: openai, base_url: "http://there/v1", continuation: assistant-message}
deployments: {m@vllm: {}, m@mistral: {}, m@claude: {}, m@plain: {}, m@said: {}, n@said: {continuation: none}}
routes: {m: {deployments: "*", resume: true}, n: {deployments: m@vllm}}
"#;
    let config = load_text(text).map_err(|problems| show(&problems)).unwrap().config;
    let how: Vec<_> = config.deployments.iter().map(|entry| entry.continuation.name()).collect();
    assert_eq!(how, ["continue-final-message", "prefix", "assistant-message", "none", "assistant-message", "none"]);
    assert_eq!(config.routes.iter().map(|route| route.resume).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn what_is_not_written_is_as_the_catalogue_says() {
    let text = "
providers:
  openai: {preset: openai, api_key: mine}
  proxy: {dialect: openai, base_url: \"https://eu.api.openai.com/v1\", api_key: mine}
  here: {preset: vllm, base_url: \"http://10.0.0.7:8000/v1\"}
  fake: {dialect: demo}
catalogue:
  openai/gpt-4o: {context_tokens: 9000, capabilities: [audio]}
  here/qwen3: {price: {input: 0.1, output: 0.2}, context_tokens: 32768, lacks: [vision]}
deployments:
  gpt-4o@openai: {lacks: [tools], price: {input: 1, output: 2, long: {above: 10, input: 3, output: 4}}}
  o3-2025-04-16@proxy: {max_output_tokens: 10}
  mine@openai: {catalogue: openai/gpt-4o-mini}
  gpt-4@openai: {catalogue: none}
  qwen3@here:
  gpt-4o@fake:
  any@openai: {model: \"*\"}
routes: {m: {deployments: \"*\"}}
";
    let config = load_text(text).map_err(|problems| show(&problems)).unwrap().config;
    let of = |id: &str| {
        let entry = config.deployments.iter().find(|entry| &*entry.deployment.id == id);
        Arc::clone(&entry.unwrap().deployment)
    };
    let can = |id: &str| {
        let needs = [Ability::Tools, Ability::Vision, Ability::Audio, Ability::Embeddings];
        needs.map(|ability| of(id).able(Abilities::default()).can(ability))
    };
    assert_eq!(can("gpt-4o@openai"), [Some(false), Some(true), Some(true), Some(false)]);
    let gpt = of("gpt-4o@openai");
    assert_eq!((gpt.context_tokens, gpt.max_output_tokens, gpt.answer_in_window), (Some(9000), Some(16_384), true));
    let long = Some(LongPrice { above: 10, input: 3.0, output: 4.0 });
    assert_eq!(gpt.price, Some(Price { input: 1.0, output: 2.0, long, ..Price::default() }));
    // who reasons takes `max_completion_tokens` for a bound
    let o3 = of("o3-2025-04-16@proxy");
    assert_eq!((o3.price.unwrap().cached_input, o3.max_output_tokens), (Some(0.5), Some(10)));
    assert_eq!((o3.answer_in_window, o3.known.as_ref().map(|known| known.how)), (false, Some(Match::Exact)));
    assert_eq!(of("mine@openai").known.as_ref().map(|known| known.how), Some(Match::Said));
    let qwen = of("qwen3@here");
    assert_eq!((qwen.context_tokens, qwen.answer_in_window, qwen.price.unwrap().output), (Some(32_768), true, 0.2));
    assert_eq!(can("qwen3@here"), [None, Some(false), None, None]);
    // a server knows better than the list, and the operator better than both
    let mini = of("mine@openai");
    assert_eq!((mini.context_tokens, mini.window(None), mini.window(Some(4096))), (None, Some(128_000), Some(4096)));
    assert_eq!(gpt.window(Some(4096)), Some(9000));
    for id in ["gpt-4@openai", "gpt-4o@fake", "any@openai"] {
        assert_eq!((of(id).known.clone(), of(id).price, can(id)), (None, None, [None; 4]), "{id}");
    }
}

#[test]
fn a_rule_takes_from_the_defaults_whatever_it_does_not_say() {
    let text = r#"
providers: {fake: {dialect: demo}}
deployments: {m@fake: {}}
routes: {r: {deployments: "*"}}
policies:
  defaults:
    {deadline: 9ms, memory: 9MiB, instances: 9, calls: 9, isolation: fresh, grants: [headers], log_lines: 9, tables: 9,
      cells: 9, crash: {failures: 9, share: 0.9, window: 9s}}
  rules:
    nothing: {}
    all:
      {deadline: 8ms, memory: 8MiB, instances: 8, calls: 8, isolation: reuse, grants: [prompt], log_lines: 8, tables: 8,
        cells: 8, crash: {failures: 8, share: 0.8, window: 8s}}
    part: {crash: {failures: 8}}
"#;
    let policies = load_text(text).map_err(|problems| show(&problems)).unwrap().config.policies;
    let [defaults, nothing, all, part] = ["other", "nothing", "all", "part"].map(|name| policies.rules_for(name));
    let rules = |nine: u8, isolation, grant_headers| PolicyRules {
        deadline: Duration::from_millis(nine.into()),
        memory: usize::from(nine) << 20,
        instances: std::num::NonZeroUsize::new(nine.into()),
        calls: std::num::NonZeroU32::new(nine.into()).unwrap(),
        isolation,
        grant_headers,
        grant_prompt: !grant_headers,
        grant_fleet_cells: false,
        log_lines: nine.into(),
        tables: nine.into(),
        cells: nine.into(),
        crash: CrashRules {
            failures: std::num::NonZeroU32::new(nine.into()).unwrap(),
            share: f64::from(nine) / 10.0,
            window: Duration::from_secs(nine.into()),
        },
    };
    assert_eq!(*defaults, rules(9, Isolation::Fresh, true));
    assert_eq!(nothing, defaults);
    assert_eq!(*all, rules(8, Isolation::Reuse, false));
    let crash = CrashRules { failures: all.crash.failures, ..defaults.crash.clone() };
    assert_eq!(*part, PolicyRules { crash, ..defaults.clone() });
}
