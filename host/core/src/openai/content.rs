//! Walks through the part of a request that is the prompt, without building it.

use super::json::{Kind, Scanner, SyntaxError, Text};

/// Told what is found, oldest first.
pub(super) trait Visitor {
    /// A text that the model reads.
    fn text(&mut self, text: Text<'_>);
    /// JSON that the model reads too, such as tool calls.
    fn structure(&mut self, _raw: &str) {}
    /// A prompt given as numbers of tokens.
    fn token(&mut self) {}
    /// An image part.
    fn image(&mut self) {}
    /// An audio part.
    fn audio(&mut self) {}
}

/// The value of `messages`; returns how many there are. What is not shaped as it should be is passed over: the
/// upstream refuses it in its own words.
pub(super) fn messages(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<u32, SyntaxError> {
    let mut count = 0;
    scanner.array(|inner| {
        count += 1;
        if inner.kind()? == Kind::Object { message(inner, visitor) } else { inner.skip() }
    })?;
    Ok(count)
}

/// The value of `prompt` or `input`: a text, texts, tokens, or lists of tokens.
pub(super) fn input(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<(), SyntaxError> {
    match scanner.kind()? {
        Kind::String => visitor.text(scanner.string()?),
        Kind::Array => scanner.array(|inner| input(inner, visitor))?,
        Kind::Number => {
            scanner.skip()?;
            visitor.token();
        }
        Kind::Null | Kind::Boolean | Kind::Object => {
            scanner.skip()?;
        }
    }
    Ok(())
}

/// The value of a response's `input`: a text, or items; returns how many there are.
pub(super) fn items(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<u32, SyntaxError> {
    if scanner.kind()? == Kind::String {
        visitor.text(scanner.string()?);
        return Ok(1);
    }
    let mut count = 0;
    scanner.array(|inner| {
        count += 1;
        if inner.kind()? == Kind::Object { item(inner, visitor) } else { inner.skip() }
    })?;
    Ok(count)
}

/// A message, a call, or what a call gave.
fn item(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<(), SyntaxError> {
    scanner.object(|inner, key| match (key.raw, inner.kind()?) {
        ("content" | "output", _) => content(inner, visitor),
        ("name" | "arguments" | "input", Kind::String) => {
            visitor.structure(inner.string()?.raw);
            Ok(())
        }
        _ => inner.skip(),
    })
}

fn message(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<(), SyntaxError> {
    scanner.object(|inner, key| match (key.raw, inner.kind()?) {
        ("content", _) => content(inner, visitor),
        ("tool_calls" | "function_call", _) => {
            visitor.structure(inner.raw()?);
            Ok(())
        }
        // Ollama's
        ("images", Kind::Array) => inner.array(|image| {
            visitor.image();
            image.skip()
        }),
        _ => inner.skip(),
    })
}

/// The value of `content` or `system`: a text, or parts.
pub(super) fn content(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<(), SyntaxError> {
    match scanner.kind()? {
        Kind::String => {
            visitor.text(scanner.string()?);
            Ok(())
        }
        Kind::Array => scanner.array(|inner| part(inner, visitor)),
        Kind::Null | Kind::Boolean | Kind::Number | Kind::Object => scanner.skip(),
    }
}

fn part(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<(), SyntaxError> {
    if scanner.kind()? != Kind::Object {
        return scanner.skip();
    }
    let mut text = None;
    let mut kind = "";
    scanner.object::<SyntaxError>(|inner, key| {
        match (key.raw, inner.kind()?) {
            ("text", Kind::String) => text = Some(inner.string()?),
            ("type", Kind::String) => kind = inner.string()?.raw,
            // Anthropic's results and calls of tools
            ("content", _) => content(inner, visitor)?,
            ("input", Kind::Object) => visitor.structure(inner.raw()?),
            _ => {
                inner.skip()?;
            }
        }
        Ok(())
    })?;
    match kind {
        "image_url" | "input_image" | "image" => visitor.image(),
        "input_audio" | "audio_url" | "audio" => visitor.audio(),
        _ => {}
    }
    if let Some(text) = text {
        visitor.text(text);
    }
    Ok(())
}
