//! The text of a prompt: for policies that were granted it, and for counting what it has at least.

use super::content::{self, Visitor};
use super::estimate::at_least;
use super::json::{Scanner, Text};
use super::{Endpoint, Peek};

/// The prompt as one text: the text parts of all messages (or of `prompt` or `input`), oldest first, joined by
/// newlines. Meant for a body that was [peeked](super::peek) at; anything else gives what can be read of it.
pub fn prompt_text(body: &[u8], peek: &Peek) -> String {
    let mut collect = Collect { text: String::new(), empty: true };
    read(body, peek, &mut collect);
    collect.text
}

/// The least number of tokens that the prompt has under any common tokeniser, templates, tools and images left out; of
/// several prompts or inputs, each of which must fit the window, that of the longest. Takes a pass over the prompt.
pub fn prompt_tokens_at_least(body: &[u8], peek: &Peek) -> u32 {
    let one = [Endpoint::Chat, Endpoint::Messages, Endpoint::CountTokens, Endpoint::Responses, Endpoint::OllamaChat];
    let apart = !one.contains(&peek.endpoint);
    let mut least = Least { apart, tokens: 0 };
    read(body, peek, &mut least);
    u32::try_from(least.tokens).unwrap_or(u32::MAX)
}

/// Shows the visitor all of the prompt, oldest first.
fn read(body: &[u8], peek: &Peek, visitor: &mut impl Visitor) {
    if let Some(Ok(system)) = peek.system_span.clone().and_then(|span| body.get(span)).map(str::from_utf8) {
        let _ = content::content(&mut Scanner::new(system), visitor);
    }
    if let Some(Ok(prompt)) = body.get(peek.prompt_span.clone()).map(str::from_utf8) {
        let mut scanner = Scanner::new(prompt);
        // Syntax was checked by `peek`; what was read before an error is all there is to give.
        let _ = match peek.endpoint {
            Endpoint::Chat | Endpoint::Messages | Endpoint::CountTokens | Endpoint::OllamaChat => {
                content::messages(&mut scanner, visitor).map(drop)
            }
            Endpoint::Responses => content::items(&mut scanner, visitor).map(drop),
            Endpoint::Rerank => content::documents(&mut scanner, visitor),
            Endpoint::Moderations if prompt.starts_with('[') => content::inputs(&mut scanner, visitor),
            Endpoint::Completions
            | Endpoint::Embeddings
            | Endpoint::Moderations
            | Endpoint::Images
            | Endpoint::ImageEdits
            | Endpoint::Speech
            | Endpoint::OllamaGenerate
            | Endpoint::OllamaEmbed => content::input(&mut scanner, visitor),
            // Forms, of which only what stands before the model is sure to be in memory.
            Endpoint::ImageVariations | Endpoint::Transcriptions | Endpoint::Translations => Ok(()),
        };
    }
}

struct Least {
    /// Each text is a prompt of its own.
    apart: bool,
    tokens: u64,
}

impl Visitor for Least {
    fn text(&mut self, text: Text<'_>) {
        let tokens = at_least(&text.decode());
        self.tokens = if self.apart { self.tokens.max(tokens) } else { self.tokens + tokens };
    }
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
    fn the_least_is_that_of_all_messages_or_of_the_longest_input() {
        let least =
            |endpoint, body: &str| prompt_tokens_at_least(body.as_bytes(), &peek(body.as_bytes(), endpoint).unwrap());
        let chat = r#"{"model":"m","messages":[{"content":"one two"},{"content":[{"type":"text","text":"th\u0072ee\n"},
            {"type":"image_url"}]}],"tools":[{"name":"a b c"}]}"#;
        assert_eq!((least(Endpoint::Chat, chat), least(Endpoint::OllamaChat, chat)), (3, 3));
        assert_eq!(least(Endpoint::Embeddings, r#"{"model":"m","input":["one","two three four","five"]}"#), 3);
        assert_eq!(least(Endpoint::Completions, r#"{"model":"m","prompt":[1,2,3]}"#), 0);
        let messages =
            r#"{"model":"m","max_tokens":1,"system":"Be brief.","messages":[{"role":"user","content":"hi"}]}"#;
        assert_eq!(least(Endpoint::Messages, messages), 3);
    }
}
