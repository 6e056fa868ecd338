//! Vectors as base64, for a client that asked for that and an upstream that gives numbers all the same.
//!
//! OpenAI's SDKs ask for base64 when their caller says nothing, and some decode what comes without looking at it. An
//! answer is changed only where it has numbers and the request says `base64`; all its other bytes stay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::AnswerBody;

/// The answer as the request asks for it.
pub(super) fn as_asked(answer: AnswerBody, request: &[u8]) -> AnswerBody {
    if !has_numbers(answer.beginning()) || !asks_for_base64(request) {
        return answer;
    }
    match answer {
        AnswerBody::Whole(body) => {
            let mut vectors = Vectors::default();
            let mut changed = vectors.push(&body);
            changed.extend_from_slice(&vectors.rest());
            AnswerBody::Whole(changed.into())
        }
        AnswerBody::Long(long) => AnswerBody::Long(Box::new(long.with(Vectors::default()))),
    }
}

/// Changes an answer that comes in pieces.
#[derive(Default)]
pub(super) struct Vectors {
    place: Place,
    escaped: bool,
    next: Next,
    /// The text of the vector that has begun, without its brackets.
    vector: Option<Vec<u8>>,
}

/// Where the next byte is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    OutsideStrings,
    /// In a string that begins with so many bytes of [`KEY`], and has no others.
    InKey(usize),
    InAnotherString,
}

/// What would make the next byte part of `"embedding": [`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Nothing,
    Colon,
    Bracket,
}

impl Vectors {
    /// What can be passed on of it; may be empty.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for byte in piece {
            self.take(*byte, &mut out);
        }
        out
    }

    /// At the end of an answer that broke off within a vector.
    pub(super) fn rest(&mut self) -> Bytes {
        self.vector.take().map_or_else(Bytes::new, |text| [b"[", &text[..]].concat().into())
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let Some(text) = &mut self.vector {
            match byte {
                b']' => {
                    match encoded(text) {
                        Some(vector) => out.extend_from_slice(vector.as_bytes()),
                        None => out.extend_from_slice(&[b"[", &text[..], b"]"].concat()),
                    }
                    self.vector = None;
                    return;
                }
                b'"' | b'[' | b'{' => {}
                _ if text.len() == LONGEST => {}
                _ => return text.push(byte),
            }
            // No vector of numbers: it stays what it is.
            out.extend_from_slice(&self.rest());
        }
        if self.place != Place::OutsideStrings {
            self.place = self.within_string(byte);
        } else {
            self.next = match (byte, self.next) {
                (b' ' | b'\t' | b'\r' | b'\n', next) => next,
                (b':', Next::Colon) => Next::Bracket,
                (b'[', Next::Bracket) => {
                    self.next = Next::Nothing;
                    self.vector = Some(Vec::new());
                    return;
                }
                (b'"', _) => {
                    self.place = Place::InKey(0);
                    Next::Nothing
                }
                _ => Next::Nothing,
            };
        }
        out.push(byte);
    }

    fn within_string(&mut self, byte: u8) -> Place {
        if std::mem::take(&mut self.escaped) {
            return Place::InAnotherString;
        }
        match (byte, self.place) {
            (b'\\', _) => {
                self.escaped = true;
                Place::InAnotherString
            }
            (b'"', place) => {
                self.next = if place == Place::InKey(KEY.len()) { Next::Colon } else { Next::Nothing };
                Place::OutsideStrings
            }
            (byte, Place::InKey(at)) if KEY.get(at) == Some(&byte) => Place::InKey(at + 1),
            _ => Place::InAnotherString,
        }
    }
}

/// The numbers as OpenAI packs them: 32 bits each, little-endian. With the quotes.
fn encoded(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?.trim();
    let mut bytes = Vec::with_capacity(text.len() / 2);
    if !text.is_empty() {
        for number in text.split(',') {
            let number: f32 = number.trim().parse().ok().filter(|number: &f32| number.is_finite())?;
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    Some(format!("\"{}\"", STANDARD.encode(bytes)))
}

fn has_numbers(beginning: &[u8]) -> bool {
    memmem::find_iter(beginning, b"\"embedding\"").any(|at| {
        let value = beginning[at + KEY.len() + 2..].trim_ascii_start().strip_prefix(b":");
        value.is_some_and(|value| value.trim_ascii_start().starts_with(b"["))
    })
}

fn asks_for_base64(request: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(borrow)]
        encoding_format: Option<&'a RawValue>,
    }
    serde_json::from_slice::<Asked<'_>>(request)
        .is_ok_and(|asked| asked.encoding_format.is_some_and(|format| format.get() == "\"base64\""))
}

const KEY: &[u8] = b"embedding";
/// Bytes of one vector's text: ten times the largest that is in use.
const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: &[u8] = br#"{"model":"m","input":"[x]","encoding_format" : "base64"}"#;
    /// 1 and 2 are `AACAPwAAAEA=`.
    const NUMBERS: &str = r#"{"object":"list","data":[{"object":"embedding","embedding": [1, 2.0],"index":0},{"embedding":[],"x":"a\"embedding\":[1]"}],"usage":{"prompt_tokens":3}}"#;
    const PACKED: &str = r#"{"object":"list","data":[{"object":"embedding","embedding": "AACAPwAAAEA=","index":0},{"embedding":"","x":"a\"embedding\":[1]"}],"usage":{"prompt_tokens":3}}"#;

    fn asked(answer: &str, request: &[u8]) -> String {
        match as_asked(AnswerBody::Whole(Bytes::copy_from_slice(answer.as_bytes())), request) {
            AnswerBody::Whole(body) => String::from_utf8_lossy(&body).into_owned(),
            AnswerBody::Long(_) => "long".to_owned(),
        }
    }

    #[test]
    fn numbers_become_base64_where_the_request_says_so_and_nowhere_else() {
        assert_eq!(asked(NUMBERS, ASKS), PACKED);
        for other in [r#"{"encoding_format":"float"}"#, "{}", r#"{"x":{"encoding_format":"base64"}}"#] {
            assert_eq!(asked(NUMBERS, other.as_bytes()), NUMBERS);
        }
        assert_eq!(asked(PACKED, ASKS), PACKED);
    }

    #[test]
    fn it_does_not_matter_how_the_answer_is_cut() {
        for length in 1..NUMBERS.len() {
            let mut vectors = Vectors::default();
            let mut got: Vec<u8> = NUMBERS.as_bytes().chunks(length).flat_map(|piece| vectors.push(piece)).collect();
            got.extend_from_slice(&vectors.rest());
            assert_eq!(String::from_utf8_lossy(&got), PACKED, "in pieces of {length}");
        }
    }

    #[test]
    fn what_is_no_vector_of_numbers_stays() {
        for odd in [
            r#"{"embedding":[[1,2],[3]]}"#,
            r#"{"embedding":["1"]}"#,
            r#"{"embedding":[1,null]}"#,
            r#"{"embedding":[1e99]}"#,
            r#"{"embedding":[1,2"#,
            r#"{"embedding":{"a":[1]}}"#,
        ] {
            assert_eq!(asked(odd, ASKS), odd);
        }
        let longest = |length: usize| format!(r#"{{"embedding":[{}1]}}"#, " ".repeat(length - 1));
        assert_eq!(asked(&longest(LONGEST), ASKS), r#"{"embedding":"AACAPw=="}"#);
        assert_eq!(asked(&longest(LONGEST + 1), ASKS), longest(LONGEST + 1));
    }
}
