//! What a request costs.

/// USD per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Of input.
    pub input: f64,
    /// Of output.
    pub output: f64,
    /// Of input that the provider had cached; the input price where nothing is known.
    pub cached_input: Option<f64>,
    /// Of input that the provider has put into its cache; the input price where nothing is known.
    pub cache_write: Option<f64>,
    /// Of output that the model thinks and does not say; the output price where nothing is known.
    pub reasoning: Option<f64>,
    /// Of requests with a long prompt.
    pub long: Option<LongPrice>,
}

/// What input and output cost where the prompt is long, cached tokens included. Other prices go up by the same ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongPrice {
    /// Tokens of a prompt that still has the usual price.
    pub above: u32,
    /// Of input.
    pub input: f64,
    /// Of output.
    pub output: f64,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt, all of them.
    pub input: u32,
    /// Of the prompt, those that the provider had cached.
    pub cached: u32,
    /// Of the prompt, those that the provider has put into its cache.
    pub cache_write: u32,
    /// Of the answer, all of them.
    pub output: u32,
    /// Of the answer, those of the reasoning.
    pub reasoning: u32,
}

impl Price {
    /// Cost of a request in USD. An upstream that claims more of a part than there is of the whole is not believed.
    pub fn cost(&self, tokens: Tokens) -> f64 {
        let price = self.for_prompt(tokens.input);
        let cached = tokens.cached.min(tokens.input);
        let written = tokens.cache_write.min(tokens.input - cached);
        let reasoning = tokens.reasoning.min(tokens.output);
        let millionths = f64::from(tokens.input - cached - written) * price.input
            + f64::from(cached) * price.cached_input.unwrap_or(price.input)
            + f64::from(written) * price.cache_write.unwrap_or(price.input)
            + f64::from(tokens.output - reasoning) * price.output
            + f64::from(reasoning) * price.reasoning.unwrap_or(price.output);
        millionths / 1e6
    }

    fn for_prompt(&self, tokens: u32) -> Self {
        let Some(long) = self.long.filter(|long| tokens > long.above) else { return *self };
        let ratio = |long: f64, usual: f64| if usual > 0.0 { long / usual } else { 1.0 };
        let (input, output) = (ratio(long.input, self.input), ratio(long.output, self.output));
        Self {
            input: long.input,
            output: long.output,
            cached_input: self.cached_input.map(|usd| usd * input),
            cache_write: self.cache_write.map(|usd| usd * input),
            reasoning: self.reasoning.map(|usd| usd * output),
            long: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(price: Price, tokens: Tokens) -> String {
        format!("{:.9}", price.cost(tokens))
    }

    const MILLION: u32 = 1_000_000;

    #[test]
    fn cached_input_costs_its_own_price() {
        let price = Price { input: 2.0, output: 8.0, cached_input: Some(0.5), ..Price::default() };
        let input = Tokens { input: MILLION, ..Tokens::default() };
        assert_eq!(price.cost(input), 2.0);
        assert_eq!(price.cost(Tokens { cached: MILLION, ..input }), 0.5);
        assert_eq!(price.cost(Tokens { cached: MILLION / 4, ..input }), 1.625);
        assert_eq!(price.cost(Tokens { output: MILLION / 2, ..Tokens::default() }), 4.0);
        // an upstream that claims more cached tokens than there were is not believed
        assert_eq!(price.cost(Tokens { cached: 2 * MILLION, ..input }), 0.5);
        let plain = Price { cached_input: None, ..price };
        assert_eq!(plain.cost(Tokens { cached: MILLION / 2, ..input }), 2.0);
    }

    #[test]
    fn writing_to_the_cache_and_reasoning_cost_their_own_price() {
        // Claude Sonnet 4.5: 1,000 fresh, 2,000 written, 4,000 read, 300 out
        let claude =
            Price { input: 3.0, output: 15.0, cached_input: Some(0.3), cache_write: Some(3.75), ..Price::default() };
        let tokens = Tokens { input: 7000, cached: 4000, cache_write: 2000, output: 300, reasoning: 0 };
        assert_eq!(cost(claude, tokens), "0.016200000");
        assert_eq!(cost(Price { cache_write: None, ..claude }, tokens), "0.014700000");
        let thinks = Price { input: 1.0, output: 2.0, reasoning: Some(4.0), ..Price::default() };
        let tokens = Tokens { output: 1000, reasoning: 600, ..Tokens::default() };
        assert_eq!(cost(thinks, tokens), "0.003200000");
        assert_eq!(cost(Price { reasoning: None, ..thinks }, tokens), "0.002000000");
        assert_eq!(cost(thinks, Tokens { reasoning: 5000, ..tokens }), "0.004000000");
    }

    #[test]
    fn a_long_prompt_costs_more_from_its_first_token_on() {
        let gemini = Price {
            input: 1.25,
            output: 10.0,
            cached_input: Some(0.125),
            long: Some(LongPrice { above: 200_000, input: 2.5, output: 15.0 }),
            ..Price::default()
        };
        let tokens = Tokens { input: 200_000, cached: 100_000, output: 1000, ..Tokens::default() };
        assert_eq!(cost(gemini, tokens), "0.147500000");
        assert_eq!(cost(gemini, Tokens { input: 200_001, ..tokens }), "0.290002500");
        let free = Price { input: 0.0, ..gemini };
        assert_eq!(cost(free, Tokens { input: 300_000, cached: 300_000, ..Tokens::default() }), "0.037500000");
    }
}
