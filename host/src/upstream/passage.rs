//! How a call gets from the client's dialect to the provider's, and the answer back.
//!
//! Where both are the same, the client's bytes go with only `model` replaced, and the upstream's come back as they are.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use witgate_core::config::Dialect;
use witgate_core::dialect::anthropic::{MESSAGES_API, downstream as from_messages, upstream as to_messages};
use witgate_core::dialect::ollama::downstream::Told;
use witgate_core::dialect::ollama::{OLLAMA_API, ToOwnLines, downstream as from_ollama, upstream as to_ollama};
use witgate_core::dialect::responses::downstream as from_responses;
use witgate_core::dialect::{CHAT_API, Chain, OnLoss, OutputLimit, Refusal, Speech, StreamTranslator, Translated};
use witgate_core::openai::{Endpoint, ErrorBody, Peek, UpstreamError};
use witgate_core::vocabulary::FailureKind;

use super::failure::AttemptFailure;

/// What of a provider's ways a translation depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) dialect: Dialect,
    pub(super) speech: Speech,
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
    OllamaChat,
    OllamaGenerate,
    OllamaEmbed,
}

/// What the provider speaks, where that is not OpenAI's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ToProvider {
    Messages,
    OllamaChat,
    OllamaGenerate,
    OllamaEmbed,
}

/// What an endpoint is in OpenAI's dialect, and how it gets there; `None` when it is nothing there.
fn hub(asked: Endpoint) -> Option<(Option<FromClient>, Endpoint)> {
    match asked {
        Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings => Some((None, asked)),
        Endpoint::Messages => Some((Some(FromClient::Messages), Endpoint::Chat)),
        Endpoint::Responses => Some((Some(FromClient::Responses), Endpoint::Chat)),
        Endpoint::OllamaChat => Some((Some(FromClient::OllamaChat), Endpoint::Chat)),
        Endpoint::OllamaGenerate => Some((Some(FromClient::OllamaGenerate), Endpoint::Chat)),
        Endpoint::OllamaEmbed => Some((Some(FromClient::OllamaEmbed), Endpoint::Embeddings)),
        // Of OpenAI's dialect, and of no other.
        Endpoint::Rerank
        | Endpoint::Moderations
        | Endpoint::Images
        | Endpoint::ImageEdits
        | Endpoint::ImageVariations
        | Endpoint::Speech
        | Endpoint::Transcriptions
        | Endpoint::Translations => Some((None, asked)),
        Endpoint::CountTokens => None,
    }
}

/// How an endpoint of OpenAI's dialect gets to a provider; `None` when it does not.
fn last_leg(hub: Endpoint, speech: Speech) -> Option<Option<ToProvider>> {
    match (speech, hub) {
        (Speech::OpenAi, _) => Some(None),
        (Speech::Anthropic, Endpoint::Chat) => Some(Some(ToProvider::Messages)),
        (Speech::Anthropic, _) => None,
        (Speech::Ollama, Endpoint::Chat) => Some(Some(ToProvider::OllamaChat)),
        (Speech::Ollama, Endpoint::Completions) => Some(Some(ToProvider::OllamaGenerate)),
        (Speech::Ollama, Endpoint::Embeddings) => Some(Some(ToProvider::OllamaEmbed)),
        (Speech::Ollama, _) => None,
    }
}

impl FromClient {
    /// Where there are streams.
    fn stream(self, peek: &Peek, request: &[u8]) -> Option<Box<dyn StreamTranslator>> {
        Some(match self {
            Self::Messages => Box::new(from_messages::ToEvents::new(peek.prompt_tokens)),
            Self::Responses => {
                Box::new(from_responses::ToEvents::new(str::from_utf8(request).unwrap_or_default(), now()))
            }
            Self::OllamaChat => Box::new(from_ollama::ToLines::new(Told::Message)),
            Self::OllamaGenerate => Box::new(from_ollama::ToLines::new(Told::Response)),
            Self::OllamaEmbed => return None,
        })
    }

    fn answer(self, text: &str, request: &[u8]) -> Result<String, String> {
        match self {
            Self::Messages => from_messages::response(text).map_err(|error| error.to_string()),
            Self::Responses => {
                let request = str::from_utf8(request).unwrap_or_default();
                from_responses::response(text, request, now()).map_err(|error| error.to_string())
            }
            Self::OllamaChat => from_ollama::response(text, Told::Message).map_err(|error| error.to_string()),
            Self::OllamaGenerate => from_ollama::response(text, Told::Response).map_err(|error| error.to_string()),
            Self::OllamaEmbed => from_ollama::embed_response(text).map_err(|error| error.to_string()),
        }
    }
}

impl ToProvider {
    fn endpoint(self) -> Endpoint {
        match self {
            Self::Messages => Endpoint::Messages,
            Self::OllamaChat => Endpoint::OllamaChat,
            Self::OllamaGenerate => Endpoint::OllamaGenerate,
            Self::OllamaEmbed => Endpoint::OllamaEmbed,
        }
    }

    fn request(self, body: &str, model: &str, max_tokens: Option<u32>, on_loss: OnLoss) -> Result<Translated, Refusal> {
        let target = to_ollama::Target { model, on_loss };
        match self {
            Self::Messages => {
                let max_tokens = max_tokens.unwrap_or(to_messages::DEFAULT_MAX_TOKENS);
                to_messages::request(body, &to_messages::Target { model, max_tokens, on_loss })
            }
            Self::OllamaChat => to_ollama::request(body, &target),
            Self::OllamaGenerate => to_ollama::generate_request(body, &target),
            Self::OllamaEmbed => to_ollama::embed_request(body, &target),
        }
    }

    /// Where there are streams.
    fn stream(self, include_usage: bool) -> Option<Box<dyn StreamTranslator>> {
        Some(match self {
            Self::Messages => Box::new(to_messages::ToChunks::new(now(), include_usage)),
            Self::OllamaChat => Box::new(to_ollama::ToChunks::of_chat(stamp("chatcmpl"), include_usage)),
            Self::OllamaGenerate => Box::new(to_ollama::ToChunks::of_completion(stamp("cmpl"), include_usage)),
            Self::OllamaEmbed => return None,
        })
    }

    fn answer(self, text: &str) -> Result<String, String> {
        match self {
            Self::Messages => to_messages::response(text, now()).map_err(|error| error.to_string()),
            Self::OllamaChat => to_ollama::response(text, &stamp("chatcmpl")).map_err(|error| error.to_string()),
            Self::OllamaGenerate => {
                to_ollama::generate_response(text, &stamp("cmpl")).map_err(|error| error.to_string())
            }
            Self::OllamaEmbed => to_ollama::embed_response(text).map_err(|error| error.to_string()),
        }
    }

    fn error(self, told: &UpstreamError) -> ErrorBody {
        match self {
            Self::Messages => to_messages::error(told),
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed => {
                to_ollama::error(told, "invalid_request_error")
            }
        }
    }
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
        // The built-in one has no more than this.
        let demo_lacks = manners.dialect == Dialect::Demo
            && !matches!(asked.speech(), Speech::Anthropic | Speech::Ollama)
            && !matches!(asked, Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings | Endpoint::Responses);
        if demo_lacks {
            return Err(not_served(asked));
        }
        let same = match asked {
            Endpoint::Responses => manners.speech == Speech::OpenAi && manners.responses,
            _ => asked.speech() == manners.speech,
        };
        if same {
            return Ok(Self { asked, manners, from: None, to: None });
        }
        let (from, hub) = hub(asked).ok_or_else(|| not_served(asked))?;
        let to = last_leg(hub, manners.speech).ok_or_else(|| not_served(asked))?;
        Ok(Self { asked, manners, from, to })
    }

    /// What the provider speaks.
    pub(super) fn dialect(&self) -> Dialect {
        self.manners.dialect
    }

    /// What is asked of the provider.
    pub(super) fn endpoint(&self) -> Endpoint {
        match (self.from, self.to) {
            (_, Some(to)) => to.endpoint(),
            (Some(_), None) => hub(self.asked).map_or(self.asked, |(_, hub)| hub),
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
                let api = match self.to {
                    Some(ToProvider::Messages) => MESSAGES_API,
                    Some(ToProvider::OllamaChat | ToProvider::OllamaGenerate | ToProvider::OllamaEmbed) => OLLAMA_API,
                    None => CHAT_API,
                };
                let target =
                    from_responses::Target { model, api, output_limit, usage_unasked, takes_thoughts, on_loss };
                Some(from_responses::request(body, &target)?)
            }
            Some(from @ (FromClient::OllamaChat | FromClient::OllamaGenerate | FromClient::OllamaEmbed)) => {
                let target = from_ollama::Target { model, output_limit, usage_unasked, on_loss };
                Some(match from {
                    FromClient::OllamaGenerate => from_ollama::generate_request(body, &target)?,
                    FromClient::OllamaEmbed => from_ollama::embed_request(body, &target)?,
                    _ => from_ollama::chat_request(body, &target)?,
                })
            }
        };
        let Some(to) = self.to else { return Ok(chat) };
        let Some(Translated { body, dropped }) = chat else {
            return to.request(body, model, max_tokens, on_loss).map(Some);
        };
        let second = to.request(&body, model, max_tokens, on_loss);
        // What is lost on the second leg is told in the words of the first.
        let second = match self.from {
            Some(FromClient::Responses) => second.map_err(|refusal| refusal.renamed(from_responses::named_as_asked))?,
            _ => second?,
        };
        let named = |name: &String| match self.from {
            Some(FromClient::Responses) => from_responses::named_as_asked(name).to_owned(),
            _ => name.clone(),
        };
        let more = second.dropped.iter().map(named);
        Ok(Some(Translated { body: second.body, dropped: dropped.into_iter().chain(more).collect() }))
    }

    /// What makes the client's events; `None` where they are the upstream's. `request` is what the client asked.
    pub(super) fn stream(&self, peek: &Peek, request: &[u8]) -> Option<Box<dyn StreamTranslator>> {
        let from = self.from.and_then(|from| from.stream(peek, request));
        let to = self.to.and_then(|to| to.stream(peek.include_usage || from.is_some()));
        match (to, from) {
            (Some(to), Some(from)) => Some(Box::new(Chain::new(to, from))),
            // The lines of one that speaks as the client does have been cut as events.
            (None, None) if self.streams_lines() => Some(Box::new(ToOwnLines)),
            (to, from) => to.or(from),
        }
    }

    /// Whether the provider streams lines instead of events.
    pub(super) fn streams_lines(&self) -> bool {
        self.manners.speech == Speech::Ollama
    }

    /// What a stream ends with whose upstream just closed it.
    pub(super) fn last_event(&self) -> Bytes {
        Bytes::from_static(match self.asked {
            Endpoint::Messages | Endpoint::CountTokens => MESSAGE_STOP,
            // It is complete only when its last event, or line, has come.
            Endpoint::Responses | Endpoint::OllamaChat | Endpoint::OllamaGenerate | Endpoint::OllamaEmbed => b"",
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
        let text = str::from_utf8(body).unwrap_or_default();
        let chat = self.to.map(|to| to.answer(text)).transpose()?;
        let told = self.from.map(|from| from.answer(chat.as_deref().unwrap_or(text), request)).transpose()?;
        Ok(told.or(chat).map_or_else(|| Bytes::copy_from_slice(body), Bytes::from))
    }

    /// The upstream's error in OpenAI's shape, in which failures are kept; `None` where it may stay as it is.
    pub(super) fn error(&self, told: &UpstreamError) -> Option<Bytes> {
        self.to.map(|to| to.error(told).to_json())
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
            Endpoint::OllamaChat | Endpoint::OllamaGenerate | Endpoint::OllamaEmbed => {
                from_ollama::error_line(&from_ollama::error(&told))
            }
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

/// What Ollama does not say of an answer.
fn stamp(prefix: &str) -> to_ollama::Stamp {
    to_ollama::Stamp { id: format!("{prefix}-{:016x}", fastrand::u64(..)), created: now() }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Some servers just close the stream; clients wait for this.
const DONE: &[u8] = b"data: [DONE]\n\n";
const MESSAGE_STOP: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
