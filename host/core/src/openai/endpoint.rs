//! What a client may ask for, and everything that is fixed for each: one row an endpoint, so that a new one cannot be
//! forgotten anywhere.

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

/// What is fixed for one endpoint.
struct Row {
    label: &'static str,
    path: &'static str,
    prompt_field: &'static str,
    speech: Speech,
    body_shape: BodyShape,
    answer: Answer,
    default_model: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Whole,
    /// Or a stream of a dialect's events.
    Streams,
    Anything,
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

    const fn row(self) -> Row {
        match self {
            Self::Chat => Row::new("chat", "/chat/completions", "messages").streams(),
            Self::Completions => Row::new("completions", "/completions", "prompt").streams(),
            Self::Embeddings => Row::new("embeddings", "/embeddings", "input"),
            Self::Messages => Row::new("messages", "/messages", "messages").of(Speech::Anthropic).streams(),
            Self::CountTokens => Row::new("count_tokens", "/messages/count_tokens", "messages").of(Speech::Anthropic),
            Self::Responses => Row::new("responses", "/responses", "input").streams(),
            Self::Rerank => Row::new("rerank", "/rerank", "documents"),
            Self::Moderations => Row::new("moderations", "/moderations", "input").defaults_to("omni-moderation-latest"),
            Self::Images => Row::new("images", "/images/generations", "prompt").anything().defaults_to(IMAGE_MODEL),
            Self::ImageEdits => Row::form("image_edits", "/images/edits", "prompt").defaults_to(IMAGE_MODEL),
            Self::ImageVariations => {
                Row::form("image_variations", "/images/variations", "image").defaults_to(IMAGE_MODEL)
            }
            Self::Speech => Row::new("speech", "/audio/speech", "input").anything(),
            Self::Transcriptions => Row::form("transcriptions", "/audio/transcriptions", "file"),
            Self::Translations => Row::form("translations", "/audio/translations", "file"),
            Self::OllamaChat => Row::new("ollama_chat", "/api/chat", "messages").of(Speech::Ollama).streams(),
            Self::OllamaGenerate => Row::new("ollama_generate", "/api/generate", "prompt").of(Speech::Ollama).streams(),
            Self::OllamaEmbed => Row::new("ollama_embed", "/api/embed", "input").of(Speech::Ollama),
        }
    }

    /// The value of the fact `endpoint`.
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// For metrics: a closed set.
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// Below the provider's address, which ends with `/v1` where it is not Ollama's own.
    pub const fn path(self) -> &'static str {
        self.row().path
    }

    /// The field that holds the prompt.
    pub const fn prompt_field(self) -> &'static str {
        self.row().prompt_field
    }

    /// Whose dialect the client speaks: errors and events are then of its shape.
    pub const fn speech(self) -> Speech {
        self.row().speech
    }

    /// How the body is written.
    pub const fn body_shape(self) -> BodyShape {
        self.row().body_shape
    }

    /// Whether an answer may be a stream of a dialect's events, which the gateway reads.
    pub const fn streams(self) -> bool {
        matches!(self.row().answer, Answer::Streams)
    }

    /// Whether an answer may be of any kind: sound, text, JSON, or events of its own. Such a one is passed on as it
    /// comes.
    pub const fn answers_anything(self) -> bool {
        matches!(self.row().answer, Answer::Anything)
    }

    /// The model that OpenAI takes where a request names none.
    pub const fn default_model(self) -> Option<&'static str> {
        self.row().default_model
    }

    /// Whether it is Anthropic's.
    pub const fn is_anthropic(self) -> bool {
        matches!(self.speech(), Speech::Anthropic)
    }
}

impl Row {
    /// JSON of OpenAI's, answered in one piece.
    const fn new(label: &'static str, path: &'static str, prompt_field: &'static str) -> Self {
        Self {
            label,
            path,
            prompt_field,
            speech: Speech::OpenAi,
            body_shape: BodyShape::Json,
            answer: Answer::Whole,
            default_model: None,
        }
    }

    /// A form, and an answer of any kind.
    const fn form(label: &'static str, path: &'static str, prompt_field: &'static str) -> Self {
        Self { body_shape: BodyShape::Form, ..Self::new(label, path, prompt_field).anything() }
    }

    const fn of(self, speech: Speech) -> Self {
        Self { speech, ..self }
    }

    const fn streams(self) -> Self {
        Self { answer: Answer::Streams, ..self }
    }

    const fn anything(self) -> Self {
        Self { answer: Answer::Anything, ..self }
    }

    const fn defaults_to(self, model: &'static str) -> Self {
        Self { default_model: Some(model), ..self }
    }
}

const IMAGE_MODEL: &str = "dall-e-2";

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
