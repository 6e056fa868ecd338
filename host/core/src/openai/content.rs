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
    /// Of an image part, what cannot be an image.
    fn no_image(&mut self) {}
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

/// The value of `documents`: texts, or objects with texts in them.
pub(super) fn documents(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<(), SyntaxError> {
    scanner.array(|inner| match inner.kind()? {
        Kind::String => {
            visitor.text(inner.string()?);
            Ok(())
        }
        _ => {
            visitor.structure(inner.raw()?);
            Ok(())
        }
    })
}

/// The value of `input` where it is a list of texts, or of parts such as those of a message.
pub(super) fn inputs(scanner: &mut Scanner<'_>, visitor: &mut impl Visitor) -> Result<(), SyntaxError> {
    scanner.array(|inner| if inner.kind()? == Kind::Object { part(inner, visitor) } else { input(inner, visitor) })
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
    let mut is_base64 = true;
    scanner.object::<SyntaxError>(|inner, key| {
        match (key.raw, inner.kind()?) {
            ("text", Kind::String) => text = Some(inner.string()?),
            ("type", Kind::String) => kind = inner.string()?.raw,
            // Anthropic's results and calls of tools
            ("content", _) => content(inner, visitor)?,
            ("input", Kind::Object) => visitor.structure(inner.raw()?),
            ("image_url", Kind::String) => is_base64 &= !holds_wrong_base64(&inner.string()?.decode()),
            ("image_url", Kind::Object) => is_base64 &= !url_is_wrong(inner)?,
            // Anthropic's images
            ("source", Kind::Object) => is_base64 &= !source_is_wrong(inner)?,
            _ => {
                inner.skip()?;
            }
        }
        Ok(())
    })?;
    match kind {
        "image_url" | "input_image" | "image" => {
            visitor.image();
            if !is_base64 {
                visitor.no_image();
            }
        }
        "input_audio" | "audio_url" | "audio" => visitor.audio(),
        _ => {}
    }
    if let Some(text) = text {
        visitor.text(text);
    }
    Ok(())
}

fn url_is_wrong(scanner: &mut Scanner<'_>) -> Result<bool, SyntaxError> {
    let mut wrong = false;
    scanner.object::<SyntaxError>(|inner, key| {
        if key.raw == "url" && inner.kind()? == Kind::String {
            wrong |= holds_wrong_base64(&inner.string()?.decode());
            return Ok(());
        }
        inner.skip()
    })?;
    Ok(wrong)
}

fn source_is_wrong(scanner: &mut Scanner<'_>) -> Result<bool, SyntaxError> {
    let (mut base64, mut data) = (false, None);
    scanner.object::<SyntaxError>(|inner, key| {
        match (key.raw, inner.kind()?) {
            ("type", Kind::String) => base64 = inner.string()?.raw == "base64",
            ("data", Kind::String) => data = Some(inner.string()?),
            _ => inner.skip()?,
        }
        Ok(())
    })?;
    Ok(base64 && data.is_some_and(|data| !is_base64(data.decode().as_bytes())))
}

/// Whether a URL is one that holds its data as base64, and they are not.
fn holds_wrong_base64(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("data:") else { return false };
    rest.split_once(";base64,").is_some_and(|(_, data)| !is_base64(data.as_bytes()))
}

/// Whether some decoder takes it: line ends, the alphabet for URLs and missing padding are for the upstream to judge.
fn is_base64(text: &[u8]) -> bool {
    let unpadded = text.strip_suffix(b"=").map_or(text, |text| text.strip_suffix(b"=").unwrap_or(text));
    // Without a branch for each byte: it may be megabytes.
    let plain = |byte: u8| {
        (byte | 0x20).wrapping_sub(b'a') < 26
            || byte.wrapping_sub(b'0') < 10
            || matches!(byte, b'+' | b'/' | b'-' | b'_')
    };
    if unpadded.iter().fold(true, |all, byte| all & plain(*byte)) {
        return !unpadded.is_empty() && unpadded.len() % 4 != 1;
    }
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.len() < text.len() && is_base64(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_told_from_what_no_decoder_takes() {
        for good in ["AA==", "AAA=", "AAAA", "AA", "+/09", "-_az", "AA\r\nAA\n", "AAA\n="] {
            assert!(is_base64(good.as_bytes()), "{good:?}");
        }
        for bad in ["", "=", "A", "AAAAA", "A*AA", "AA==AA", "A===", "\n", "é"] {
            assert!(!is_base64(bad.as_bytes()), "{bad:?}");
        }
        for url in ["https://x/y.png", "data:image/svg+xml,<svg>", "data:image/png;base64,AAAA", "data:,;base64"] {
            assert!(!holds_wrong_base64(url), "{url}");
        }
        assert!(holds_wrong_base64("data:image/png;base64,A") && holds_wrong_base64("data:;base64,"));
    }
}
