//! What is known of a deployment's model: the built-in catalogue, and what the configuration says over it.

use std::collections::HashMap;
use std::sync::Arc;

use super::deployments::{price, said, tokens};
use super::values::is_name;
use crate::ability::Abilities;
use crate::catalogue::{self, Entry, Match};
use crate::config::findings::{Findings, suggest};
use crate::config::model::{Dialect, Provider};
use crate::config::problem::KeyPath;
use crate::config::raw::deployments::RawEntry;
use crate::config::shapes::Named;
use crate::deployment::{Known, UpstreamModel};

/// The operator's own entries.
pub(super) struct Own(HashMap<String, Written>);

/// One of them.
#[derive(Clone, Debug, Default)]
struct Written {
    /// Laid over the built-in one of its name.
    entry: Entry,
    /// What of it is the operator's, which counts as configured.
    said: Said,
}

/// What the configuration says of a model, wherever.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) context_tokens: Option<u32>,
    pub(super) abilities: Abilities,
}

/// What is known of a deployment's model.
#[derive(Default)]
pub(super) struct Found {
    pub(super) known: Option<Known>,
    pub(super) entry: Entry,
    pub(super) said: Said,
}

pub(super) fn own(raw: Named<RawEntry>, findings: &mut Findings<'_>) -> Own {
    let section = KeyPath::top("catalogue");
    let entries = raw.0.into_iter().map(|(name, raw)| {
        let path = section.key(&name);
        if is_name(&name, &path, findings) && !name.contains('/') {
            findings.error(&path, "the name has no provider in it", "write it as `provider/model`");
        }
        let name = name.to_ascii_lowercase();
        let capabilities: Vec<Arc<str>> = raw.capabilities.unwrap_or_default().into_iter().map(Arc::from).collect();
        let abilities = said(&capabilities, raw.lacks.unwrap_or_default(), &path, findings);
        let said = Said { context_tokens: raw.context_tokens.and_then(tokens), abilities };
        let there = catalogue::entry(&name).unwrap_or_default();
        let entry = Entry {
            context_tokens: said.context_tokens.or(there.context_tokens),
            max_output_tokens: raw.max_output_tokens.and_then(tokens).or(there.max_output_tokens),
            abilities: abilities.or(there.abilities),
            price: raw.price.as_ref().map(price).or(there.price),
            name: (*name).into(),
        };
        (name, Written { entry, said })
    });
    Own(entries.collect())
}

impl Own {
    /// The entry of a deployment's model: the one that it names, else the one that provider and model lead to.
    pub(super) fn known(
        &self,
        named: Option<&str>,
        provider: &Provider,
        model: &UpstreamModel,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Option<Found> {
        let (Written { entry, said }, how) = match (named, model) {
            (Some("none"), _) => return None,
            (Some(name), _) => {
                let found = self.written(&name.to_ascii_lowercase());
                if found.is_none() {
                    findings.error(path, format!("there is no `{name}` in the catalogue"), self.hint(name));
                }
                (found?, Match::Said)
            }
            (None, UpstreamModel::AsRequested) => return None,
            (None, UpstreamModel::Named(_)) if provider.dialect == Dialect::Demo => return None,
            (None, UpstreamModel::Named(model)) => {
                let (entry, how) =
                    catalogue::find_in(&provider.catalogue, model, &|name| Some(self.written(name)?.entry))?;
                (self.written(&entry.name).unwrap_or_default(), how)
            }
        };
        let (context_tokens, abilities) = (entry.context_tokens, entry.abilities);
        let known = Known { name: (*entry.name).into(), how, context_tokens, abilities };
        Some(Found { known: Some(known), entry, said })
    }

    fn written(&self, name: &str) -> Option<Written> {
        let built_in = || Some(Written { entry: catalogue::entry(name)?, said: Said::default() });
        self.0.get(name).cloned().or_else(built_in)
    }

    /// The entry that was probably meant: of the same provider, or the same model at another.
    fn hint(&self, name: &str) -> String {
        let (provider, model) = name.split_once('/').unwrap_or(("", name));
        let names = catalogue::entries().map(|entry| entry.name).chain(self.0.keys().map(|name| (**name).into()));
        let is_close =
            |known: &str| known.split_once('/').is_some_and(|(at, called)| at == provider || called == model);
        let close: Vec<Box<str>> = names.filter(|known| is_close(known)).collect();
        if close.is_empty() {
            return "write it as `witgate models` does, for example `openai/gpt-4o`, or `none`".to_owned();
        }
        suggest(name, close.iter().map(|name| &**name))
    }
}
