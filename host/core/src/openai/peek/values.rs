//! Values of single fields, each of one type, or refused in OpenAI's words.

use crate::openai::RequestError;
use crate::openai::json::{Kind, Scanner, Span, Text};

/// The string that comes next, and where it is with its quotes.
pub(super) fn string(scanner: &mut Scanner<'_>, field: &'static str) -> Result<(Box<str>, Span), RequestError> {
    let got = scanner.kind()?;
    if got != Kind::String {
        return Err(RequestError::WrongType { field, expected: "a string", got });
    }
    let start = scanner.at();
    let text = scanner.string()?.decode();
    Ok((text.into(), start..scanner.at()))
}

pub(super) fn boolean(scanner: &mut Scanner<'_>, field: &'static str) -> Result<bool, RequestError> {
    let got = scanner.kind()?;
    if got != Kind::Boolean {
        return Err(RequestError::WrongType { field, expected: "a boolean", got });
    }
    Ok(scanner.raw()? == "true")
}

/// A limit of output tokens. -1 is llama.cpp's word for none, and other servers judge it themselves.
pub(super) fn output_limit(scanner: &mut Scanner<'_>, field: &'static str) -> Result<Option<u32>, RequestError> {
    let tokens = whole(scanner, field, -1)?;
    Ok(u32::try_from(tokens).ok())
}

pub(super) fn choices(scanner: &mut Scanner<'_>) -> Result<u32, RequestError> {
    let choices = whole(scanner, "n", 1)?;
    Ok(u32::try_from(choices).unwrap_or(1))
}

/// A whole number from `minimum` on, clamped to what a policy can be told (below 2^31).
fn whole(scanner: &mut Scanner<'_>, field: &'static str, minimum: i64) -> Result<i64, RequestError> {
    let got = scanner.kind()?;
    if got != Kind::Number {
        return Err(RequestError::WrongType { field, expected: "an integer", got });
    }
    let raw = scanner.raw()?;
    // `3.0` is how some clients write 3.
    let value = raw.parse::<f64>().ok().filter(|value| value.fract() == 0.0 && *value >= minimum as f64);
    value.map(|value| value.min(f64::from(i32::MAX)) as i64).ok_or_else(|| RequestError::NotInRange {
        field,
        minimum,
        got: raw.to_owned(),
    })
}

/// Passes over the object that comes next, but for the strings that are its members of this name.
pub(super) fn strings_of(
    scanner: &mut Scanner<'_>,
    name: &str,
    mut read: impl FnMut(Text<'_>),
) -> Result<(), RequestError> {
    scanner.object(|inner, key| {
        if key.raw == name && inner.kind()? == Kind::String {
            read(inner.string()?);
        } else {
            inner.skip()?;
        }
        Ok(())
    })
}
