//! Ollama's own API: `/api/chat`, `/api/generate`, `/api/embed`.
//!
//! - [`upstream`]: clients that speak OpenAI's dialect, at an Ollama server that is called by its own paths
//! - [`downstream`]: clients that speak Ollama's, at a provider that speaks OpenAI's
//!
//! Its streams are lines of JSON. They are cut and passed around as server-sent events, as all streams are here
//! ([`crate::sse::Lines`]), so a translator is fed and gives events.
//!
//! Read from Ollama's `api/types.go`, `server/routes.go`, `openai/openai.go` and `docs/api.md` (August 2026).

pub mod downstream;
mod lines;
pub mod upstream;

pub use lines::ToOwnLines;

use super::CHAT_API;

/// For messages to people.
pub const OLLAMA_API: &str = "Ollama's API";
/// For messages to people.
const EMBEDDINGS_API: &str = "OpenAI's embeddings API";
/// For messages to people.
const OPENAI_API: &str = "OpenAI's API";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
