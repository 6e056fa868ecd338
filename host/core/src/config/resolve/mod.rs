//! From what is written to what is meant: defaults, units, references.
//!
//! Every function here gathers all problems and goes on with a default, so that one mistake hides no other. The
//! result is used only if there was no error.

mod batch;
mod catalogue;
mod cors;
mod deployments;
mod gateway;
mod health;
mod passthrough;
mod policies;
mod providers;
mod routes;
mod supply;
mod values;

use std::sync::Arc;

use super::findings::Findings;
use super::interpolate::Lookup;
use super::model::Config;
use super::problem::KeyPath;
use super::raw::Raw;

pub(crate) use routes::ANY_CAPABILITY;
pub use routes::DEFAULT_CHAIN;

/// The configuration, if nothing is wrong with it.
pub(super) fn resolve(raw: Raw, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Option<Config> {
    let server = gateway::server(raw.server.unwrap_or_default(), findings);
    let log = gateway::log(raw.log.unwrap_or_default(), findings);
    let auth = gateway::auth(raw.auth.unwrap_or_default(), findings, lookup);
    let cache = gateway::cache(raw.cache.unwrap_or_default(), findings, lookup);
    let retries = health::retries(raw.retries.unwrap_or_default(), findings);
    let breaker = health::breaker(raw.breaker.unwrap_or_default(), findings);
    let policies = policies::policies(raw.policies.unwrap_or_default(), findings, lookup);
    let providers = providers::providers(raw.providers.unwrap_or_default(), findings, lookup);
    let passthrough = passthrough::passthrough(raw.passthrough, &providers, findings);
    let own = catalogue::own(raw.catalogue.unwrap_or_default(), findings);
    let deployments = deployments::deployments(raw.deployments.unwrap_or_default(), &providers, &own, findings);
    let (routes, default_route) = routes::routes(raw.routes.unwrap_or_default(), &deployments, cache.default, findings);
    let aliases = routes::aliases(raw.aliases.unwrap_or_default(), &routes, default_route, findings);
    for (section, empty, hint) in [
        ("providers", providers.is_empty(), "add a service to call, for example `local: {dialect: ollama}`"),
        ("deployments", deployments.is_empty(), "add a model at a provider, for example `llama3@local: {}`"),
        ("routes", routes.is_empty(), "add a route, for example `chat: {deployments: \"*\"}`"),
    ] {
        let path = KeyPath::top(section);
        if empty
            && findings.tree().at(&path).is_none_or(|node| node.entries().is_empty())
            && !findings.any_error_at(&path)
        {
            findings.error(&path, "there is none, but at least one is needed", hint);
        }
    }
    let config = Config {
        server,
        log,
        auth,
        providers,
        deployments,
        routes,
        aliases,
        default_route,
        passthrough,
        retries,
        breaker,
        policies,
        cache,
    };
    if config.exposed_without_keys() {
        findings.error(
            &KeyPath::top("server").key("listen"),
            format!("others can reach {}, and without `auth.keys` everybody may ask", config.server.listen),
            "add keys, listen on 127.0.0.1, or set `server.allow_unauthenticated: true`",
        );
    }
    (!findings.any_error()).then_some(config)
}

/// Key and value pairs, as policies see them.
fn labels(raw: Option<super::shapes::Named<String>>) -> Vec<(Arc<str>, Arc<str>)> {
    raw.unwrap_or_default().0.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}
