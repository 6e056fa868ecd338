//! Requests of OpenAI's dialect at a provider that speaks Ollama's: chat completions, completions and embeddings.

mod content;
mod embed;
mod errors;
mod generate;
mod options;
mod request;
mod response;
mod stream;

pub use embed::{embed_request, embed_response};
pub use errors::error;
pub use generate::{generate_request, generate_response};
pub use request::request;
pub use response::{NotAnAnswer, response};
pub use stream::ToChunks;

use crate::dialect::OnLoss;

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// What is done about what Ollama cannot do.
    pub on_loss: OnLoss,
}

/// What Ollama does not say of an answer, and OpenAI's dialect must.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Unlike that of every other answer.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
}
