//! OpenAI's Responses API.
//!
//! - [`downstream`]: clients that speak it, at a provider that speaks chat completions
//!
//! Read from OpenAI's API reference and the types of its Python SDK (`openai` 3.54.0).

pub mod downstream;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
