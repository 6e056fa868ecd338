//! Paths that the gateway has no endpoint for.

use crate::config::findings::Findings;
use crate::config::model::{Dialect, Passthrough, Provider};
use crate::config::problem::KeyPath;
use crate::config::raw::passthrough::RawPassthrough;

pub(super) fn passthrough(
    raw: Option<RawPassthrough>,
    providers: &[Provider],
    findings: &mut Findings<'_>,
) -> Passthrough {
    let section = KeyPath::top("passthrough");
    let Some(raw) = raw else { return Passthrough::default() };
    let mut find = |name: &str, path: &KeyPath| {
        let place = providers.iter().position(|provider| *provider.name == *name);
        match place {
            None if findings.any_error_at(&KeyPath::top("providers").key(name)) => {}
            None => findings.error(path, format!("there is no provider `{name}`"), "name one of `providers`"),
            Some(place) if providers[place].dialect == Dialect::Demo => {
                findings.error(path, "a provider of the dialect `demo` has nothing to pass through", "name another");
            }
            Some(_) => {}
        }
        place
    };
    let default = raw.provider.as_deref().and_then(|name| find(name, &section.key("provider")));
    let mut paths = Vec::new();
    for (prefix, name) in raw.paths.unwrap_or_default().0 {
        let path = section.key("paths").key(&prefix);
        if let Some(place) = find(&name, &path) {
            paths.push((prefix, place, path));
        }
    }
    for (prefix, _, path) in &paths {
        if !prefix.strip_prefix("/v1/").is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/')) {
            findings.error(
                path,
                "this is no beginning of a path",
                "write for example `/v1/files`, without a `/` at the end",
            );
        }
    }
    if raw.provider.is_none() && paths.is_empty() && !findings.any_error_at(&section) {
        findings.error(&section, "nothing is passed through", "name a `provider`, or remove it");
    }
    let mut paths: Vec<(Box<str>, usize)> =
        paths.into_iter().map(|(prefix, place, _)| (prefix.into(), place)).collect();
    paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    Passthrough { default, paths }
}
