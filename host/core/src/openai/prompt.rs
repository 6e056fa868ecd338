//! How long a prompt is, roughly, and its text for policies that were granted it.

use super::content::{self, Visitor};
use super::json::{Scanner, Text};
use super::{Endpoint, Peek};

/// Counts towards an estimate of a prompt's tokens, in one pass over its bytes.
///
/// Tokenisers differ and are slow; routing needs the order of magnitude. Over English text and code the common ones
/// make a token of about 4 bytes, over Chinese, Japanese and Korean of about one character, which is 3 bytes; other
/// scripts lie between. Each message costs about 4 tokens of template, and an image 765 (OpenAI's figure for
/// 1024 × 1024).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    ascii: usize,
    beyond_ascii: usize,
    whole: usize,
}

const ASCII_BYTES_A_TOKEN: usize = 4;
const OTHER_BYTES_A_TOKEN: usize = 3;
const TOKENS_A_MESSAGE: usize = 4;
const TOKENS_AN_IMAGE: usize = 765;

impl Estimate {
    /// A text as it stands in the JSON. Escapes count as they are written, which is close enough: `\n` is a token
    /// or part of one, and `\u4f60` (6 bytes) is one character.
    pub(super) fn text(&mut self, raw: &str) {
        let beyond_ascii = raw.bytes().filter(|byte| !byte.is_ascii()).count();
        self.ascii += raw.len() - beyond_ascii;
        self.beyond_ascii += beyond_ascii;
    }

    pub(super) fn messages(&mut self, count: u32) {
        self.whole += TOKENS_A_MESSAGE * count as usize;
    }

    pub(super) fn image(&mut self) {
        self.whole += TOKENS_AN_IMAGE;
    }

    pub(super) fn token(&mut self) {
        self.whole += 1;
    }

    /// Clamped below 2^31, since policies read it.
    pub(super) fn tokens(self) -> u32 {
        let tokens =
            self.ascii.div_ceil(ASCII_BYTES_A_TOKEN) + self.beyond_ascii.div_ceil(OTHER_BYTES_A_TOKEN) + self.whole;
        u32::try_from(tokens).unwrap_or(u32::MAX).min(i32::MAX as u32)
    }
}

/// The prompt as one text: the text parts of all messages (or of `prompt` or `input`), oldest first, joined by
/// newlines. Meant for a body that was [peeked](super::peek) at; anything else gives what can be read of it.
pub fn prompt_text(body: &[u8], peek: &Peek) -> String {
    let mut collect = Collect { text: String::new(), empty: true };
    if let Some(Ok(system)) = peek.system_span.clone().and_then(|span| body.get(span)).map(str::from_utf8) {
        let _ = content::content(&mut Scanner::new(system), &mut collect);
    }
    if let Some(Ok(prompt)) = body.get(peek.prompt_span.clone()).map(str::from_utf8) {
        let mut scanner = Scanner::new(prompt);
        // Syntax was checked by `peek`; what was read before an error is all there is to give.
        let _ = match peek.endpoint {
            Endpoint::Chat | Endpoint::Messages | Endpoint::CountTokens | Endpoint::OllamaChat => {
                content::messages(&mut scanner, &mut collect).map(drop)
            }
            Endpoint::Responses => content::items(&mut scanner, &mut collect).map(drop),
            Endpoint::Rerank => content::documents(&mut scanner, &mut collect),
            Endpoint::Moderations if prompt.starts_with('[') => content::inputs(&mut scanner, &mut collect),
            Endpoint::Completions
            | Endpoint::Embeddings
            | Endpoint::Moderations
            | Endpoint::Images
            | Endpoint::ImageEdits
            | Endpoint::Speech
            | Endpoint::OllamaGenerate
            | Endpoint::OllamaEmbed => content::input(&mut scanner, &mut collect),
            // Forms, of which only what stands before the model is sure to be in memory.
            Endpoint::ImageVariations | Endpoint::Transcriptions | Endpoint::Translations => Ok(()),
        };
    }
    collect.text
}

struct Collect {
    text: String,
    empty: bool,
}

impl Visitor for Collect {
    fn text(&mut self, text: Text<'_>) {
        if !self.empty {
            self.text.push('\n');
        }
        self.empty = false;
        self.text.push_str(&text.decode());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::peek;
    use super::*;

    fn text(endpoint: Endpoint, body: &str) -> String {
        prompt_text(body.as_bytes(), &peek(body.as_bytes(), endpoint).unwrap())
    }

    fn tokens(raw: &str) -> u32 {
        let mut estimate = Estimate::default();
        estimate.text(raw);
        estimate.tokens()
    }

    #[test]
    fn texts_are_joined_oldest_first() {
        let body = r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[
            {"type":"text","text":"Look:\n\u00e9"},{"type":"image_url","image_url":{"url":"data:x","text":"no"}},
            {"type":"text","text":""}]},{"role":"assistant","content":null},"odd",{"content":["odd"]}]}"#;
        assert_eq!(text(Endpoint::Chat, body), "Be brief.\nLook:\né\n");
    }

    #[test]
    fn prompts_and_inputs_may_be_lists() {
        assert_eq!(text(Endpoint::Completions, r#"{"model":"m","prompt":"one"}"#), "one");
        assert_eq!(text(Endpoint::Completions, r#"{"model":"m","prompt":["one","two"]}"#), "one\ntwo");
        assert_eq!(text(Endpoint::Embeddings, r#"{"model":"m","input":[[1,2],[3]]}"#), "");
    }

    #[test]
    fn scripts_weigh_differently() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("abcd"), 1);
        assert_eq!(tokens("abcde"), 2);
        assert_eq!(tokens("你好"), 2);
    }
}
