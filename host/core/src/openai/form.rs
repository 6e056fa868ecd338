//! Reads what routing needs out of a `multipart/form-data` body (RFC 7578), in pieces as they come, and keeps nothing
//! but the few short values that it reads.
//!
//! The whole body is looked at, also what comes after the model: a second `model`, which servers might take instead of
//! the first, and a form without its end are found wherever they are. The bytes themselves are forwarded as they came.

use bytes::Bytes;
use memchr::memmem;

use super::json::Span;
use super::rewrite::RequestBody;
use super::{Endpoint, Peek, RequestError};

/// What is wrong with a form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Nothing can be told apart without it.
    #[error("the header `Content-Type` names no boundary of 1 to 70 characters")]
    NoBoundary,
    /// The first boundary did not come.
    #[error("it does not begin with its boundary")]
    NoBeginning,
    /// The last boundary did not come.
    #[error("it ends before its last boundary")]
    Truncated,
    /// What follows a boundary is neither a part nor the end.
    #[error("a boundary is followed by something else than a line end")]
    AfterBoundary,
    /// The headers of a part do not end.
    #[error("the headers of a part are longer than {LONGEST_HEAD} bytes")]
    LongHead,
    /// A part without a name, or with two.
    #[error("a part does not have exactly one name in its header `Content-Disposition`")]
    NoName,
    /// `model` is a file.
    #[error("`model` is sent as a file; send it as a plain field")]
    ModelIsFile,
    /// `model` is too long to be a name, or is not UTF-8.
    #[error("the value of `model` is not a text of at most {LONGEST_VALUE} bytes")]
    ModelIsNoName,
}

/// The boundary that a content type names: `multipart/form-data; boundary=...`. `None` for another content type.
///
/// # Errors
/// When it is a form, but without a boundary.
pub fn boundary(content_type: &[u8]) -> Option<Result<Vec<u8>, FormError>> {
    let mut parameters = Parameters(content_type);
    if !parameters.word().eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let found = parameters.find_map(|(name, value)| name.eq_ignore_ascii_case(b"boundary").then_some(value));
    Some(found.filter(|boundary| (1..=LONGEST_BOUNDARY).contains(&boundary.len())).ok_or(FormError::NoBoundary))
}

/// A form on its way.
#[derive(Clone, Debug)]
pub struct Form {
    /// With the line end and the dashes before it.
    delimiter: Box<[u8]>,
    state: State,
    /// What may be the beginning of a delimiter, or the head of a part as far as it has come.
    carried: Vec<u8>,
    /// Bytes that have been looked at, without what is carried of a value, but with the line end that is carried at
    /// the beginning: [`BEFORE`] more than have come.
    passed: usize,
    /// Where the first boundary is.
    first: Option<usize>,
    model: Option<(Box<str>, Span)>,
    user: Option<Box<str>>,
    files: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    AfterBoundary,
    Head,
    /// A value; with what it is if that is read.
    Value(Option<Value>),
    Epilogue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    field: Field,
    start: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    User,
}

impl Form {
    /// A form of which nothing has come.
    pub fn new(boundary: &[u8]) -> Self {
        Self {
            delimiter: [b"\r\n--", boundary].concat().into(),
            state: State::Preamble,
            // The first boundary may stand without a line before it.
            carried: BEFORE.to_vec(),
            passed: 0,
            first: None,
            model: None,
            user: None,
            files: 0,
        }
    }

    /// The next piece of the body.
    ///
    /// # Errors
    /// When the form is wrong; nothing may be pushed after that.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), RequestError> {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.state {
                State::Preamble | State::Value(_) => self.until_boundary(rest)?,
                State::AfterBoundary => self.after_boundary(rest)?,
                State::Head => self.head(rest)?,
                State::Epilogue => &[],
            };
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// When the form has not.
    pub fn end(&self) -> Result<(), RequestError> {
        match (&self.state, self.first) {
            (State::Epilogue, _) => Ok(()),
            (_, None) => Err(FormError::NoBeginning.into()),
            (_, Some(_)) => Err(FormError::Truncated.into()),
        }
    }

    /// Whether its last boundary has come.
    pub fn has_ended(&self) -> bool {
        self.state == State::Epilogue
    }

    /// Whether the model is known.
    pub fn has_model(&self) -> bool {
        self.model.is_some()
    }

    /// What has been read so far, as a request to `endpoint`.
    ///
    /// # Errors
    /// When no model is named and the endpoint has none that is taken then.
    pub fn peek(&self, endpoint: Endpoint) -> Result<Peek, RequestError> {
        let (model, model_span) = match (&self.model, endpoint.default_model()) {
            (Some((model, span)), _) => (model.clone(), span.clone()),
            (None, Some(default)) => (default.into(), self.first.unwrap_or(0)..self.first.unwrap_or(0)),
            (None, None) => return Err(RequestError::Missing { field: "model" }),
        };
        if model.is_empty() {
            return Err(RequestError::EmptyModel);
        }
        let of_images = matches!(endpoint, Endpoint::ImageEdits | Endpoint::ImageVariations);
        Ok(Peek {
            endpoint,
            model,
            model_span,
            prompt_span: 0..0,
            system_span: None,
            stream: false,
            include_usage: false,
            max_output_tokens: None,
            choices: 1,
            session: self.user.clone(),
            messages: 0,
            tools: 0,
            images: if of_images { self.files } else { 0 },
            audio: if of_images { 0 } else { self.files },
            previous: None,
            json_schema: false,
            reasoning: false,
            prompt_tokens: 0,
        })
    }

    /// The same body with another model. `body` is all of it, or its beginning as far as it was
    /// [peeked](Self::peek) at; of the rest, nothing changes.
    pub fn with_model(&self, body: &Bytes, peek: &Peek, model: &str) -> RequestBody {
        let span = peek.model_span.clone();
        if body.get(span.clone()).is_none_or(|present| present == model.as_bytes() && !present.is_empty()) {
            return body.clone().into();
        }
        let named = if span.is_empty() && self.model.is_none() {
            let boundary = &self.delimiter[b"\r\n".len()..];
            let head = b"\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
            [boundary, head, model.as_bytes(), b"\r\n"].concat()
        } else {
            model.as_bytes().to_vec()
        };
        RequestBody::joined([body.slice(..span.start), named.into(), body.slice(span.end..)])
    }

    /// Looks for the next boundary; gives what follows it.
    fn until_boundary<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], RequestError> {
        let overlap = self.delimiter.len() - 1;
        if !self.carried.is_empty() {
            let known = self.carried.len();
            self.carried.extend_from_slice(&rest[..rest.len().min(overlap)]);
            if let Some(at) = memmem::find(&self.carried, &self.delimiter) {
                let value = std::mem::take(&mut self.carried);
                let consumed = at + self.delimiter.len() - known;
                self.boundary(&value[..at], self.passed + at)?;
                self.passed += at + self.delimiter.len();
                return Ok(&rest[consumed..]);
            }
            if rest.len() <= overlap {
                let surplus = self.carried.len().saturating_sub(overlap);
                let value: Vec<u8> = self.carried.drain(..surplus).collect();
                self.keep(&value)?;
                self.passed += surplus;
                return Ok(&[]);
            }
            // Whatever begins in what was carried has ended by now.
            self.carried.truncate(known);
            let value = std::mem::take(&mut self.carried);
            self.keep(&value)?;
            self.passed += known;
        }
        if let Some(at) = memmem::find(rest, &self.delimiter) {
            let end = self.passed + at;
            self.boundary(&rest[..at], end)?;
            self.passed = end + self.delimiter.len();
            return Ok(&rest[at + self.delimiter.len()..]);
        }
        let (value, tail) = rest.split_at(rest.len().saturating_sub(overlap));
        self.keep(value)?;
        self.passed += value.len();
        self.carried.extend_from_slice(tail);
        Ok(&[])
    }

    /// More of a value that is perhaps read.
    fn keep(&mut self, value: &[u8]) -> Result<(), RequestError> {
        let State::Value(Some(kept)) = &mut self.state else { return Ok(()) };
        if kept.bytes.len() + value.len() <= LONGEST_VALUE {
            kept.bytes.extend_from_slice(value);
            return Ok(());
        }
        match kept.field {
            Field::Model => Err(FormError::ModelIsNoName.into()),
            Field::User => {
                self.state = State::Value(None);
                Ok(())
            }
        }
    }

    /// A boundary, after the rest of what was before it.
    fn boundary(&mut self, value: &[u8], end: usize) -> Result<(), RequestError> {
        self.keep(value)?;
        match std::mem::replace(&mut self.state, State::AfterBoundary) {
            State::Value(Some(Value { field: Field::Model, start, bytes })) => {
                let model = String::from_utf8(bytes).map_err(|_| FormError::ModelIsNoName)?;
                self.model = Some((model.into(), start - BEFORE.len()..end - BEFORE.len()));
            }
            State::Value(Some(Value { field: Field::User, bytes, .. })) => {
                self.user = String::from_utf8(bytes).ok().map(Into::into).or(self.user.take());
            }
            // Its own line end is before it.
            State::Preamble => self.first = Some(end + b"\r\n".len() - BEFORE.len()),
            State::Value(None) | State::AfterBoundary | State::Head | State::Epilogue => {}
        }
        Ok(())
    }

    /// The rest of the boundary's line.
    fn after_boundary<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], RequestError> {
        for (at, byte) in rest.iter().enumerate() {
            self.carried.push(*byte);
            self.passed += 1;
            let line = self.carried.trim_ascii_start();
            match (&*self.carried, line, byte) {
                (b"--", _, _) => {
                    self.carried.clear();
                    self.state = State::Epilogue;
                    return Ok(&[]);
                }
                (_, b"", b'\n') if self.carried.ends_with(b"\r\n") => {
                    self.carried.clear();
                    self.state = State::Head;
                    return Ok(&rest[at + 1..]);
                }
                (b"-", _, _) | (_, b"", b' ' | b'\t' | b'\r') if self.carried.len() < LONGEST_BOUNDARY => {}
                _ => return Err(FormError::AfterBoundary.into()),
            }
        }
        Ok(&[])
    }

    /// The headers of a part.
    fn head<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], RequestError> {
        for (at, byte) in rest.iter().enumerate() {
            self.carried.push(*byte);
            self.passed += 1;
            if self.carried.len() > LONGEST_HEAD {
                return Err(FormError::LongHead.into());
            }
            if self.carried == b"\r\n" || self.carried.ends_with(b"\r\n\r\n") {
                let head = std::mem::take(&mut self.carried);
                self.part(&head)?;
                // A value may be empty: its delimiter follows at once, and its line end is none of the head's.
                return Ok(&rest[at + 1..]);
            }
        }
        Ok(&[])
    }

    /// A part begins.
    fn part(&mut self, head: &[u8]) -> Result<(), RequestError> {
        let Disposition { name, is_file } = Disposition::of(head)?;
        self.files += u32::from(is_file);
        let field = match &*name {
            b"model" if is_file => return Err(FormError::ModelIsFile.into()),
            b"model" if self.model.is_some() => return Err(RequestError::Duplicate { field: "model" }),
            b"model" => Some(Field::Model),
            b"user" if !is_file => Some(Field::User),
            name if name.eq_ignore_ascii_case(b"model") => {
                let got = String::from_utf8_lossy(name).into_owned();
                return Err(RequestError::ModelInOtherCase { got });
            }
            _ => None,
        };
        self.state = State::Value(field.map(|field| Value { field, start: self.passed, bytes: Vec::new() }));
        Ok(())
    }
}

struct Disposition {
    name: Vec<u8>,
    is_file: bool,
}

impl Disposition {
    /// What the headers of a part say.
    fn of(head: &[u8]) -> Result<Self, FormError> {
        let mut found = None;
        for line in head.split(|byte| *byte == b'\n') {
            let mut halves = line.splitn(2, |byte| *byte == b':');
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
            if !name.trim_ascii().eq_ignore_ascii_case(b"content-disposition") {
                continue;
            }
            let mut parameters = Parameters(value);
            parameters.word();
            let (mut names, mut is_file) = (Vec::new(), false);
            for (name, value) in parameters {
                if name.eq_ignore_ascii_case(b"name") {
                    names.push(value);
                } else {
                    is_file |= name.eq_ignore_ascii_case(b"filename") || name.eq_ignore_ascii_case(b"filename*");
                }
            }
            // Servers differ in which of two they take.
            let [name] = <[Vec<u8>; 1]>::try_from(names).map_err(|_| FormError::NoName)?;
            if found.replace(Self { name, is_file }).is_some() {
                return Err(FormError::NoName);
            }
        }
        found.ok_or(FormError::NoName)
    }
}

/// The parameters of a header's value: `; name=value` or `; name="value"`.
struct Parameters<'a>(&'a [u8]);

impl<'a> Parameters<'a> {
    /// What comes before the first parameter.
    fn word(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b';', self.0).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.trim_ascii()
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.strip_prefix(b";")?.trim_ascii_start();
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
        let (name, rest) = (rest[..end].trim_ascii(), &rest[end..]);
        let Some(value) = rest.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else {
            self.0 = rest;
            return Some((name, Vec::new()));
        };
        let Some(quoted) = value.strip_prefix(b"\"") else {
            self.0 = value;
            return Some((name, self.word().to_vec()));
        };
        let (mut value, mut at) = (Vec::new(), 0);
        while let Some(byte) = quoted.get(at) {
            match byte {
                b'"' => break,
                b'\\' if matches!(quoted.get(at + 1), Some(b'"' | b'\\')) => {
                    at += 1;
                    value.push(quoted[at]);
                }
                byte => value.push(*byte),
            }
            at += 1;
        }
        self.0 = quoted.get(at + 1..).unwrap_or_default();
        let end = memchr::memchr(b';', self.0).unwrap_or(self.0.len());
        self.0 = &self.0[end..];
        Some((name, value))
    }
}

/// Stands before the body, whose first boundary may have no line end before it.
const BEFORE: &[u8] = b"\r\n";
/// As RFC 2046 has it.
const LONGEST_BOUNDARY: usize = 70;
/// Bytes of a part's headers; a name and a content type take a hundred.
const LONGEST_HEAD: usize = 8 << 10;
/// Bytes of a value that is read.
const LONGEST_VALUE: usize = 1024;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
