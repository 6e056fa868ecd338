//! Warnings: what can be used, but cannot do what is probably meant.

use super::findings::Findings;
use super::model::{Config, ModelPattern, RouteCache, Stage};
use super::problem::KeyPath;
use super::tree::Node;
use crate::catalogue;
use crate::resume::Continuation;
use crate::routes::glob;

/// Reports everything that is never reached or has no effect.
pub(super) fn lint(config: &Config, findings: &mut Findings<'_>) {
    duplicate_names(config, findings);
    if findings.any_error() {
        return;
    }
    shadowed_patterns(config, findings);
    shadowed_names(config, findings);
    unreachable(config, findings);
    without_effect(config, findings);
    unpriced(config, findings);
    beyond_the_catalogue(config, findings);
}

/// The same exact name, or the same capability, on two routes: nobody could tell which is meant.
fn duplicate_names(config: &Config, findings: &mut Findings<'_>) {
    let names = exact_names(config, findings);
    report_twice(&names, "model name", findings);
    report_twice(&capabilities(config), "capability", findings);
}

fn report_twice(names: &[Name<'_>], what: &str, findings: &mut Findings<'_>) {
    for (place, name) in names.iter().enumerate() {
        if let Some(first) = names[..place].iter().find(|first| first.text == name.text) {
            let message = format!("the {what} `{}` leads to the route `{}` already", name.text, first.route);
            findings.error(&name.path, message, "let one route have it; `fallbacks` names others");
        }
    }
}

/// A pattern all of whose names go to a pattern that is tried before it.
fn shadowed_patterns(config: &Config, findings: &mut Findings<'_>) {
    let patterns = globs(config, findings);
    for (place, pattern) in patterns.iter().enumerate() {
        let specificity = glob::specificity(pattern.text);
        let first = patterns[..place]
            .iter()
            .find(|first| glob::specificity(first.text) == specificity && glob::covers(first.text, pattern.text));
        if let Some(first) = first {
            let message = format!(
                "the pattern `{}` is never used: `{}` of the route `{}` matches the same names and comes first",
                pattern.text, first.text, first.route
            );
            findings.warning(&pattern.path, message, "remove it, or make it more specific");
        }
    }
}

/// Capabilities, names and defaults that something tried before them always takes away.
fn shadowed_names(config: &Config, findings: &mut Findings<'_>) {
    let exact = exact_names(config, findings);
    let patterns = globs(config, findings);
    for name in capabilities(config) {
        let by = exact.iter().find(|other| other.text == name.text);
        let by = by.or_else(|| patterns.iter().find(|pattern| glob::matches(pattern.text, name.text)));
        if let Some(by) = by {
            let message =
                format!("the capability `{}` is never asked for: the name leads to `{}` first", name.text, by.route);
            findings.warning(&name.path, message, format!("`{}` in its models matches it", by.text));
        }
    }
    for (name, target) in &config.aliases {
        let exact = exact.iter().find(|other| *other.text == **name);
        let capability = capabilities(config).into_iter().find(|other| *other.text == **name);
        if let Some(route) = exact.map(|found| found.route).or(capability.map(|found| found.route)) {
            let message = format!("the alias takes the name away from the route `{route}`; it leads to `{target}` now");
            findings.warning(
                &KeyPath::top("aliases").key(name),
                message,
                "rename one of the two, if that is not meant",
            );
        }
    }
    if let Some(default) = config.default_route
        && let Some(all) = patterns.iter().find(|pattern| pattern.text == "*")
    {
        let path = route_path(&config.routes[default].name).key("default");
        let message =
            format!("nothing is left for the default route: `*` of the route `{}` matches every name", all.route);
        findings.warning(&path, message, "remove one of the two");
    }
}

/// Routes, deployments and providers that no request can get to.
fn unreachable(config: &Config, findings: &mut Findings<'_>) {
    for (place, route) in config.routes.iter().enumerate() {
        let by_name = !route.models.is_empty() || !route.capabilities.is_empty();
        let by_fallback = config.routes.iter().any(|other| other.fallbacks.contains(&place));
        if !by_name && !by_fallback && config.default_route != Some(place) {
            let hint = "give it `models`, or name it in another route's `fallbacks`";
            findings.warning(&route_path(&route.name), "nothing leads to this route", hint);
        }
    }
    for (number, entry) in (0u32..).zip(&config.deployments) {
        if !config.routes.iter().any(|route| route.deployments.contains(&number)) {
            let path = KeyPath::top("deployments").key(&entry.deployment.id);
            findings.warning(&path, "no route has this deployment", "add it to a route's `deployments`, or remove it");
        }
    }
    for (place, provider) in config.providers.iter().enumerate() {
        let passed_through = config.passthrough.providers().any(|named| named == place);
        if !passed_through && !config.deployments.iter().any(|entry| entry.provider == place) {
            let path = KeyPath::top("providers").key(&provider.name);
            findings.warning(&path, "no deployment is at this provider", "add one, or remove the provider");
        }
    }
}

/// Settings that nothing looks at.
fn without_effect(config: &Config, findings: &mut Findings<'_>) {
    for route in config.routes.iter().filter(|route| route.resume) {
        let fallbacks = route.fallbacks.iter().filter_map(|place| config.routes.get(*place));
        let mut offered = fallbacks.flat_map(|route| &route.deployments).chain(&route.deployments);
        let goes_on = |number: &u32| config.deployments[*number as usize].continuation != Continuation::Never;
        if !offered.any(goes_on) {
            findings.warning(
                &route_path(&route.name).key("resume"),
                "no deployment of this route can go on with a chat's answer that another one began",
                "set `continuation` of their providers, if they can",
            );
        }
    }
    let rules = config.policies.rules.iter().map(|(name, _)| ("rules", name));
    let supply = config.policies.supply.policies.keys().map(|name| ("supply", name));
    for (section, name) in rules.chain(supply) {
        if !config.routes.iter().flat_map(|route| &route.chain).any(|stage| stage.policy == *name) {
            let path = KeyPath::top("policies").key(section).key(name);
            findings.warning(
                &path,
                format!("no route uses the policy `{name}`"),
                "add it to a route's `policies`, or remove it",
            );
        }
    }
    if !config.policies.supply.require_signature && !config.policies.supply.keys.is_empty() {
        findings.warning(
            &KeyPath::top("policies").key("verify"),
            "nothing asks for a signature by these keys",
            "set `policies.require_signature: true`, or `verify` under `policies.supply.<name>`",
        );
    }
    if config.cache.redis.is_some() && config.routes.iter().all(|route| route.cache == RouteCache::Off) {
        let path = KeyPath::top("cache").key("redis");
        findings.warning(
            &path,
            "no route caches its answers",
            "set `cache: {ttl: 10m}` in a route, or `cache.default`",
        );
    }
}

/// Deployments that cost money and that `cheapest` takes for free.
fn unpriced(config: &Config, findings: &mut Findings<'_>) {
    let mut told = Vec::new();
    for (place, route) in config.routes.iter().enumerate() {
        let goes_by_price = |stage: &Stage| &*stage.policy == "cheapest" && stage.settings["unpriced"] != "last";
        if !route.chain.iter().any(goes_by_price) {
            continue;
        }
        for number in &route.deployments {
            let Some(entry) = config.deployments.get(*number as usize) else { continue };
            // What one runs oneself needs no key, and is free indeed.
            let is_hosted = config.providers.get(entry.provider).is_some_and(|provider| !provider.api_keys.is_empty());
            if entry.deployment.price.is_none() && is_hosted && !told.contains(number) {
                told.push(*number);
                let message = format!(
                    "the price of the model is not known, so that `cheapest` of the route `{}` takes it for free",
                    config.routes[place].name
                );
                let path = KeyPath::top("deployments").key(&entry.deployment.id);
                let hint = "set `price` (to `{input: 0, output: 0}` if it is free), or `catalogue` to the model's name \
                            there, or `unpriced: last` in the policy's settings";
                findings.warning(&path, message, hint);
            }
        }
    }
}

/// Limits that are higher than the model is known to have.
fn beyond_the_catalogue(config: &Config, findings: &mut Findings<'_>) {
    for entry in &config.deployments {
        let deployment = &entry.deployment;
        let Some(known) = deployment.known.as_ref() else { continue };
        // An entry of the operator's own says what is meant.
        let Some(there) = catalogue::entry(&known.name) else { continue };
        let path = KeyPath::top("deployments").key(&deployment.id);
        for (key, said, limit) in [
            ("context_tokens", deployment.context_tokens, there.context_tokens),
            ("max_output_tokens", deployment.max_output_tokens, there.max_output_tokens),
        ] {
            if let (Some(said), Some(limit)) = (said, limit)
                && said > limit
                && findings.written(&path.key(key))
            {
                let message = format!("the model is known to have no more than {limit}, as `{}`", known.name);
                findings.warning(&path.key(key), message, "lower it, if it is a mistake");
            }
        }
    }
}

/// A name that leads to a route, and where it is written.
struct Name<'c> {
    text: &'c str,
    route: &'c str,
    path: KeyPath,
}

fn exact_names<'c>(config: &'c Config, findings: &Findings<'_>) -> Vec<Name<'c>> {
    models(config, findings, |pattern| pattern.as_exact().map(|name| &**name))
}

fn globs<'c>(config: &'c Config, findings: &Findings<'_>) -> Vec<Name<'c>> {
    models(config, findings, |pattern| pattern.as_glob().map(|name| &**name))
}

fn models<'c>(
    config: &'c Config,
    findings: &Findings<'_>,
    wanted: impl Fn(&'c ModelPattern) -> Option<&'c str>,
) -> Vec<Name<'c>> {
    let mut names = Vec::new();
    for route in &config.routes {
        let own = route_path(&route.name);
        let path = if findings.written(&own.key("models")) { own.key("models") } else { own };
        let in_list = findings.tree().at(&path).is_some_and(Node::is_list);
        for (index, model) in route.models.iter().enumerate() {
            let path = if in_list { path.index(index) } else { path.clone() };
            names.extend(wanted(model).map(|text| Name { text, route: &route.name, path }));
        }
    }
    names
}

fn capabilities(config: &Config) -> Vec<Name<'_>> {
    let mut names = Vec::new();
    for route in &config.routes {
        let path = route_path(&route.name).key("capabilities");
        for (index, text) in route.capabilities.iter().enumerate() {
            names.push(Name { text, route: &route.name, path: path.index(index) });
        }
    }
    names
}

fn route_path(name: &str) -> KeyPath {
    KeyPath::top("routes").key(name)
}
