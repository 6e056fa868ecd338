//! One model at one provider, as configured: the part that does not change while a configuration stands.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::ability::Abilities;
use crate::catalogue::Match;

mod price;

pub use price::{LongPrice, Price, Tokens};

/// A deployment, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Unique in the configuration, for example `gpt-4o@openai`.
    pub id: Arc<str>,
    /// The provider's name in the configuration.
    pub provider: Arc<str>,
    /// The model's name at the provider.
    pub model: UpstreamModel,
    /// Empty when nothing is configured.
    pub region: Arc<str>,
    /// What policies are told: sorted, none twice, words of the operator's own among them.
    pub capabilities: Vec<Arc<str>>,
    /// What it can do, as far as the configuration says it.
    pub abilities: Abilities,
    /// The operator's own key and value pairs.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Above 0.
    pub weight: f64,
    /// `None` when it is not known.
    pub price: Option<Price>,
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u32>,
    /// Requests that it can carry out at once.
    pub max_concurrency: Option<NonZeroU32>,
    /// Context window in tokens, where the configuration says it.
    pub context_tokens: Option<u32>,
    /// Whether the provider refuses a request whose prompt and whose largest answer do not fit the window together.
    pub answer_in_window: bool,
    /// Largest answer in tokens, by the configuration or else the catalogue.
    pub max_output_tokens: Option<u32>,
    /// What the catalogue knows it as.
    pub known: Option<Known>,
}

/// An entry of the catalogue that a deployment was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The entry's name.
    pub name: Arc<str>,
    /// How it was found.
    pub how: Match,
    /// The model's context window; a server may have been started with a shorter one.
    pub context_tokens: Option<u32>,
    /// What the model can do; a server may do less of it.
    pub abilities: Abilities,
}

impl Deployment {
    /// The context window, by the configuration, else by the server that was asked, else by the catalogue.
    pub fn window(&self, told: Option<u32>) -> Option<u32> {
        self.context_tokens.or(told).or_else(|| self.known.as_ref()?.context_tokens)
    }

    /// What it can do, by the same order.
    pub fn able(&self, told: Abilities) -> Abilities {
        let known = self.known.as_ref().map_or_else(Abilities::default, |known| known.abilities);
        self.abilities.or(told).or(known)
    }
}

impl Default for Deployment {
    /// Nobody's model, of which nothing is known: for what is made without a configuration.
    fn default() -> Self {
        Self {
            id: Arc::default(),
            provider: Arc::default(),
            model: UpstreamModel::AsRequested,
            region: Arc::default(),
            capabilities: Vec::new(),
            abilities: Abilities::default(),
            labels: Vec::new(),
            weight: 1.0,
            price: None,
            rpm: None,
            tpm: None,
            max_concurrency: None,
            context_tokens: None,
            answer_in_window: false,
            max_output_tokens: None,
            known: None,
        }
    }
}

/// What the provider is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamModel {
    /// This name.
    Named(Arc<str>),
    /// The name that the client sent.
    AsRequested,
}
