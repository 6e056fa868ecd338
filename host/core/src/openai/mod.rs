//! The OpenAI wire format, as far as the gateway has to understand it: what routing needs is read, everything else is
//! forwarded as the bytes that came.
//!
//! - [`peek()`]: what routing needs out of a request, in one pass
//! - [`form`]: the same out of a form, in pieces as it comes
//! - [`prompt_text`]: the prompt, for policies that were granted it
//! - [`rewrite`]: the request with another model, without copying it
//! - [`Renamed`]: the answer with the name that the client knows the model by
//! - [`batch`]: several requests for embeddings as one
//! - [`usage`], [`Tally`]: what an answer says about tokens and about its own end
//! - [`ErrorBody`], [`UpstreamError`]: errors, ours and theirs

pub mod batch;
mod content;
mod error;
mod estimate;
pub mod form;
pub mod json;
mod peek;
mod prompt;
mod ranking;
mod renamed;
mod request_error;
mod response_id;
pub mod rewrite;
mod tally;
pub mod usage;

pub use error::{ErrorBody, UpstreamError};
pub use form::FormError;
pub use peek::{Peek, peek};
pub use prompt::{prompt_text, prompt_tokens_at_least};
pub use ranking::ranking;
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
    /// `POST /v1/rerank`: as Jina, Cohere and llama.cpp have it.
    Rerank,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/images/generations`
    Images,
    /// `POST /v1/images/edits`: a form.
    ImageEdits,
    /// `POST /v1/images/variations`: a form.
    ImageVariations,
    /// `POST /v1/audio/speech`: the answer is sound.
    Speech,
    /// `POST /v1/audio/transcriptions`: a form.
    Transcriptions,
    /// `POST /v1/audio/translations`: a form.
    Translations,
    /// `POST /api/chat`: Ollama's dialect.
    OllamaChat,
    /// `POST /api/generate`: Ollama's dialect.
    OllamaGenerate,
    /// `POST /api/embed`: Ollama's dialect.
    OllamaEmbed,
}

/// How a request's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// A JSON object.
    Json,
    /// `multipart/form-data`.
    Form,
}

impl Endpoint {
    /// Every endpoint, in the order of [`Endpoint::index`].
    pub const ALL: [Self; 17] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Messages,
        Self::CountTokens,
        Self::Responses,
        Self::Rerank,
        Self::Moderations,
        Self::Images,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
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
            Self::Rerank => "/rerank",
            Self::Moderations => "/moderations",
            Self::Images => "/images/generations",
            Self::ImageEdits => "/images/edits",
            Self::ImageVariations => "/images/variations",
            Self::Speech => "/audio/speech",
            Self::Transcriptions => "/audio/transcriptions",
            Self::Translations => "/audio/translations",
        }
    }

    /// The value of the fact `endpoint`.
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// For metrics: a closed set.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Responses => "responses",
            Self::Rerank => "rerank",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::ImageEdits => "image_edits",
            Self::ImageVariations => "image_variations",
            Self::Speech => "speech",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::OllamaChat => "ollama_chat",
            Self::OllamaGenerate => "ollama_generate",
            Self::OllamaEmbed => "ollama_embed",
        }
    }

    /// The field that holds the prompt.
    pub const fn prompt_field(self) -> &'static str {
        match self {
            Self::Chat | Self::Messages | Self::CountTokens | Self::OllamaChat => "messages",
            Self::Completions | Self::Images | Self::ImageEdits | Self::OllamaGenerate => "prompt",
            Self::Embeddings | Self::Responses | Self::Moderations | Self::Speech | Self::OllamaEmbed => "input",
            Self::Rerank => "documents",
            Self::ImageVariations => "image",
            Self::Transcriptions | Self::Translations => "file",
        }
    }

    /// How the body is written.
    pub const fn body_shape(self) -> BodyShape {
        match self {
            Self::ImageEdits | Self::ImageVariations | Self::Transcriptions | Self::Translations => BodyShape::Form,
            Self::Chat
            | Self::Completions
            | Self::Embeddings
            | Self::Messages
            | Self::CountTokens
            | Self::Responses
            | Self::Rerank
            | Self::Moderations
            | Self::Images
            | Self::Speech
            | Self::OllamaChat
            | Self::OllamaGenerate
            | Self::OllamaEmbed => BodyShape::Json,
        }
    }

    /// The model that OpenAI takes where a request names none.
    pub const fn default_model(self) -> Option<&'static str> {
        match self {
            Self::Moderations => Some("omni-moderation-latest"),
            Self::Images | Self::ImageEdits | Self::ImageVariations => Some("dall-e-2"),
            Self::Chat
            | Self::Completions
            | Self::Embeddings
            | Self::Messages
            | Self::CountTokens
            | Self::Responses
            | Self::Rerank
            | Self::Speech
            | Self::Transcriptions
            | Self::Translations
            | Self::OllamaChat
            | Self::OllamaGenerate
            | Self::OllamaEmbed => None,
        }
    }

    /// Whether an answer may be a stream of a dialect's events, which the gateway reads.
    pub const fn streams(self) -> bool {
        match self {
            Self::Chat
            | Self::Completions
            | Self::Messages
            | Self::Responses
            | Self::OllamaChat
            | Self::OllamaGenerate => true,
            Self::Embeddings
            | Self::CountTokens
            | Self::Rerank
            | Self::Moderations
            | Self::Images
            | Self::ImageEdits
            | Self::ImageVariations
            | Self::Speech
            | Self::Transcriptions
            | Self::Translations
            | Self::OllamaEmbed => false,
        }
    }

    /// Whether an answer may be of any kind: sound, text, JSON, or events of its own. Such a one is passed on as it
    /// comes.
    pub const fn answers_anything(self) -> bool {
        match self {
            Self::Images
            | Self::ImageEdits
            | Self::ImageVariations
            | Self::Speech
            | Self::Transcriptions
            | Self::Translations => true,
            Self::Chat
            | Self::Completions
            | Self::Embeddings
            | Self::Messages
            | Self::CountTokens
            | Self::Responses
            | Self::Rerank
            | Self::Moderations
            | Self::OllamaChat
            | Self::OllamaGenerate
            | Self::OllamaEmbed => false,
        }
    }

    /// Whose dialect the client speaks: errors and events are then of its shape.
    pub const fn speech(self) -> Speech {
        match self {
            Self::Messages | Self::CountTokens => Speech::Anthropic,
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed => Speech::Ollama,
            _ => Speech::OpenAi,
        }
    }

    /// Whether it is Anthropic's.
    pub const fn is_anthropic(self) -> bool {
        matches!(self.speech(), Speech::Anthropic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_stands_at_its_index_and_has_names_of_its_own() {
        for (place, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint.index() as usize, place);
            let same = |other: &&Endpoint| other.path() == endpoint.path() || other.label() == endpoint.label();
            assert_eq!(Endpoint::ALL.iter().filter(same).count(), 1, "{endpoint:?}");
        }
    }
}
