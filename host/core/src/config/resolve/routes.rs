//! Policy chains and who may be chosen for which name.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::policies::is_policy_name;
use super::values::{DAY, MILLISECOND, cache_time, duration, is_name, items};
use crate::config::findings::{Findings, suggest};
use crate::config::model::{ConfiguredDeployment, FailureMode, ModelPattern, Route, RouteCache, Stage};
use crate::config::problem::KeyPath;
use crate::config::raw::{RawFailureMode, RawRoute};
use crate::config::shapes::{NameOrStage, Named, StageText, TextOrList};
use crate::routes::glob;

/// The chain of a route that names none: leave out what is unhealthy and what cannot do what is asked, take the
/// fastest, and go where a failure leaves hope.
pub const DEFAULT_CHAIN: [&str; 4] = ["health", "capability", "peak-ewma", "resilient"];

/// The capability that stands for any.
pub(crate) const ANY_CAPABILITY: &str = "auto";

/// All routes in the order of the file, and the place of the default.
pub(super) fn routes(
    raw: Named<RawRoute>,
    deployments: &[ConfiguredDeployment],
    default_cache: RouteCache,
    findings: &mut Findings<'_>,
) -> (Vec<Route>, Option<usize>) {
    let names: Vec<Arc<str>> = raw.0.iter().map(|(name, _)| (**name).into()).collect();
    let mut default_route: Option<usize> = None;
    let mut routes = Vec::new();
    for (place, (name, raw)) in raw.0.into_iter().enumerate() {
        let path = KeyPath::top("routes").key(&name);
        is_name(&name, &path, findings);
        if raw.default == Some(true) {
            match default_route {
                None => default_route = Some(place),
                Some(first) => findings.error(
                    &path.key("default"),
                    format!("`{}` is the default route already", names[first]),
                    "one route at most is the default",
                ),
            }
        }
        routes.push(route(&names, place, raw, deployments, default_cache, &path, findings));
    }
    report_circles(&routes, findings);
    (routes, default_route)
}

/// What clients may say instead of a name that leads somewhere.
pub(super) fn aliases(
    raw: Named<String>,
    routes: &[Route],
    default_route: Option<usize>,
    findings: &mut Findings<'_>,
) -> Vec<(Arc<str>, Arc<str>)> {
    let known: Vec<&str> = routes.iter().flat_map(names_of).collect();
    let patterns = || routes.iter().flat_map(|route| &route.models).filter_map(ModelPattern::as_glob);
    let trusted = !findings.any_error_at(&KeyPath::top("routes"));
    let mut aliases = Vec::new();
    for (name, target) in &raw.0 {
        let path = KeyPath::top("aliases").key(name);
        let named = is_name(name, &path, findings) && is_name(target, &path, findings);
        let leads = known.contains(&&**target)
            || default_route.is_some()
            || patterns().any(|pattern| glob::matches(pattern, target));
        if name == target {
            findings.error(&path, "the alias stands for itself", "remove it");
        } else if named && !leads && trusted {
            let hint = match raw.0.iter().find(|(other, _)| other == target) {
                Some((_, further)) => format!("an alias is looked up once; write `{further}`"),
                None => suggest(target, known.iter().copied()),
            };
            findings.error(&path, format!("no route serves the model `{target}`"), hint);
        }
        aliases.push(((**name).into(), (**target).into()));
    }
    aliases
}

fn route(
    names: &[Arc<str>],
    place: usize,
    raw: RawRoute,
    deployments: &[ConfiguredDeployment],
    default_cache: RouteCache,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Route {
    let name = Arc::clone(&names[place]);
    let by_capability = findings.written(&path.key("capabilities"));
    let own_name = !by_capability && raw.default != Some(true) && !findings.written(&path.key("models"));
    let models = match raw.models {
        None if own_name => vec![pattern(&name)],
        None => Vec::new(),
        Some(texts) => models(texts, path, findings),
    };
    let numbers = candidates(raw.deployments, deployments, &path.key("deployments"), findings);
    let capabilities = raw.capabilities.unwrap_or_default();
    let capabilities = capabilities_of(capabilities, &numbers, deployments, &path.key("capabilities"), findings);
    let mut time = |key: &str, value| duration(value, &path.key(key), MILLISECOND..=DAY, findings);
    let timeout = time("timeout", raw.timeout);
    let first_byte_timeout = time("first_byte_timeout", raw.first_byte_timeout);
    let first_token_timeout = time("first_token_timeout", raw.first_token_timeout);
    let idle_timeout = time("idle_timeout", raw.idle_timeout);
    Route {
        models,
        capabilities,
        deployments: numbers,
        fallbacks: fallbacks(raw.fallbacks.unwrap_or_default(), place, names, &path.key("fallbacks"), findings),
        chain: chain(raw.policies, &path.key("policies"), findings),
        on_policy_failure: match raw.on_policy_failure {
            None | Some(RawFailureMode::InOrder) => FailureMode::InOrder,
            Some(RawFailureMode::Skip) => FailureMode::Skip,
            Some(RawFailureMode::Refuse) => FailureMode::Refuse,
        },
        cache: cache_time(raw.cache, &path.key("cache"), findings).unwrap_or(default_cache),
        rewrite_model: raw.rewrite_model.unwrap_or(false),
        timeout,
        idempotent: raw.idempotent.unwrap_or(true),
        resume: raw.resume.unwrap_or(false),
        first_byte_timeout,
        first_token_timeout: first_token_timeout.or(first_byte_timeout),
        idle_timeout,
        name,
    }
}

fn models(raw: TextOrList, path: &KeyPath, findings: &mut Findings<'_>) -> Vec<ModelPattern> {
    let mut models = Vec::new();
    for (at, text) in items(raw, &path.key("models")) {
        let model = pattern(&text);
        if models.contains(&model) {
            findings.error(&at, format!("`{text}` is listed twice"), "remove one of the two");
        } else if is_name(&text, &at, findings) {
            models.push(model);
        }
    }
    models
}

/// Places of the deployments that are named or match, in order, none twice.
fn candidates(
    raw: Option<TextOrList>,
    deployments: &[ConfiguredDeployment],
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Vec<u32> {
    let Some(raw) = raw else { return Vec::new() };
    let mut named = Vec::new();
    let mut chosen: Vec<u32> = Vec::new();
    let listed = items(raw, path);
    if listed.is_empty() {
        findings.error(path, "the list is empty", "name at least one deployment, or write `\"*\"` for all");
    }
    for (at, text) in listed {
        if !glob::is_glob(&text) && named.contains(&text) {
            findings.error(&at, format!("`{text}` is listed twice"), "remove one of the two");
        }
        let fits = |id: &str| if glob::is_glob(&text) { glob::matches(&text, id) } else { text == id };
        let known = findings.names("deployments");
        if !known.iter().any(|id| fits(id)) && !findings.declares("deployments", &text) {
            let (message, hint) = match glob::is_glob(&text) {
                true => (format!("no deployment's id matches `{text}`"), suggest("", known)),
                false => (format!("there is no deployment `{text}`"), suggest(&text, known)),
            };
            findings.error(&at, message, hint);
        }
        for (number, _) in (0..).zip(deployments).filter(|(_, entry)| fits(&entry.deployment.id)) {
            if !chosen.contains(&number) {
                chosen.push(number);
            }
        }
        named.push(text);
    }
    chosen
}

fn capabilities_of(
    raw: Vec<String>,
    candidates: &[u32],
    deployments: &[ConfiguredDeployment],
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Vec<Arc<str>> {
    let mut known: Vec<&str> = candidates
        .iter()
        .filter_map(|number| deployments.get(*number as usize))
        .flat_map(|entry| entry.deployment.capabilities.iter().map(|name| &**name))
        .collect();
    known.sort_unstable();
    known.dedup();
    let trusted = !findings.any_error_at(&KeyPath::top("deployments")) && !candidates.is_empty();
    let mut capabilities: Vec<Arc<str>> = Vec::new();
    for (index, name) in raw.into_iter().enumerate() {
        let at = path.index(index);
        if capabilities.iter().any(|other| **other == *name) {
            findings.error(&at, format!("`{name}` is listed twice"), "remove one of the two");
            continue;
        }
        if is_name(&name, &at, findings) && name != ANY_CAPABILITY && !known.contains(&&*name) && trusted {
            let message = format!("no deployment of this route has the capability `{name}`");
            findings.error(&at, message, suggest(&name, known.iter().copied()));
        }
        capabilities.push(name.into());
    }
    capabilities
}

fn fallbacks(
    raw: Vec<String>,
    own: usize,
    names: &[Arc<str>],
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Vec<usize> {
    let mut fallbacks = Vec::new();
    for (index, name) in raw.iter().enumerate() {
        let at = path.index(index);
        match names.iter().position(|known| **known == **name) {
            Some(place) if place == own => findings.error(&at, "a route cannot fall back to itself", "remove it"),
            Some(place) if fallbacks.contains(&place) => {
                findings.error(&at, format!("`{name}` is listed twice"), "remove one of the two");
            }
            Some(place) => fallbacks.push(place),
            None if findings.declares("routes", name) => {}
            None => {
                let hint = suggest(name, findings.names("routes"));
                findings.error(&at, format!("there is no route `{name}`"), hint);
            }
        }
    }
    fallbacks
}

/// Reports every circle of fallbacks once, at the route that closes it.
fn report_circles(routes: &[Route], findings: &mut Findings<'_>) {
    fn visit(place: usize, routes: &[Route], trail: &mut Vec<usize>, done: &mut [bool], findings: &mut Findings<'_>) {
        if let Some(start) = trail.iter().position(|on_trail| *on_trail == place) {
            let circle = trail[start..].iter().chain([&place]);
            let circle: Vec<_> = circle.map(|place| format!("`{}`", routes[*place].name)).collect();
            let last = trail.last().map_or("", |last| &routes[*last].name);
            findings.error(
                &KeyPath::top("routes").key(last).key("fallbacks"),
                format!("the fallbacks go in a circle: {}", circle.join(" → ")),
                "remove one of them",
            );
        } else if !done[place] {
            trail.push(place);
            for next in &routes[place].fallbacks {
                visit(*next, routes, trail, done, findings);
            }
            trail.pop();
            done[place] = true;
        }
    }
    let mut done = vec![false; routes.len()];
    for place in 0..routes.len() {
        visit(place, routes, &mut Vec::new(), &mut done, findings);
    }
}

fn chain(raw: Option<Vec<StageText>>, path: &KeyPath, findings: &mut Findings<'_>) -> Vec<Stage> {
    let named = |policy: &str| Stage {
        policy: policy.into(),
        settings: Arc::new(Value::Object(Map::new())),
        weight: 1.0,
        optional: false,
    };
    let Some(raw) = raw else { return DEFAULT_CHAIN.into_iter().map(named).collect() };
    if raw.is_empty() {
        findings.error(path, "the list is empty", "name at least one policy, or remove the key for the default chain");
    }
    let mut chain = Vec::new();
    for (index, stage) in raw.into_iter().enumerate() {
        let at = path.index(index);
        match stage.0 {
            NameOrStage::Name(policy) => {
                is_policy_name(&policy, &at, findings);
                chain.push(named(&policy));
            }
            NameOrStage::Stage { policy: None, .. } => {}
            NameOrStage::Stage { policy: Some(policy), settings, weight, optional } => {
                is_policy_name(&policy, &at.key("use"), findings);
                chain.push(Stage {
                    policy: policy.into(),
                    settings: Arc::new(Value::Object(settings.unwrap_or_default())),
                    weight: weight.unwrap_or(1.0),
                    optional: optional.unwrap_or(false),
                });
            }
        }
    }
    chain
}

fn names_of(route: &Route) -> impl Iterator<Item = &str> {
    let exact = route.models.iter().filter_map(ModelPattern::as_exact);
    exact.chain(route.capabilities.iter()).map(|name| &**name)
}

fn pattern(text: &str) -> ModelPattern {
    match glob::is_glob(text) {
        true => ModelPattern::Glob(glob::normal(text).into()),
        false => ModelPattern::Exact(text.into()),
    }
}
