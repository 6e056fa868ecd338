//! Anthropic's Messages API.
//!
//! - [`upstream`]: clients that speak OpenAI's chat completions, at a provider that speaks Messages
//! - [`downstream`]: clients that speak Messages, at a provider that speaks chat completions
//!
//! Read from Anthropic's API reference and the types of its Python SDK (`anthropic` 2.14.0).

pub mod downstream;
pub mod upstream;

/// For messages to people.
pub const MESSAGES_API: &str = "Anthropic's Messages API";

/// The version of the API that is asked for where the client does not say one.
pub const VERSION: &str = "2023-06-01";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
