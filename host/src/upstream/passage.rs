//! How a call gets from the client's dialect to the provider's, and the answer back.
//!
//! Where both are the same, the client's bytes go with only `model` replaced, and the upstream's come back as they are.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use witgate_core::config::Dialect;
use witgate_core::dialect::anthropic::{MESSAGES_API, downstream as from_messages, upstream as to_messages};
use witgate_core::dialect::responses::downstream as from_responses;
use witgate_core::dialect::{CHAT_API, Chain, OnLoss, OutputLimit, Refusal, StreamTranslator, Translated};
use witgate_core::openai::{Endpoint, ErrorBody, Peek, UpstreamError};
use witgate_core::vocabulary::FailureKind;

use super::failure::AttemptFailure;

/// What of a provider's ways a translation depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) dialect: Dialect,
    pub(super) on_loss: OnLoss,
    pub(super) output_limit: OutputLimit,
    /// Whether it has the Responses API.
    pub(super) responses: bool,
    pub(super) usage_unasked: bool,
    /// Endpoints that it does not have.
    pub(super) lacks: &'static [Endpoint],
}

/// One call's way: from the client's dialect to chat completions, and from there to the provider's; a side that is
/// `None` is not translated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    asked: Endpoint,
    manners: Manners,
    from: Option<FromClient>,
    to: Option<ToProvider>,
}

/// What the client speaks, where that is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FromClient {
    Messages,
    Responses,
}

/// What the provider speaks, where that is not chat completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ToProvider {
    Messages,
}

impl Passage {
    /// The way of a call.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find(asked: Endpoint, manners: Manners) -> Result<Self, AttemptFailure> {
        if manners.lacks.contains(&asked) {
            return Err(not_served(asked));
        }
        let (from, to) = match (manners.dialect, asked) {
            (Dialect::Anthropic, Endpoint::Messages | Endpoint::CountTokens) => (None, None),
            (Dialect::Anthropic, Endpoint::Chat) => (None, Some(ToProvider::Messages)),
            (Dialect::Anthropic, Endpoint::Responses) => (Some(FromClient::Responses), Some(ToProvider::Messages)),
            (Dialect::OpenAi | Dialect::Ollama | Dialect::Demo, Endpoint::Messages) => {
                (Some(FromClient::Messages), None)
            }
            (Dialect::OpenAi | Dialect::Ollama | Dialect::Demo, Endpoint::Responses) => {
                ((!manners.responses).then_some(FromClient::Responses), None)
            }
            (
                Dialect::OpenAi | Dialect::Ollama | Dialect::Demo,
                Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings,
            )
            | (
                Dialect::OpenAi | Dialect::Ollama,
                Endpoint::Rerank
                | Endpoint::Moderations
                | Endpoint::Images
                | Endpoint::ImageEdits
                | Endpoint::ImageVariations
                | Endpoint::Speech
                | Endpoint::Transcriptions
                | Endpoint::Translations,
            ) => (None, None),
            (Dialect::OpenAi | Dialect::Ollama | Dialect::Demo, Endpoint::CountTokens)
            | (Dialect::Anthropic | Dialect::Demo, _) => return Err(not_served(asked)),
        };
        Ok(Self { asked, manners, from, to })
    }

    /// What the provider speaks.
    pub(super) fn dialect(&self) -> Dialect {
        self.manners.dialect
    }

    /// What is asked of the provider.
    pub(super) fn endpoint(&self) -> Endpoint {
        match (self.from, self.to) {
            (_, Some(ToProvider::Messages)) => Endpoint::Messages,
            (Some(FromClient::Messages | FromClient::Responses), None) => Endpoint::Chat,
            (None, None) => self.asked,
        }
    }

    /// The body for the provider; `None` when it may go as it is.
    ///
    /// # Errors
    /// When the request is not what its dialect says, or holds a loss that is refused.
    pub(super) fn request(
        &self,
        body: &[u8],
        model: &str,
        max_tokens: Option<u32>,
    ) -> Result<Option<Translated>, AttemptFailure> {
        // Checked when it was peeked at.
        let text = str::from_utf8(body).unwrap_or_default();
        self.translated(text, model, max_tokens).map_err(|refusal| unsupported(&refusal.body()))
    }

    fn translated(&self, body: &str, model: &str, max_tokens: Option<u32>) -> Result<Option<Translated>, Refusal> {
        let Manners { on_loss, output_limit, usage_unasked, .. } = self.manners;
        let chat = match self.from {
            None => None,
            Some(FromClient::Messages) => {
                let target = from_messages::Target { model, output_limit, usage_unasked, on_loss };
                Some(from_messages::request(body, &target)?)
            }
            Some(FromClient::Responses) => {
                let takes_thoughts = self.to == Some(ToProvider::Messages);
                let api = if takes_thoughts { MESSAGES_API } else { CHAT_API };
                let target =
                    from_responses::Target { model, api, output_limit, usage_unasked, takes_thoughts, on_loss };
                Some(from_responses::request(body, &target)?)
            }
        };
        let Some(ToProvider::Messages) = self.to else { return Ok(chat) };
        let max_tokens = max_tokens.unwrap_or(to_messages::DEFAULT_MAX_TOKENS);
        let target = to_messages::Target { model, max_tokens, on_loss };
        let Some(Translated { body, dropped }) = chat else {
            return to_messages::request(body, &target).map(Some);
        };
        let second =
            to_messages::request(&body, &target).map_err(|refusal| refusal.renamed(from_responses::named_as_asked))?;
        let more = second.dropped.iter().map(|name| from_responses::named_as_asked(name).to_owned());
        Ok(Some(Translated { body: second.body, dropped: dropped.into_iter().chain(more).collect() }))
    }

    /// What makes the client's events; `None` where they are the upstream's. `request` is what the client asked.
    pub(super) fn stream(&self, peek: &Peek, request: &[u8]) -> Option<Box<dyn StreamTranslator>> {
        let from = self.from.map(|from| -> Box<dyn StreamTranslator> {
            match from {
                FromClient::Messages => Box::new(from_messages::ToEvents::new(peek.prompt_tokens)),
                FromClient::Responses => {
                    Box::new(from_responses::ToEvents::new(str::from_utf8(request).unwrap_or_default(), now()))
                }
            }
        });
        let Some(ToProvider::Messages) = self.to else { return from };
        let include_usage = from.is_some() || peek.include_usage;
        let to = Box::new(to_messages::ToChunks::new(now(), include_usage));
        Some(match from {
            Some(from) => Box::new(Chain::new(to, from)),
            None => to,
        })
    }

    /// What a stream ends with whose upstream just closed it.
    pub(super) fn last_event(&self) -> Bytes {
        Bytes::from_static(match self.asked {
            Endpoint::Messages | Endpoint::CountTokens => MESSAGE_STOP,
            // It is complete only when its last event has come.
            Endpoint::Responses => b"",
            _ => DONE,
        })
    }

    /// Whether a whole answer goes back as it came.
    pub(super) fn is_same(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// The client's answer. `request` is what the client asked.
    ///
    /// # Errors
    /// What it is instead of an answer.
    pub(super) fn answer(&self, body: &[u8], request: &[u8]) -> Result<Bytes, String> {
        let chat = match self.to {
            None => None,
            Some(ToProvider::Messages) => {
                let text = str::from_utf8(body).unwrap_or_default();
                Some(to_messages::response(text, now()).map_err(|error| error.to_string())?)
            }
        };
        let text = chat.as_deref().unwrap_or_else(|| str::from_utf8(body).unwrap_or_default());
        match self.from {
            None => Ok(chat.map_or_else(|| Bytes::copy_from_slice(body), Bytes::from)),
            Some(FromClient::Messages) => {
                from_messages::response(text).map(Bytes::from).map_err(|error| error.to_string())
            }
            Some(FromClient::Responses) => {
                let request = str::from_utf8(request).unwrap_or_default();
                from_responses::response(text, request, now()).map(Bytes::from).map_err(|error| error.to_string())
            }
        }
    }

    /// The upstream's error in OpenAI's shape, in which failures are kept; `None` where it may stay as it is.
    pub(super) fn error(&self, told: &UpstreamError) -> Option<Bytes> {
        (self.to == Some(ToProvider::Messages)).then(|| to_messages::error(told).to_json())
    }

    /// Whether an event's data is an error in words that the client's dialect has.
    pub(super) fn is_in_shape(&self, data: &[u8]) -> bool {
        UpstreamError::is_envelope(data) || self.asked == Endpoint::Responses && from_responses::is_failure(data)
    }

    /// An error as the event that ends the client's stream, after so many numbered events.
    pub(super) fn error_event(&self, told: UpstreamError, number: u64) -> Bytes {
        match self.asked {
            Endpoint::Messages | Endpoint::CountTokens => {
                from_messages::error_event(&from_messages::error(&told, None))
            }
            Endpoint::Responses => from_responses::error_event(&told, number),
            _ => told.into_body("server_error").to_event(),
        }
    }
}

fn not_served(asked: Endpoint) -> AttemptFailure {
    let message = format!("This model's provider does not serve {}; ask for another model.", asked.path());
    unsupported(&ErrorBody::invalid(message).with_param("model").with_code("unsupported_endpoint"))
}

/// A call that is not sent because it could only fail. The client is told in its words.
fn unsupported(told: &ErrorBody) -> AttemptFailure {
    let failure = AttemptFailure::new(FailureKind::Unsupported, told.message.clone());
    AttemptFailure { body: Some(told.to_json()), ..failure }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Some servers just close the stream; clients wait for this.
const DONE: &[u8] = b"data: [DONE]\n\n";
const MESSAGE_STOP: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
