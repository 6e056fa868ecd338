//! Every ingredient of a key makes a difference.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use http::{HeaderName, HeaderValue};
use witgate_core::config::{NoLookup, SourceFile};

use super::*;

fn scope(more: &str) -> Scope {
    scope_of(&format!(
        "
providers:
  a: {{dialect: openai, base_url: 'http://127.0.0.1:1/v1'}}
  b: {{dialect: openai, base_url: 'http://127.0.0.1:2/v1'}}
deployments:
  m@a: {{}}
  m@b: {{}}
routes:
  r: {{models: m, deployments: [m@a], cache: {{ttl: 60s}}}}
{more}"
    ))
}

fn scope_of(yaml: &str) -> Scope {
    let loaded = witgate_core::config::load(&[SourceFile::new("test", yaml)], &NoLookup).unwrap();
    Scope::of(&loaded.config, &loaded.config.routes[0]).unwrap()
}

fn question<'a>(scope: &'a Scope, headers: &'a HeaderMap) -> Question<'a> {
    Question {
        scope: Some(scope),
        tenant: "t",
        endpoint: Endpoint::Chat,
        model: "m",
        headers,
        body: br#"{"model":"m","messages":[]}"#,
    }
}

#[test]
fn every_ingredient_makes_a_difference() {
    let (one, other) = (
        scope(""),
        scope_of(
            "
providers:
  a: {dialect: openai, base_url: 'http://127.0.0.1:3/v1'}
  b: {dialect: openai, base_url: 'http://127.0.0.1:2/v1'}
deployments:
  m@a: {}
  m@b: {}
routes:
  r: {models: m, deployments: [m@a], cache: {ttl: 60s}}
",
        ),
    );
    let none = HeaderMap::new();
    let beta = HeaderMap::from_iter([(HeaderName::from_static("openai-beta"), HeaderValue::from_static("x=v2"))]);
    let base = question(&one, &none);
    let questions = [
        base,
        Question { tenant: "u", ..base },
        Question { endpoint: Endpoint::Completions, ..base },
        Question { model: "n", ..base },
        Question { body: br#"{"model":"m","messages":[],"unknown":0}"#, ..base },
        question(&one, &beta),
        question(&other, &none),
    ];
    let keys: HashSet<_> =
        questions.iter().map(|question| Key::of(question.scope.unwrap(), question).unwrap()).collect();
    assert_eq!(keys.len(), questions.len());
}

#[test]
fn names_do_not_run_into_each_other() {
    let (scope, headers) = (scope(""), HeaderMap::new());
    let of = |tenant, model| Key::of(&scope, &Question { tenant, model, ..question(&scope, &headers) });
    assert_ne!(of("ab", "c"), of("a", "bc"));
}

#[test]
fn an_alias_and_its_model_are_one_question() {
    let (scope, headers) = (scope(""), HeaderMap::new());
    let asked = question(&scope, &headers);
    let aliased = Question { body: br#"{"messages":[],"model":"fast"}"#, ..asked };
    assert_eq!(Key::of(&scope, &asked), Key::of(&scope, &aliased));
}

#[test]
fn headers_that_only_trace_make_no_difference() {
    let scope = scope("");
    let (none, mut tracing) = (HeaderMap::new(), HeaderMap::new());
    for name in ["traceparent", "x-request-id", "user-agent", "x-stainless-retry-count", "cache-control"] {
        tracing.insert(name, HeaderValue::from_static("x"));
    }
    assert_eq!(Key::of(&scope, &question(&scope, &none)), Key::of(&scope, &question(&scope, &tracing)));
}

#[test]
fn a_fingerprint_follows_what_the_route_offers_and_nothing_else() {
    let with = |deployments: &str, ttl: &str, fallbacks: &str| {
        scope_of(&format!(
            "
providers:
  a: {{dialect: openai, base_url: 'http://127.0.0.1:1/v1'}}
deployments:
  m@a: {{}}
  n@a: {{}}
routes:
  r: {{models: m, deployments: [{deployments}], cache: {{ttl: {ttl}}}, fallbacks: [{fallbacks}]}}
  s: {{models: s, deployments: [n@a]}}
"
        ))
    };
    let base = with("m@a", "60s", "");
    assert_eq!(base.fingerprint, with("m@a", "2m", "").fingerprint);
    assert_eq!(with("m@a", "2m", "").ttl(), Duration::from_secs(120));
    assert_ne!(base.fingerprint, with("n@a", "60s", "").fingerprint);
    assert_ne!(base.fingerprint, with("m@a, n@a", "60s", "").fingerprint);
    assert_ne!(base.fingerprint, with("m@a", "60s", "s").fingerprint);
}

#[test]
fn a_request_that_leaves_something_behind_has_no_key() {
    let (scope, headers) = (scope(""), HeaderMap::new());
    let storing = Question { body: br#"{"store":true}"#, ..question(&scope, &headers) };
    assert_eq!(Key::of(&scope, &storing), None);
}

#[test]
fn a_key_is_shown_in_hexadecimal() {
    let mut bytes = [0; 32];
    bytes[0] = 0xab;
    assert_eq!(Key(bytes).to_string(), format!("ab{}", "0".repeat(62)));
}
