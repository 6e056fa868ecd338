//! Expected cost of a request.

use serde::Deserialize;

/// What a price of 0 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unpriced {
    /// It costs nothing, as a model on our own machines.
    Free,
    /// The price is not known: such a deployment comes after all others.
    Last,
}

/// Expected tokens of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    input: f64,
    output: f64,
}

impl Size {
    /// `usual` output tokens, unless the client allows fewer. `max_output` is 0 where the client set no limit.
    pub fn expected(prompt: f64, max_output: f64, usual: f64) -> Self {
        let output = if max_output > 0.0 { max_output.min(usual) } else { usual };
        Self { input: prompt, output }
    }
}

/// USD per million tokens, by row.
#[derive(Clone, Copy, Debug)]
pub struct Prices<'a> {
    /// Of input.
    pub input: &'a [f64],
    /// Of output.
    pub output: &'a [f64],
}

impl Prices<'_> {
    /// Millionths of a USD.
    pub fn cost(&self, row: usize, size: Size, unpriced: Unpriced) -> f64 {
        let (input, output) = (self.input[row], self.output[row]);
        if unpriced == Unpriced::Last && input == 0.0 && output == 0.0 {
            return f64::INFINITY;
        }
        size.input * input + size.output * output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_output_is_what_is_usual_or_allowed() {
        assert_eq!(Size::expected(10.0, 0.0, 256.0).output, 256.0);
        assert_eq!(Size::expected(10.0, 100.0, 256.0).output, 100.0);
        assert_eq!(Size::expected(10.0, 4096.0, 256.0).output, 256.0);
    }

    #[test]
    fn input_and_output_are_paid_at_their_own_price() {
        let prices = Prices { input: &[2.0, 0.0], output: &[8.0, 0.0] };
        let size = Size::expected(100.0, 10.0, 256.0);
        assert_eq!(prices.cost(0, size, Unpriced::Free), 280.0);
        assert_eq!(prices.cost(1, size, Unpriced::Free), 0.0);
        assert_eq!(prices.cost(1, size, Unpriced::Last), f64::INFINITY);
        // a price for one direction is a price
        let prices = Prices { input: &[0.0], output: &[8.0] };
        assert_eq!(prices.cost(0, size, Unpriced::Last), 80.0);
    }
}
