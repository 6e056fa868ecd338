//! Requests of Ollama's dialect at a provider that speaks OpenAI's: `/api/chat` and `/api/generate` by chat completions,
//! `/api/embed` by embeddings.

mod content;
mod embed;
mod errors;
mod options;
mod request;
mod response;
mod stream;

pub use embed::{embed_request, embed_response};
pub use errors::{error, error_line, is_error};
pub use request::{chat_request, generate_request};
pub use response::{NotACompletion, response};
pub use stream::ToLines;

use crate::dialect::{OnLoss, OutputLimit};

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// What it calls the longest answer.
    pub output_limit: OutputLimit,
    /// Its streams tell the usage without being asked, and it does not take the question.
    pub usage_unasked: bool,
    /// What is done about what OpenAI's dialect cannot do.
    pub on_loss: OnLoss,
}

/// How the text of an answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// As `message`: `/api/chat`.
    Message,
    /// As `response`: `/api/generate`.
    Response,
}
