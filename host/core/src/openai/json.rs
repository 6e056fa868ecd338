//! A strict JSON scanner that hands out slices of its input and copies nothing.
//!
//! It accepts exactly RFC 8259, up to [`DEPTH_LIMIT`] levels deep, and never panics. Parsers that build values
//! cannot say where a value was; the gateway must, because it forwards a request's own bytes. A property test
//! holds it to `serde_json`.

use std::borrow::Cow;
use std::ops::Range;

/// Places of a value in the scanned text, in bytes.
pub type Span = Range<usize>;

/// Levels of arrays and objects, as in `serde_json`.
pub const DEPTH_LIMIT: usize = 128;

/// Reads one text from front to back.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// Any number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// With its article, for messages.
    pub const fn article(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Where a text stops being JSON. Lines and columns count from 1; a column is a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line}, column {column}")]
pub struct SyntaxError {
    /// What is wrong there.
    pub problem: &'static str,
    /// Of the first byte that cannot be.
    pub line: usize,
    /// Of the first byte that cannot be.
    pub column: usize,
}

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// Between the quotes.
    pub(crate) raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The string that is meant. One that no string can hold (half a surrogate pair) stays as it is written.
    pub(crate) fn decode(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        match serde_json::from_str(&format!("\"{}\"", self.raw)) {
            Ok(text) => Cow::Owned(text),
            Err(_) => Cow::Borrowed(self.raw),
        }
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The place that has been reached; after [`Scanner::kind`], where the value begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The kind of the value that comes next.
    pub(crate) fn kind(&mut self) -> Result<Kind, SyntaxError> {
        match self.next_byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(_) => Err(self.problem("expected a value")),
            None => Err(self.problem("expected a value, but the text ends")),
        }
    }

    /// Passes over the next value.
    pub(crate) fn skip(&mut self) -> Result<(), SyntaxError> {
        match self.kind()? {
            Kind::Null => self.literal("null"),
            Kind::Boolean if self.bytes()[self.at] == b't' => self.literal("true"),
            Kind::Boolean => self.literal("false"),
            Kind::Number => self.digits(),
            Kind::String => self.string().map(|_text| ()),
            Kind::Array => self.array(Self::skip),
            Kind::Object => self.object(|inner, _key| inner.skip()),
        }
    }

    /// Passes over the next value and gives its text.
    pub(crate) fn raw(&mut self) -> Result<&'a str, SyntaxError> {
        self.kind()?;
        let start = self.at;
        self.skip()?;
        Ok(&self.text[start..self.at])
    }

    /// The next value, which must be a string.
    pub(crate) fn string(&mut self) -> Result<Text<'a>, SyntaxError> {
        if self.next_byte() != Some(b'"') {
            return Err(self.problem("expected a string"));
        }
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = plain_until(self.bytes(), at);
            match self.bytes().get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { raw: &self.text[start..at], escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                Some(_) => return Err(self.problem_at(at, "control character in a string")),
                None => return Err(self.problem_at(at, "string without end")),
            }
        }
    }

    /// The next value, which must be an array: calls `each` with the scanner before every element, which it must
    /// consume.
    pub(crate) fn array<E: From<SyntaxError>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[', "expected an array")?;
        if self.next_byte() == Some(b']') {
            self.close();
            return Ok(());
        }
        loop {
            each(self)?;
            match self.next_byte() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                Some(_) => return Err(self.problem("expected `,` or `]`").into()),
                None => return Err(self.problem("array without end").into()),
            }
        }
        self.close();
        Ok(())
    }

    /// The next value, which must be an object: calls `each` with every key and the scanner before its value, which
    /// it must consume.
    pub(crate) fn object<E: From<SyntaxError>>(
        &mut self,
        mut each: impl FnMut(&mut Self, Text<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{', "expected an object")?;
        if self.next_byte() == Some(b'}') {
            self.close();
            return Ok(());
        }
        loop {
            if self.next_byte() != Some(b'"') {
                return Err(self.problem("expected a key in double quotes").into());
            }
            let key = self.string()?;
            if self.next_byte() != Some(b':') {
                return Err(self.problem("expected `:` after a key").into());
            }
            self.at += 1;
            each(self, key)?;
            match self.next_byte() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                Some(_) => return Err(self.problem("expected `,` or `}`").into()),
                None => return Err(self.problem("object without end").into()),
            }
        }
        self.close();
        Ok(())
    }

    /// Nothing but blanks may be left.
    pub(crate) fn end(&mut self) -> Result<(), SyntaxError> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.problem("text after the end of the value")),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte that is not a blank, not consumed.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn open(&mut self, bracket: u8, otherwise: &'static str) -> Result<(), SyntaxError> {
        if self.next_byte() != Some(bracket) {
            return Err(self.problem(otherwise));
        }
        if self.depth == DEPTH_LIMIT {
            return Err(self.problem("more than 128 levels of arrays and objects"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    fn literal(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        if !self.bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.problem("expected `true`, `false` or `null`"));
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let mut at = self.at + usize::from(self.bytes()[self.at] == b'-');
        at = match self.bytes().get(at) {
            Some(b'0') => at + 1,
            _ => self.some_digits(at)?,
        };
        if self.bytes().get(at) == Some(&b'.') {
            at = self.some_digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.bytes().get(at) {
            let sign = usize::from(matches!(self.bytes().get(at + 1), Some(b'+' | b'-')));
            at = self.some_digits(at + 1 + sign)?;
        }
        self.at = at;
        Ok(())
    }

    fn some_digits(&self, from: usize) -> Result<usize, SyntaxError> {
        let count = self.bytes().iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 { Err(self.problem_at(from, "expected a digit")) } else { Ok(from + count) }
    }

    /// The place after the escape that begins at `at`.
    fn escape(&self, at: usize) -> Result<usize, SyntaxError> {
        match self.bytes().get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => {
                let digits = self.bytes().get(at + 2..at + 6);
                if digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    Ok(at + 6)
                } else {
                    Err(self.problem_at(at, "`\\u` needs four hexadecimal digits"))
                }
            }
            _ => Err(self.problem_at(at, "unknown escape in a string")),
        }
    }

    fn problem(&self, problem: &'static str) -> SyntaxError {
        self.problem_at(self.at, problem)
    }

    fn problem_at(&self, at: usize, problem: &'static str) -> SyntaxError {
        let (line, column) = place(self.bytes(), at);
        SyntaxError { problem, line, column }
    }
}

/// Line and column of a byte, both from 1.
pub(crate) fn place(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = &bytes[..at.min(bytes.len())];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + memchr::memrchr(b'\n', before).map_or(before.len(), |newline| before.len() - newline - 1);
    (line, column)
}

/// The first place from `at` on with a quote, a backslash or a control character, else the end. Eight bytes at a
/// time: strings are nearly all of a request.
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // Sets the high bit of each byte that is zero; of those, the lowest is exact.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c)) | controls;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if *byte < 0x20 || matches!(byte, b'"' | b'\\') {
            return at;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
