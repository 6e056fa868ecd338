//! Going on with a stream that broke after the client had begun to read it.
//!
//! - [`obstacle()`]: what keeps a request's answer from being gone on with by somebody else
//! - [`continued`]: the request that asks for the rest
//! - [`Thread`]: what the client has so far, and the seam between one stream and the next
//!
//! Where nothing of the answer's content has gone to the client, there is nothing to go on with: the request is simply
//! asked again, whatever it is, and only the seam is needed.

mod chunks;
mod events;
mod items;
mod lines;
mod request;
mod thread;

pub use request::{SoFar, continued, obstacle};
pub use thread::Thread;

use crate::openai::Endpoint;

/// Whether streams of this kind can be joined.
pub const fn joins(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Chat
            | Endpoint::Completions
            | Endpoint::Messages
            | Endpoint::Responses
            | Endpoint::OllamaChat
            | Endpoint::OllamaGenerate
    )
}

/// Whether a provider can be asked at this endpoint of its own to go on with what another one began, if its models do:
/// where a last message of the assistant's is the beginning of the answer.
pub const fn takes_a_beginning(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::Chat | Endpoint::Messages | Endpoint::OllamaChat)
}

/// How a deployment is asked to go on with an answer that another one began. Completions need none of it: their prompt
/// becomes longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Continuation {
    /// It cannot: it would begin anew.
    #[default]
    Never,
    /// It goes on with a last message of the assistant's.
    Message,
    /// The same, if the request says `continue_final_message`.
    FinalMessage,
    /// The same, if the message says `prefix`.
    Prefix,
}

impl Continuation {
    /// As the configuration says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "none",
            Self::Message => "assistant-message",
            Self::FinalMessage => "continue-final-message",
            Self::Prefix => "prefix",
        }
    }
}

/// What keeps an answer from being gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Tools are offered, or one is called: half a call cannot be gone on with.
    Tools,
    /// The answer has to keep to a grammar or a schema, which a server applies from the beginning.
    Format,
    /// More than one choice.
    Choices,
    /// Log probabilities, which belong to one model.
    Logprobs,
    /// Audio.
    Audio,
    /// Reasoning, which no server takes back as it was.
    Reasoning,
    /// The client itself has begun the answer.
    Prefilled,
    /// A prompt of tokens, of several texts, or one that is told again (`echo`) or fitted in (`suffix`).
    Prompt,
    /// Something else than text came.
    Content,
    /// More text than is kept.
    TooLong,
    /// Only the end is missing.
    Complete,
}

impl Obstacle {
    /// All of them, for metrics.
    pub const ALL: [Self; 11] = [
        Self::Tools,
        Self::Format,
        Self::Choices,
        Self::Logprobs,
        Self::Audio,
        Self::Reasoning,
        Self::Prefilled,
        Self::Prompt,
        Self::Content,
        Self::TooLong,
        Self::Complete,
    ];

    /// In headers, logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Format => "format",
            Self::Choices => "choices",
            Self::Logprobs => "logprobs",
            Self::Audio => "audio",
            Self::Reasoning => "reasoning",
            Self::Prefilled => "prefilled",
            Self::Prompt => "prompt",
            Self::Content => "content",
            Self::TooLong => "too-long",
            Self::Complete => "complete",
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
