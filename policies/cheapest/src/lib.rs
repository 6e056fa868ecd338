//! The candidate whose answer is expected to cost least.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Fact, Policy, Router, Setup, Signal, Verdict, register};

use rank::{Prices, Size, Unpriced};

/// Least expected cost; of equals the less loaded.
#[derive(Debug)]
pub struct Cheapest {
    settings: Settings,
    price_in: Signal,
    price_out: Signal,
    in_flight: Signal,
    weight: Signal,
    prompt: Fact,
    max_output: Fact,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    output_tokens: f64,
    unpriced: Unpriced,
}

impl Default for Settings {
    fn default() -> Self {
        Self { output_tokens: 256.0, unpriced: Unpriced::Free }
    }
}

impl Policy for Cheapest {
    const ABOUT: About =
        About::new("cheapest", env!("CARGO_PKG_VERSION"), "The candidate whose answer is expected to cost least.")
            .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        Ok(Self {
            settings: setup.settings()?,
            price_in: setup.signal("usd-per-mtok-in"),
            price_out: setup.signal("usd-per-mtok-out"),
            in_flight: setup.signal("in-flight"),
            weight: setup.signal("weight"),
            prompt: setup.fact("prompt-tokens"),
            max_output: setup.fact("max-output-tokens"),
        })
    }
}

impl Router for Cheapest {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let prices = Prices { input: ask.signal(self.price_in), output: ask.signal(self.price_out) };
        let size = Size::expected(ask.fact(self.prompt), ask.fact(self.max_output), self.settings.output_tokens);
        let (in_flight, weight) = (ask.signal(self.in_flight), ask.signal(self.weight));
        Ok(ask.pick_any_lowest(|row| (prices.cost(row, size, self.settings.unpriced), in_flight[row] / weight[row])))
    }
}

register!(Cheapest: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::testing;

    #[test]
    fn the_size_of_the_request_decides_between_cheap_input_and_cheap_output() {
        let policy = testing::load::<Cheapest>("{}", &["cheap-input", "cheap-output"]).unwrap();
        let ask = policy.ask().signal("usd-per-mtok-in", &[1.0, 3.0]).signal("usd-per-mtok-out", &[10.0, 4.0]);
        let long_prompt = ask.clone().fact("prompt-tokens", 10_000.0);
        assert_eq!(long_prompt.route(), Ok(Verdict::Pick(0)));
        assert_eq!(ask.fact("prompt-tokens", 100.0).route(), Ok(Verdict::Pick(1)));
    }

    #[test]
    fn of_equals_the_less_loaded_is_picked() {
        let policy = testing::load::<Cheapest>("{}", &["a", "b"]).unwrap();
        let ask = policy.ask().signal("usd-per-mtok-in", &[1.0, 1.0]).signal("in-flight", &[2.0, 1.0]);
        assert_eq!(ask.route(), Ok(Verdict::Pick(1)));
    }

    #[test]
    fn what_has_no_price_is_free_unless_the_settings_put_it_last() {
        let pick = |settings| {
            let policy = testing::load::<Cheapest>(settings, &["priced", "unpriced"]).unwrap();
            policy.ask().signal("usd-per-mtok-in", &[1.0, 0.0]).fact("prompt-tokens", 10.0).route()
        };
        assert_eq!(pick("{}"), Ok(Verdict::Pick(1)));
        assert_eq!(pick(r#"{"unpriced":"last"}"#), Ok(Verdict::Pick(0)));
    }
}
