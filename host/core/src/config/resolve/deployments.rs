//! What may be chosen: one model at one provider each.

use std::sync::Arc;

use super::catalogue::{Found, Own};
use super::gateway::count;
use super::labels;
use super::providers::continuation;
use super::values::is_name;
use crate::ability::{Abilities, Ability};
use crate::config::findings::{Findings, suggest};
use crate::config::model::{ConfiguredDeployment, Provider};
use crate::config::problem::KeyPath;
use crate::config::raw::deployments::{RawDeployment, RawPrice};
use crate::config::shapes::Named;
use crate::deployment::{Deployment, LongPrice, Price, UpstreamModel};

pub(super) fn deployments(
    raw: Named<RawDeployment>,
    providers: &[Provider],
    catalogue: &Own,
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
        let at = &providers[provider];
        let found = catalogue.known(raw.catalogue.as_deref(), at, &model, &path.key("catalogue"), findings);
        let Found { known, entry, said: said_there } = found.unwrap_or_default();
        let named = names(raw.capabilities.unwrap_or_default(), &path.key("capabilities"), findings);
        let said = said(&named, raw.lacks.unwrap_or_default(), &path, findings);
        let abilities = said.or(entry.abilities);
        let said = said.or(said_there.abilities);
        let deployment = Deployment {
            id: (*id).into(),
            provider: Arc::clone(&at.name),
            model,
            region: raw.region.unwrap_or_default().into(),
            capabilities: with_abilities(named, abilities),
            abilities: said,
            labels: labels(raw.labels),
            weight: raw.weight.unwrap_or(1.0),
            price: raw.price.as_ref().map(price).or(entry.price),
            rpm: raw.rpm.and_then(|limit| u32::try_from(limit).ok()),
            tpm: raw.tpm.and_then(|limit| u32::try_from(limit).ok()),
            max_concurrency: raw.max_concurrency.and_then(count),
            context_tokens: raw.context_tokens.and_then(tokens).or(said_there.context_tokens),
            // Of models that reason, `max_completion_tokens` is a bound and no claim.
            answer_in_window: at.answer_in_window && abilities.can(Ability::Reasoning) != Some(true),
            max_output_tokens: raw.max_output_tokens.and_then(tokens).or(entry.max_output_tokens),
            known,
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

/// Good names, none twice.
fn names(raw: Vec<String>, path: &KeyPath, findings: &mut Findings<'_>) -> Vec<Arc<str>> {
    for (index, name) in raw.iter().enumerate() {
        is_name(name, &path.index(index), findings);
    }
    let mut names: Vec<Arc<str>> = raw.into_iter().map(Arc::from).collect();
    names.sort();
    names.dedup();
    names
}

/// What the words that the gateway knows say.
pub(super) fn said(
    capabilities: &[Arc<str>],
    lacks: Vec<String>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Abilities {
    let can = capabilities.iter().filter_map(|name| Ability::from_name(name));
    let mut abilities = can.fold(Abilities::default(), |abilities, ability| abilities.with(ability, true));
    for (index, name) in lacks.into_iter().enumerate() {
        let at = path.key("lacks").index(index);
        match Ability::from_name(&name) {
            None => {
                let known = Ability::ALL.map(Ability::name);
                findings.error(&at, format!("`{name}` is nothing that a request can need"), suggest(&name, known));
            }
            Some(ability) if abilities.can(ability) == Some(true) => {
                findings.error(&at, format!("`{name}` is in `capabilities` too"), "remove one of the two");
            }
            Some(ability) => abilities = abilities.with(ability, false),
        }
    }
    abilities
}

/// What policies are told: the operator's words, and what the catalogue knows.
fn with_abilities(mut names: Vec<Arc<str>>, abilities: Abilities) -> Vec<Arc<str>> {
    names.extend(abilities.which(true).map(|ability| Arc::from(ability.name())));
    names.sort();
    names.dedup();
    names
}

pub(super) fn price(raw: &RawPrice) -> Price {
    let long = raw
        .long
        .as_ref()
        .and_then(|long| Some(LongPrice { above: tokens(long.above?)?, input: long.input?, output: long.output? }));
    Price {
        input: raw.input.unwrap_or(0.0),
        output: raw.output.unwrap_or(0.0),
        cached_input: raw.cached_input,
        cache_write: raw.cache_write,
        reasoning: raw.reasoning,
        long,
    }
}

pub(super) fn tokens(limit: u64) -> Option<u32> {
    u32::try_from(limit).ok()
}
