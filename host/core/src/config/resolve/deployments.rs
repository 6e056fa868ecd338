//! What may be chosen: one model at one provider each.

use std::sync::Arc;

use super::gateway::count;
use super::labels;
use super::providers::continuation;
use super::values::is_name;
use crate::config::findings::{Findings, suggest};
use crate::config::model::{ConfiguredDeployment, Provider};
use crate::config::problem::KeyPath;
use crate::config::raw::{RawDeployment, RawPrice};
use crate::config::shapes::Named;
use crate::deployment::{Deployment, Price, UpstreamModel};

pub(super) fn deployments(
    raw: Named<RawDeployment>,
    providers: &[Provider],
    findings: &mut Findings<'_>,
) -> Vec<ConfiguredDeployment> {
    let section = KeyPath::top("deployments");
    let mut deployments = Vec::new();
    for (id, raw) in raw.0 {
        let path = section.key(&id);
        let named = is_name(&id, &path, findings);
        if id.contains('*') {
            findings.error(&path, "an id cannot hold `*`, which stands for any characters in a route", "");
        }
        let (before, after) = match id.rsplit_once('@') {
            Some((before, after)) => (before, Some(after)),
            None => (&*id, None),
        };
        let model = raw.model.as_deref().unwrap_or(before);
        if named && model.is_empty() {
            findings.error(&path, "there is no model's name before the `@`", "add it, or set `model`");
        }
        let Some(provider) = provider(raw.provider.as_deref(), after, providers, &path, findings) else { continue };
        let model = if model == "*" { UpstreamModel::AsRequested } else { UpstreamModel::Named(model.into()) };
        let deployment = Deployment {
            id: (*id).into(),
            provider: Arc::clone(&providers[provider].name),
            model,
            region: raw.region.unwrap_or_default().into(),
            capabilities: capabilities(raw.capabilities.unwrap_or_default(), &path.key("capabilities"), findings),
            labels: labels(raw.labels),
            weight: raw.weight.unwrap_or(1.0),
            price: price(&raw.price.unwrap_or_default()),
            rpm: raw.rpm.and_then(|limit| u32::try_from(limit).ok()),
            tpm: raw.tpm.and_then(|limit| u32::try_from(limit).ok()),
            max_concurrency: raw.max_concurrency.and_then(count),
            context_tokens: raw.context_tokens.and_then(|limit| u32::try_from(limit).ok()),
            max_output_tokens: raw.max_output_tokens.and_then(|limit| u32::try_from(limit).ok()),
        };
        let continuation = raw.continuation.map_or(providers[provider].continuation, continuation);
        deployments.push(ConfiguredDeployment { deployment: Arc::new(deployment), provider, continuation });
    }
    deployments
}

/// Place of the provider that is named, else of the one that the id ends with.
fn provider(
    named: Option<&str>,
    in_id: Option<&str>,
    providers: &[Provider],
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<usize> {
    let at = path.key("provider");
    let Some(name) = named.or(in_id) else {
        if !findings.written(&at) {
            let hint = "set `provider`, or end the id with `@` and the provider's name";
            findings.error(path, "`provider` is missing", hint);
        }
        return None;
    };
    let place = providers.iter().position(|provider| &*provider.name == name);
    if place.is_none() && !findings.declares("providers", name) {
        let known = findings.names("providers");
        let at = if named.is_some() { &at } else { path };
        let hint = suggest(name, known);
        findings.error(at, format!("there is no provider `{name}`"), hint);
    }
    place
}

/// Sorted, none twice.
pub(super) fn capabilities(raw: Vec<String>, path: &KeyPath, findings: &mut Findings<'_>) -> Vec<Arc<str>> {
    for (index, name) in raw.iter().enumerate() {
        is_name(name, &path.index(index), findings);
    }
    let mut names: Vec<Arc<str>> = raw.into_iter().map(Arc::from).collect();
    names.sort();
    names.dedup();
    names
}

fn price(raw: &RawPrice) -> Price {
    Price { input: raw.input.unwrap_or(0.0), output: raw.output.unwrap_or(0.0), cached_input: raw.cached_input }
}
