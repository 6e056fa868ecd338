//! One model at one provider, as configured: the part that does not change while a configuration stands.

use std::num::NonZeroU32;
use std::sync::Arc;

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
    /// Sorted, none twice.
    pub capabilities: Vec<Arc<str>>,
    /// The operator's own key and value pairs.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Above 0.
    pub weight: f64,
    /// USD per million tokens; 0 when free or not configured.
    pub price: Price,
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u32>,
    /// Requests that it can carry out at once.
    pub max_concurrency: Option<NonZeroU32>,
    /// Context window in tokens.
    pub context_tokens: Option<u32>,
    /// Largest answer in tokens.
    pub max_output_tokens: Option<u32>,
}

/// What the provider is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamModel {
    /// This name.
    Named(Arc<str>),
    /// The name that the client sent.
    AsRequested,
}

/// USD per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Of input.
    pub input: f64,
    /// Of output.
    pub output: f64,
    /// Of input that the provider had cached; the input price where nothing is configured.
    pub cached_input: Option<f64>,
}

impl Price {
    /// Cost of a request in USD.
    pub fn cost(&self, tokens_in: u32, cached: u32, tokens_out: u32) -> f64 {
        let cached = cached.min(tokens_in);
        let cached_price = self.cached_input.unwrap_or(self.input);
        let millionths = f64::from(tokens_in - cached) * self.input
            + f64::from(cached) * cached_price
            + f64::from(tokens_out) * self.output;
        millionths / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_input_costs_its_own_price() {
        let price = Price { input: 2.0, output: 8.0, cached_input: Some(0.5) };
        assert_eq!(price.cost(1_000_000, 0, 0), 2.0);
        assert_eq!(price.cost(1_000_000, 1_000_000, 0), 0.5);
        assert_eq!(price.cost(0, 0, 500_000), 4.0);
        // an upstream that claims more cached tokens than there were is not believed
        assert_eq!(price.cost(1_000_000, 2_000_000, 0), 0.5);
        let plain = Price { cached_input: None, ..price };
        assert_eq!(plain.cost(1_000_000, 500_000, 0), 2.0);
    }
}
