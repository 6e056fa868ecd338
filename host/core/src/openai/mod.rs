//! The OpenAI wire format, as far as the gateway has to understand it: what routing needs is read, everything else is
//! forwarded as the bytes that came.
//!
//! - [`peek()`]: what routing needs out of a request, in one pass
//! - [`prompt_text`]: the prompt, for policies that were granted it
//! - [`rewrite`]: the request with another model, without copying it
//! - [`Renamed`]: the answer with the name that the client knows the model by
//! - [`usage`], [`Tally`]: what an answer says about tokens and about its own end
//! - [`ErrorBody`], [`UpstreamError`]: errors, ours and theirs

mod content;
mod error;
pub mod json;
mod peek;
mod prompt;
mod renamed;
mod request_error;
mod response_id;
pub mod rewrite;
mod tally;
pub mod usage;

pub use error::{ErrorBody, UpstreamError};
pub use peek::{Peek, peek};
pub use prompt::prompt_text;
pub use renamed::Renamed;
pub use request_error::RequestError;
pub use response_id::response_id;
pub use rewrite::{ModelLiteral, RequestBody};
pub use tally::{Seen, Tally};
pub use usage::Usage;

use crate::dialect::Speech;

/// What the client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`: Anthropic's dialect.
    Messages,
    /// `POST /v1/messages/count_tokens`: Anthropic's dialect.
    CountTokens,
    /// `POST /v1/responses`
    Responses,
    /// `POST /api/chat`: Ollama's dialect.
    OllamaChat,
    /// `POST /api/generate`: Ollama's dialect.
    OllamaGenerate,
    /// `POST /api/embed`: Ollama's dialect.
    OllamaEmbed,
}

impl Endpoint {
    /// Every endpoint, in the order of [`Endpoint::index`].
    pub const ALL: [Self; 9] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Messages,
        Self::CountTokens,
        Self::Responses,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
    ];

    /// Below the provider's address, which ends with `/v1` where it is not Ollama's own.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
            Self::Responses => "/responses",
            Self::OllamaChat => "/api/chat",
            Self::OllamaGenerate => "/api/generate",
            Self::OllamaEmbed => "/api/embed",
        }
    }

    /// The value of the fact `endpoint`.
    pub const fn index(self) -> u32 {
        match self {
            Self::Chat => 0,
            Self::Completions => 1,
            Self::Embeddings => 2,
            Self::Messages => 3,
            Self::CountTokens => 4,
            Self::Responses => 5,
            Self::OllamaChat => 6,
            Self::OllamaGenerate => 7,
            Self::OllamaEmbed => 8,
        }
    }

    /// The field that holds the prompt.
    pub const fn prompt_field(self) -> &'static str {
        match self {
            Self::Chat | Self::Messages | Self::CountTokens | Self::OllamaChat => "messages",
            Self::Completions | Self::OllamaGenerate => "prompt",
            Self::Embeddings | Self::OllamaEmbed | Self::Responses => "input",
        }
    }

    /// Whether an answer may be a stream.
    pub const fn streams(self) -> bool {
        match self {
            Self::Chat
            | Self::Completions
            | Self::Messages
            | Self::Responses
            | Self::OllamaChat
            | Self::OllamaGenerate => true,
            Self::Embeddings | Self::CountTokens | Self::OllamaEmbed => false,
        }
    }

    /// Whose dialect the client speaks: errors and events are then of its shape.
    pub const fn speech(self) -> Speech {
        match self {
            Self::Chat | Self::Completions | Self::Embeddings | Self::Responses => Speech::OpenAi,
            Self::Messages | Self::CountTokens => Speech::Anthropic,
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed => Speech::Ollama,
        }
    }

    /// Whether it is Anthropic's.
    pub const fn is_anthropic(self) -> bool {
        matches!(self.speech(), Speech::Anthropic)
    }
}
