//! What OpenAI says to a request that a model cannot carry out, for requests that are not sent at all.
//!
//! The words are those of its API, since clients look for them; the number of tokens is the least that it can be.

use serde_json::Value;

use super::Lack;
use crate::ability::Ability;
use crate::openai::{Endpoint, ErrorBody, Peek};
use crate::vocabulary::FailureKind;

/// An answer instead of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The kind of failure that the upstream's own refusal would be.
    pub kind: FailureKind,
    /// The error object.
    pub body: ErrorBody,
}

impl Refusal {
    pub(super) fn new(lack: Lack, peek: &Peek, body: &[u8]) -> Self {
        match lack {
            Lack::Window { tokens, prompt, answer } => Self {
                status: 400,
                kind: FailureKind::ContextLength,
                body: too_long(peek.endpoint, tokens, prompt, answer),
            },
            Lack::Ability(ability) => {
                let (status, body) = unsupported(ability, peek, body);
                Self { status, kind: FailureKind::Unsupported, body }
            }
        }
    }
}

fn too_long(endpoint: Endpoint, window: u32, prompt: u32, answer: u32) -> ErrorBody {
    let all = prompt.saturating_add(answer);
    match endpoint {
        Endpoint::Messages | Endpoint::CountTokens => {
            ErrorBody::invalid(format!("prompt is too long: at least {all} tokens > {window} maximum"))
                .with_code("context_length_exceeded")
        }
        Endpoint::Completions
        | Endpoint::Embeddings
        | Endpoint::Rerank
        | Endpoint::Moderations
        | Endpoint::Images
        | Endpoint::ImageEdits
        | Endpoint::ImageVariations
        | Endpoint::Speech
        | Endpoint::Transcriptions
        | Endpoint::Translations
        | Endpoint::OllamaGenerate
        | Endpoint::OllamaEmbed => ErrorBody::invalid(format!(
            "This model's maximum context length is {window} tokens, however you requested at least {all} tokens \
             ({prompt} in your prompt; {answer} for the completion). Please reduce your prompt; or completion length."
        ))
        .with_code("context_length_exceeded"),
        Endpoint::Responses => ErrorBody::invalid(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
        )
        .with_param("input")
        .with_code("context_length_exceeded"),
        Endpoint::Chat | Endpoint::OllamaChat if answer == 0 => ErrorBody::invalid(format!(
            "This model's maximum context length is {window} tokens. However, your messages resulted in at least \
             {prompt} tokens. Please reduce the length of the messages."
        ))
        .with_param("messages")
        .with_code("context_length_exceeded"),
        Endpoint::Chat | Endpoint::OllamaChat => ErrorBody::invalid(format!(
            "This model's maximum context length is {window} tokens. However, you requested at least {all} tokens \
             ({prompt} in the messages, {answer} in the completion). Please reduce the length of the messages or \
             completion."
        ))
        .with_param("messages")
        .with_code("context_length_exceeded"),
    }
}

fn unsupported(ability: Ability, peek: &Peek, body: &[u8]) -> (u16, ErrorBody) {
    // The body is JSON: it was read before. Parsed once more, because nothing but this needs places in it.
    let body = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    match ability {
        Ability::Chat => (
            404,
            ErrorBody::invalid(
                "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to \
                 use v1/completions?",
            )
            .with_param("model"),
        ),
        Ability::Completions => (
            404,
            ErrorBody::invalid(
                "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use \
                 v1/chat/completions?",
            )
            .with_param("model"),
        ),
        Ability::Embeddings => (403, ErrorBody::invalid("You are not allowed to generate embeddings from this model")),
        Ability::Tools => {
            let field = if body().get("tools").is_none_or(Value::is_null) { "functions" } else { "tools" };
            let message = format!(
                "{field} is not supported in this model. For a list of supported models, refer to \
                 https://platform.openai.com/docs/guides/function-calling#models-supporting-function-calling."
            );
            (400, ErrorBody::invalid(message))
        }
        Ability::Reasoning => (400, parameter(effort(peek.endpoint))),
        Ability::Vision => (400, content_type(&body(), &["image_url", "input_image", "image"], peek.endpoint)),
        Ability::Audio => {
            let body = body();
            let parts = ["input_audio", "audio_url", "audio"];
            let refused =
                if place(&body, &parts).is_some() { content_type(&body, &parts, peek.endpoint) } else { modality() };
            (400, refused)
        }
        Ability::JsonSchema => {
            let field = if peek.endpoint == Endpoint::Responses { "text.format" } else { "response_format" };
            let message = format!(
                "Invalid parameter: '{field}' of type 'json_schema' is not supported with this model. Learn more about \
                 supported models at the Structured Outputs guide: \
                 https://platform.openai.com/docs/guides/structured-outputs"
            );
            (400, ErrorBody::invalid(message))
        }
        Ability::Rerank
        | Ability::ImageGeneration
        | Ability::Speech
        | Ability::Transcription
        | Ability::Moderation
        | Ability::Responses => {
            let message = format!("The model `{}` is not supported at this endpoint.", peek.model);
            (404, ErrorBody::invalid(message).with_param("model"))
        }
    }
}

/// What an endpoint calls the wish that a model reasons.
fn effort(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Responses => "reasoning.effort",
        endpoint if endpoint.is_anthropic() => "thinking",
        _ => "reasoning_effort",
    }
}

fn parameter(name: &'static str) -> ErrorBody {
    ErrorBody::invalid(format!("Unsupported parameter: '{name}' is not supported with this model."))
        .with_param(name)
        .with_code("unsupported_parameter")
}

fn modality() -> ErrorBody {
    ErrorBody::invalid("Unsupported value: 'modalities' does not support 'audio' with this model.")
        .with_param("modalities")
        .with_code("unsupported_value")
}

fn content_type(body: &Value, types: &[&str], endpoint: Endpoint) -> ErrorBody {
    let somewhere = || (types[0].to_owned(), endpoint.prompt_field().to_owned());
    let (kind, place) = place(body, types).unwrap_or_else(somewhere);
    ErrorBody::invalid(format!("Invalid content type. {kind} is only supported by certain models.")).with_param(place)
}

/// The first part of one of these types, and where it is.
fn place(body: &Value, types: &[&str]) -> Option<(String, String)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    // As each of the two endpoints writes it.
    [("messages.", "."), ("input", "")].into_iter().find_map(|(field, dot)| {
        list(&body[field.trim_end_matches('.')]).iter().enumerate().find_map(|(message, value)| {
            list(&value["content"]).iter().enumerate().find_map(|(part, value)| {
                let kind = value["type"].as_str().filter(|kind| types.contains(kind))?;
                Some((kind.to_owned(), format!("{field}[{message}].content{dot}[{part}].type")))
            })
        })
    })
}
