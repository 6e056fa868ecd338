//! How a call gets from the client's dialect to the provider's, and the answer back.
//!
//! Where both are the same, the client's bytes go with only `model` replaced, and the upstream's come back as they are.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use witgate_core::config::Dialect;
use witgate_core::dialect::anthropic::downstream::{self, OutputLimit};
use witgate_core::dialect::anthropic::upstream;
use witgate_core::dialect::{OnLoss, Refusal, StreamTranslator, Translated};
use witgate_core::openai::{Endpoint, ErrorBody, Peek, UpstreamError};
use witgate_core::vocabulary::FailureKind;

use super::failure::AttemptFailure;

/// What of a provider's ways a translation depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) dialect: Dialect,
    pub(super) on_loss: OnLoss,
    pub(super) output_limit: OutputLimit,
    /// Endpoints that it does not have.
    pub(super) lacks: &'static [Endpoint],
}

/// One call's way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    way: Way,
    asked: Endpoint,
    manners: Manners,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Both ends speak the same.
    Same,
    /// Chat completions at a provider that speaks Messages.
    ToMessages,
    /// Messages at a provider that speaks chat completions.
    ToChat,
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
        let way = match (manners.dialect, asked) {
            (Dialect::Anthropic, Endpoint::Messages | Endpoint::CountTokens) => Way::Same,
            (Dialect::Anthropic, Endpoint::Chat) => Way::ToMessages,
            (Dialect::OpenAi | Dialect::Ollama | Dialect::Demo, Endpoint::Messages) => Way::ToChat,
            (
                Dialect::OpenAi | Dialect::Ollama | Dialect::Demo,
                Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings,
            ) => Way::Same,
            (Dialect::Anthropic, Endpoint::Completions | Endpoint::Embeddings)
            | (Dialect::OpenAi | Dialect::Ollama | Dialect::Demo, Endpoint::CountTokens) => {
                return Err(not_served(asked));
            }
        };
        Ok(Self { way, asked, manners })
    }

    /// What is asked of the provider.
    pub(super) fn endpoint(&self) -> Endpoint {
        match self.way {
            Way::Same => self.asked,
            Way::ToMessages => Endpoint::Messages,
            Way::ToChat => Endpoint::Chat,
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
        let on_loss = self.manners.on_loss;
        // Checked when it was peeked at.
        let text = || str::from_utf8(body).unwrap_or_default();
        let translated = match self.way {
            Way::Same => return Ok(None),
            Way::ToMessages => {
                let max_tokens = max_tokens.unwrap_or(upstream::DEFAULT_MAX_TOKENS);
                upstream::request(text(), &upstream::Target { model, max_tokens, on_loss })
            }
            Way::ToChat => {
                let output_limit = self.manners.output_limit;
                downstream::request(text(), &downstream::Target { model, output_limit, on_loss })
            }
        };
        translated.map(Some).map_err(|refusal: Refusal| unsupported(&refusal.body()))
    }

    /// What makes the client's events; `None` where they are the upstream's.
    pub(super) fn stream(&self, peek: &Peek) -> Option<Box<dyn StreamTranslator>> {
        match self.way {
            Way::Same => None,
            Way::ToMessages => Some(Box::new(upstream::ToChunks::new(now(), peek.include_usage))),
            Way::ToChat => Some(Box::new(downstream::ToEvents::new(peek.prompt_tokens))),
        }
    }

    /// What a stream ends with whose upstream just closed it.
    pub(super) fn last_event(&self) -> Bytes {
        Bytes::from_static(if self.asked.is_anthropic() { MESSAGE_STOP } else { DONE })
    }

    /// Whether a whole answer goes back as it came.
    pub(super) fn is_same(&self) -> bool {
        self.way == Way::Same
    }

    /// The client's answer.
    ///
    /// # Errors
    /// What it is instead of an answer.
    pub(super) fn answer(&self, body: &[u8]) -> Result<Bytes, String> {
        let text = str::from_utf8(body).unwrap_or_default();
        match self.way {
            Way::Same => Ok(Bytes::copy_from_slice(body)),
            Way::ToMessages => upstream::response(text, now()).map(Bytes::from).map_err(|error| error.to_string()),
            Way::ToChat => downstream::response(text).map(Bytes::from).map_err(|error| error.to_string()),
        }
    }

    /// The upstream's error in OpenAI's shape, in which failures are kept; `None` where it may stay as it is.
    pub(super) fn error(&self, told: &UpstreamError) -> Option<Bytes> {
        (self.way == Way::ToMessages).then(|| upstream::error(told).to_json())
    }

    /// An error as the event that ends the client's stream.
    pub(super) fn error_event(&self, told: UpstreamError) -> Bytes {
        if self.asked.is_anthropic() {
            downstream::error_event(&downstream::error(&told, None))
        } else {
            told.into_body("server_error").to_event()
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
