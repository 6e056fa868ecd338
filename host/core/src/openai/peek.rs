//! Reads what routing needs out of a request body, in one pass, and copies nothing but short names.
//!
//! The whole body is checked to be JSON, since it may be edited later. A field that routing reads may be there only
//! once: where servers disagree on which of two counts, the gateway could be made to route by one and the upstream to
//! obey the other. Fields that it does not read are the upstream's to judge.

use super::content::{self, Visitor};
use super::estimate::Estimate;
use super::json::{Kind, Scanner, Span, Text, place};
use super::{Endpoint, RequestError};
use crate::dialect::Speech;

mod values;

use values::{boolean, choices, output_limit, string, strings_of};

/// What routing needs to know about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// Which kind of request it is.
    pub endpoint: Endpoint,
    /// The model that the client asks for; never empty.
    pub model: Box<str>,
    /// Where its value is in the body, with the quotes. Empty where the body names none, at the place for it.
    pub model_span: Span,
    /// Where the value of `messages`, `prompt` or `input` is in the body; empty where a response goes on without one.
    pub prompt_span: Span,
    /// Where the value of `system` is, which Anthropic has beside the messages, or that of `instructions`, which
    /// Responses have beside the input.
    pub system_span: Option<Span>,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Whether it wants the usage at the end of the stream.
    pub include_usage: bool,
    /// `max_completion_tokens`, `max_output_tokens` or `max_tokens`; `None` when neither is set or the limit is off (-1).
    pub max_output_tokens: Option<u32>,
    /// `n`; 1 when not set.
    pub choices: u32,
    /// What requests that belong together share: `prompt_cache_key`, else `user`, or Anthropic's `metadata.user_id`.
    pub session: Option<Box<str>>,
    /// Messages of a chat.
    pub messages: u32,
    /// Tools and functions offered to the model.
    pub tools: u32,
    /// Image parts.
    pub images: u32,
    /// Audio parts, plus 1 when audio output is asked for.
    pub audio: u32,
    /// The response that this one goes on from.
    pub previous: Option<Box<str>>,
    /// Whether `response_format`, `text.format` of Responses, or Anthropic's `output_config`, asks for a JSON schema.
    pub json_schema: bool,
    /// Whether the model is asked to reason: `reasoning_effort`, `reasoning.effort` of Responses, Anthropic's `thinking`.
    pub reasoning: bool,
    /// Estimated length of the prompt, tools included; below 2^31.
    pub prompt_tokens: u32,
}

/// Reads a request body.
///
/// # Errors
/// Anything that keeps the request from being routed.
pub fn peek(body: &[u8], endpoint: Endpoint) -> Result<Peek, RequestError> {
    let text = str::from_utf8(body).map_err(|error| {
        let (line, column) = place(body, error.valid_up_to());
        RequestError::NotUtf8 { line, column }
    })?;
    let mut scanner = Scanner::new(text);
    let got = scanner.kind()?;
    if got != Kind::Object {
        return Err(RequestError::NotAnObject { got });
    }
    let mut fields = Fields::new(endpoint, scanner.at() + 1);
    scanner.object(|inner, key| fields.read(inner, key))?;
    scanner.end()?;
    fields.finish()
}

/// The fields as far as they have been read.
struct Fields {
    endpoint: Endpoint,
    /// Where the first member of the object is, or would be.
    inside: usize,
    seen: u32,
    query: bool,
    model: Option<(Box<str>, Span)>,
    prompt_span: Option<Span>,
    system_span: Option<Span>,
    stream: bool,
    include_usage: bool,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    choices: u32,
    user: Option<Box<str>>,
    cache_key: Option<Box<str>>,
    previous: Option<Box<str>>,
    /// Something else than the input says what a response is to.
    goes_on: bool,
    json_schema: bool,
    reasoning: bool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    messages: u32,
    tools: u32,
    images: u32,
    audio: u32,
    /// Some image is none.
    no_image: bool,
    estimate: Estimate,
}

impl Visitor for Counts {
    fn text(&mut self, text: Text<'_>) {
        self.estimate.text(text);
    }

    fn structure(&mut self, raw: &str) {
        self.estimate.raw(raw);
    }

    fn token(&mut self) {
        self.estimate.token();
    }

    fn image(&mut self) {
        self.images += 1;
        self.estimate.image();
    }

    fn no_image(&mut self) {
        self.no_image = true;
    }

    fn audio(&mut self) {
        self.audio += 1;
    }
}

impl Fields {
    fn new(endpoint: Endpoint, inside: usize) -> Self {
        Self {
            endpoint,
            inside,
            seen: 0,
            query: false,
            model: None,
            prompt_span: None,
            system_span: None,
            // Ollama streams unless told not to.
            stream: endpoint.speech() == Speech::Ollama,
            include_usage: false,
            max_tokens: None,
            max_completion_tokens: None,
            choices: 1,
            user: None,
            cache_key: None,
            previous: None,
            goes_on: false,
            json_schema: false,
            reasoning: false,
            counts: Counts::default(),
        }
    }

    fn read(&mut self, scanner: &mut Scanner<'_>, key: Text<'_>) -> Result<(), RequestError> {
        let key = key.decode();
        let Some(index) = READ.iter().position(|field| *field == key) else {
            if key.eq_ignore_ascii_case("model") {
                return Err(RequestError::ModelInOtherCase { got: key.into_owned() });
            }
            scanner.skip()?;
            return Ok(());
        };
        let field = READ[index];
        if self.seen & (1 << index) != 0 {
            return Err(RequestError::Duplicate { field });
        }
        self.seen |= 1 << index;
        let kind = scanner.kind()?;
        match field {
            // A field that is null is as good as absent.
            _ if kind == Kind::Null => scanner.skip()?,
            "model" => {
                let (model, span) = string(scanner, field)?;
                self.model = Some((model, span));
            }
            "messages" | "prompt" | "input" | "documents" if field == self.endpoint.prompt_field() => {
                self.prompt(scanner, kind)?;
            }
            "query" if self.endpoint == Endpoint::Rerank => self.query(scanner, kind)?,
            "stream" => self.stream = boolean(scanner, field)?,
            "stream_options" if kind == Kind::Object => self.stream_options(scanner)?,
            "max_tokens" => self.max_tokens = output_limit(scanner, field)?,
            "max_completion_tokens" => self.max_completion_tokens = output_limit(scanner, field)?,
            "max_output_tokens" if self.is_responses() => self.max_completion_tokens = output_limit(scanner, field)?,
            "instructions" if self.is_responses() => self.system(scanner)?,
            "text" if self.is_responses() && kind == Kind::Object => self.text_config(scanner)?,
            "previous_response_id" if self.is_responses() && kind == Kind::String => {
                self.goes_on = true;
                self.previous = Some(string(scanner, field)?.0);
            }
            "conversation" | "prompt" if self.is_responses() => {
                self.goes_on = true;
                scanner.skip()?;
            }
            "n" => self.choices = choices(scanner)?,
            "user" if kind == Kind::String => self.user = Some(string(scanner, field)?.0),
            "prompt_cache_key" if kind == Kind::String => self.cache_key = Some(string(scanner, field)?.0),
            "tools" | "functions" if kind == Kind::Array => self.tools(scanner)?,
            "response_format" if kind == Kind::Object => self.response_format(scanner)?,
            "modalities" if kind == Kind::Array => self.modalities(scanner)?,
            // Models that do not reason refuse any effort but none.
            "reasoning_effort" if kind == Kind::String => self.reasoning = scanner.string()?.raw != "none",
            "reasoning" if self.is_responses() && kind == Kind::Object => {
                strings_of(scanner, "effort", |effort| self.reasoning = effort.raw != "none")?;
            }
            "thinking" if self.endpoint.is_anthropic() && kind == Kind::Object => {
                strings_of(scanner, "type", |kind| self.reasoning = kind.raw != "disabled")?;
            }
            "system" if self.endpoint.is_anthropic() => self.system(scanner)?,
            "system" if self.endpoint == Endpoint::OllamaGenerate => self.system(scanner)?,
            "options" if self.is_ollama() && kind == Kind::Object => self.options(scanner)?,
            "format" if self.is_ollama() => {
                self.json_schema = kind == Kind::Object;
                scanner.skip()?;
            }
            "images" if self.is_ollama() && kind == Kind::Array => self.images(scanner)?,
            "metadata" if self.endpoint.is_anthropic() && kind == Kind::Object => {
                strings_of(scanner, "user_id", |user| self.user = Some(user.decode().into()))?;
            }
            "output_config" if self.endpoint.is_anthropic() && kind == Kind::Object => self.output_config(scanner)?,
            // Not of this endpoint, or of a type that tells routing nothing and that the upstream may judge.
            _ => scanner.skip()?,
        }
        Ok(())
    }

    fn is_responses(&self) -> bool {
        self.endpoint == Endpoint::Responses
    }

    fn prompt(&mut self, scanner: &mut Scanner<'_>, got: Kind) -> Result<(), RequestError> {
        let field = self.endpoint.prompt_field();
        let start = scanner.at();
        match (self.endpoint, got) {
            (Endpoint::Chat | Endpoint::Messages | Endpoint::CountTokens | Endpoint::OllamaChat, Kind::Array) => {
                self.counts.messages = content::messages(scanner, &mut self.counts)?;
                self.counts.estimate.messages(self.counts.messages);
            }
            (Endpoint::Chat | Endpoint::Messages | Endpoint::CountTokens | Endpoint::OllamaChat, _) => {
                return Err(RequestError::WrongType { field, expected: "an array of objects", got });
            }
            (Endpoint::Rerank, Kind::Array) => content::documents(scanner, &mut self.counts)?,
            (Endpoint::Rerank, _) => return Err(RequestError::WrongType { field, expected: "an array", got }),
            (Endpoint::Speech | Endpoint::Images | Endpoint::ImageEdits | Endpoint::OllamaGenerate, Kind::String) => {
                content::input(scanner, &mut self.counts)?;
            }
            (Endpoint::Responses, Kind::String | Kind::Array) => {
                self.counts.messages = content::items(scanner, &mut self.counts)?;
                self.counts.estimate.messages(self.counts.messages);
            }
            (Endpoint::Speech | Endpoint::Images | Endpoint::ImageEdits | Endpoint::OllamaGenerate, _) => {
                return Err(RequestError::WrongType { field, expected: "a string", got });
            }
            // Of a moderation, a text, texts, or the parts of a message.
            (Endpoint::Moderations, Kind::Array) => content::inputs(scanner, &mut self.counts)?,
            (_, Kind::String | Kind::Array) => content::input(scanner, &mut self.counts)?,
            (_, _) => return Err(RequestError::WrongType { field, expected: "a string or an array", got }),
        }
        self.prompt_span = Some(start..scanner.at());
        Ok(())
    }

    fn query(&mut self, scanner: &mut Scanner<'_>, got: Kind) -> Result<(), RequestError> {
        if got != Kind::String {
            return Err(RequestError::WrongType { field: "query", expected: "a string", got });
        }
        self.query = true;
        content::input(scanner, &mut self.counts)?;
        Ok(())
    }

    fn stream_options(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        scanner.object(|inner, key| {
            if key.raw == "include_usage" && inner.kind()? == Kind::Boolean {
                self.include_usage = inner.raw()? == "true";
                return Ok(());
            }
            inner.skip()?;
            Ok(())
        })
    }

    fn tools(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        scanner.array(|inner| {
            self.counts.tools += 1;
            self.counts.estimate.raw(inner.raw()?);
            Ok(())
        })
    }

    fn response_format(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        strings_of(scanner, "type", |kind| self.json_schema = kind.raw == "json_schema")
    }

    /// Of Responses.
    fn text_config(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        scanner.object(|inner, key| {
            if key.raw == "format" && inner.kind()? == Kind::Object {
                return self.response_format(inner);
            }
            inner.skip()?;
            Ok(())
        })
    }

    fn modalities(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        scanner.array(|inner| {
            self.counts.audio += u32::from(inner.raw()? == "\"audio\"");
            Ok(())
        })
    }

    fn system(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        let start = scanner.at();
        content::content(scanner, &mut self.counts)?;
        self.system_span = Some(start..scanner.at());
        Ok(())
    }

    fn is_ollama(&self) -> bool {
        self.endpoint.speech() == Speech::Ollama
    }

    /// Ollama's.
    fn options(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        scanner.object(|inner, key| {
            if key.raw == "num_predict" && inner.kind()? == Kind::Number {
                // -1 and -2 are words for no limit.
                self.max_tokens = inner.raw()?.parse().ok();
                return Ok(());
            }
            inner.skip()?;
            Ok(())
        })
    }

    fn images(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        scanner.array(|inner| {
            self.counts.image();
            inner.skip()?;
            Ok(())
        })
    }

    fn output_config(&mut self, scanner: &mut Scanner<'_>) -> Result<(), RequestError> {
        scanner.object(|inner, key| {
            self.json_schema |= key.raw == "format" && inner.kind()? == Kind::Object;
            inner.skip()?;
            Ok(())
        })
    }

    fn finish(self) -> Result<Peek, RequestError> {
        let (model, model_span) = match (self.model, self.endpoint.default_model()) {
            (Some(named), _) => named,
            (None, Some(default)) => (default.into(), self.inside..self.inside),
            (None, None) => return Err(RequestError::Missing { field: "model" }),
        };
        if self.endpoint == Endpoint::Rerank && !self.query {
            return Err(RequestError::Missing { field: "query" });
        }
        if model.is_empty() {
            return Err(RequestError::EmptyModel);
        }
        if self.counts.no_image {
            return Err(RequestError::WrongBase64 { anthropic: self.endpoint.is_anthropic() });
        }
        let field = self.endpoint.prompt_field();
        let max_output_tokens = self.max_completion_tokens.or(self.max_tokens);
        if self.endpoint == Endpoint::Messages && max_output_tokens.is_none() {
            return Err(RequestError::Missing { field: "max_tokens" });
        }
        Ok(Peek {
            endpoint: self.endpoint,
            model,
            model_span,
            prompt_span: match self.prompt_span {
                Some(span) => span,
                None if self.goes_on => 0..0,
                None => return Err(RequestError::Missing { field }),
            },
            system_span: self.system_span,
            stream: self.stream && self.endpoint.streams(),
            include_usage: self.include_usage,
            max_output_tokens,
            choices: self.choices,
            session: self.cache_key.or(self.user),
            messages: self.counts.messages,
            tools: self.counts.tools,
            images: self.counts.images,
            audio: self.counts.audio,
            previous: self.previous,
            json_schema: self.json_schema,
            reasoning: self.reasoning,
            prompt_tokens: self.counts.estimate.tokens(),
        })
    }
}

/// The fields that are read, each of them at most once.
const READ: [&str; 31] = [
    "model",
    "messages",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "stream_options",
    "tools",
    "n",
    "user",
    "prompt_cache_key",
    "response_format",
    "prompt",
    "input",
    "functions",
    "modalities",
    "system",
    "metadata",
    "output_config",
    "instructions",
    "max_output_tokens",
    "text",
    "previous_response_id",
    "conversation",
    "options",
    "format",
    "images",
    "query",
    "documents",
    "reasoning_effort",
    "reasoning",
    "thinking",
];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
