//! Several requests for embeddings as one, and the answer to it as theirs.
//!
//! Nothing is parsed into values: inputs, parameters and vectors go through as the bytes that they are. Requests may be
//! sent as one when they ask for the same in the same words but for their inputs, and all these are texts, or all are
//! tokens.

use bytes::Bytes;

use super::json::{Kind, Scanner, Span, SyntaxError};
use super::rewrite::ModelLiteral;

/// One request, as a part of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    likeness: Likeness,
    inputs: Box<[Span]>,
    bytes: usize,
}

/// What requests that are sent as one have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// Whether inputs are lists of tokens.
    tokens: bool,
    /// All members but `model` and `input`, in order, each with a comma after it.
    parameters: Box<str>,
}

/// The share of one request in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many inputs it has.
    pub inputs: usize,
    /// How long they are.
    pub bytes: usize,
}

/// Why an answer cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Not JSON.
    #[error("the answer is not UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("the answer is not JSON: {0}")]
    Syntax(#[from] SyntaxError),
    /// Too few or too many, or an index that is none.
    #[error("the answer does not have one embedding for each of {inputs} inputs")]
    Count {
        /// As many were sent.
        inputs: usize,
    },
}

impl Part {
    /// A request as a part; `None` when it must be sent by itself. `body` must have been
    /// [peeked](super::peek()) at.
    pub fn of(body: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(str::from_utf8(body).ok()?);
        let mut members: Vec<(&str, &str)> = Vec::new();
        let mut inputs = None;
        scanner
            .object::<SyntaxError>(|inner, key| {
                match &*key.decode() {
                    "model" => inner.skip()?,
                    "input" => inputs = Inputs::read(inner)?,
                    _ => members.push((key.raw, inner.raw()?)),
                }
                Ok(())
            })
            .ok()?;
        let Inputs { spans, tokens } = inputs?;
        members.sort_unstable();
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let parameters: String = members.iter().map(|(key, value)| format!("\"{key}\":{value},")).collect();
        let bytes = spans.iter().map(Span::len).sum();
        Some(Self { likeness: Likeness { tokens, parameters: parameters.into() }, inputs: spans.into(), bytes })
    }

    /// What it has in common with others that it may be sent with.
    pub fn likeness(&self) -> &Likeness {
        &self.likeness
    }

    /// What it asks for.
    pub fn share(&self) -> Share {
        Share { inputs: self.inputs.len(), bytes: self.bytes }
    }
}

struct Inputs {
    spans: Vec<Span>,
    tokens: bool,
}

impl Inputs {
    /// A text, texts, tokens, or lists of tokens; `None` for anything else, and for none.
    fn read(scanner: &mut Scanner<'_>) -> Result<Option<Self>, SyntaxError> {
        let kind = scanner.kind()?;
        let start = scanner.at();
        if kind != Kind::Array {
            scanner.skip()?;
            let one = Self { spans: std::iter::once(start..scanner.at()).collect(), tokens: false };
            return Ok((kind == Kind::String).then_some(one));
        }
        let (mut spans, mut kinds) = (Vec::new(), Vec::new());
        scanner.array::<SyntaxError>(|inner| {
            kinds.push(inner.kind()?);
            let start = inner.at();
            inner.skip()?;
            spans.push(start..inner.at());
            Ok(())
        })?;
        let all = |wanted| !kinds.is_empty() && kinds.iter().all(|kind| *kind == wanted);
        Ok(if all(Kind::Number) {
            Some(Self { spans: std::iter::once(start..scanner.at()).collect(), tokens: true })
        } else if all(Kind::String) || all(Kind::Array) {
            Some(Self { spans, tokens: kinds.first() == Some(&Kind::Array) })
        } else {
            None
        })
    }
}

/// One request with the inputs of all parts, which must be alike.
pub fn merge<'a>(model: &ModelLiteral, parts: impl IntoIterator<Item = (&'a Bytes, &'a Part)> + Clone) -> Bytes {
    let mut merged = Vec::new();
    merged.extend_from_slice(b"{\"model\":");
    merged.extend_from_slice(model.bytes());
    merged.push(b',');
    let parameters = parts.clone().into_iter().next().map_or("", |(_, part)| &*part.likeness.parameters);
    merged.extend_from_slice(parameters.as_bytes());
    merged.extend_from_slice(b"\"input\":");
    let mut before = b'[';
    for (body, part) in parts {
        for span in &part.inputs {
            merged.push(before);
            merged.extend_from_slice(&body[span.clone()]);
            before = b',';
        }
    }
    merged.extend_from_slice(b"]}");
    merged.into()
}

/// The answer to each part, in their order: its own embeddings with their own indices, its share of the usage, and
/// everything else as it came.
///
/// # Errors
/// When that is not possible.
pub fn split(answer: &[u8], shares: &[Share]) -> Result<Vec<Bytes>, SplitError> {
    let text = str::from_utf8(answer).map_err(|_| SplitError::NotUtf8)?;
    let count = shares.iter().map(|share| share.inputs).sum();
    let (mut members, mut embeddings, mut extra) = (Vec::new(), vec![None; count], false);
    let mut scanner = Scanner::new(text);
    scanner.object::<SyntaxError>(|inner, key| {
        let value = match (key.raw, inner.kind()?) {
            ("data", Kind::Array) => {
                let mut place = 0;
                inner.array::<SyntaxError>(|inner| {
                    let embedding = Embedding::read(text, inner, place)?;
                    place += 1;
                    match embeddings.get_mut(embedding.index) {
                        Some(free @ None) => *free = Some(embedding),
                        Some(Some(_)) | None => extra = true,
                    }
                    Ok(())
                })?;
                Member::Data
            }
            ("usage", _) => Member::Usage(inner.raw()?),
            _ => Member::Other(inner.raw()?),
        };
        members.push((key.raw, value));
        Ok(())
    })?;
    scanner.end()?;
    let embeddings: Option<Vec<Embedding<'_>>> = embeddings.into_iter().collect();
    let embeddings = embeddings.filter(|_| !extra).ok_or(SplitError::Count { inputs: count })?;
    let weights: Vec<u64> = shares.iter().map(|share| share.bytes as u64).collect();
    let mut answers = vec![Vec::from(b"{"); shares.len()];
    for (place, (key, member)) in members.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let usage = match member {
            Member::Usage(raw) => apportion(raw, &weights)?,
            Member::Data | Member::Other(_) => Vec::new(),
        };
        let mut begin = 0;
        for (number, (answer, share)) in answers.iter_mut().zip(shares).enumerate() {
            answer.extend_from_slice(format!("{comma}\"{key}\":").as_bytes());
            let own = &embeddings[begin..begin + share.inputs];
            begin += share.inputs;
            match member {
                Member::Other(raw) => answer.extend_from_slice(raw.as_bytes()),
                Member::Usage(_) => answer.extend_from_slice(usage[number].as_bytes()),
                Member::Data => write_data(answer, own),
            }
        }
    }
    Ok(answers
        .into_iter()
        .map(|mut answer| {
            answer.push(b'}');
            answer.into()
        })
        .collect())
}

enum Member<'a> {
    Data,
    Usage(&'a str),
    Other(&'a str),
}

/// One of `data`, as it stands there.
#[derive(Clone, Debug)]
struct Embedding<'a> {
    raw: &'a str,
    index: usize,
    /// Where `raw` has the index.
    span: Option<Span>,
}

impl<'a> Embedding<'a> {
    /// The next value; without an index of its own it is that of its place.
    fn read(text: &'a str, scanner: &mut Scanner<'a>, place: usize) -> Result<Self, SyntaxError> {
        scanner.kind()?;
        let start = scanner.at();
        let (mut index, mut span) = (place, None);
        scanner.object::<SyntaxError>(|inner, key| {
            if key.raw == "index" && inner.kind()? == Kind::Number {
                let at = inner.at() - start;
                let raw = inner.raw()?;
                // One that is no place is none of ours.
                index = raw.parse().unwrap_or(usize::MAX);
                span = Some(at..at + raw.len());
                return Ok(());
            }
            inner.skip()
        })?;
        Ok(Self { raw: &text[start..scanner.at()], index, span })
    }
}

fn write_data(answer: &mut Vec<u8>, embeddings: &[Embedding<'_>]) {
    answer.push(b'[');
    for (index, Embedding { raw, span, .. }) in embeddings.iter().enumerate() {
        if index > 0 {
            answer.push(b',');
        }
        match span {
            Some(span) => {
                let (before, after) = (&raw[..span.start], &raw[span.end..]);
                answer.extend_from_slice(before.as_bytes());
                answer.extend_from_slice(index.to_string().as_bytes());
                answer.extend_from_slice(after.as_bytes());
            }
            None => answer.extend_from_slice(raw.as_bytes()),
        }
    }
    answer.push(b']');
}

/// The usage of each: every count is divided by weight, so that the sum is what the upstream says.
fn apportion(usage: &str, weights: &[u64]) -> Result<Vec<String>, SyntaxError> {
    let mut shares = vec![String::new(); weights.len()];
    divide(&mut Scanner::new(usage), weights, &mut shares)?;
    Ok(shares)
}

fn divide(scanner: &mut Scanner<'_>, weights: &[u64], shares: &mut [String]) -> Result<(), SyntaxError> {
    let all = |shares: &mut [String], text: &str| shares.iter_mut().for_each(|share| share.push_str(text));
    if scanner.kind()? == Kind::Object {
        let mut before = "{";
        scanner.object::<SyntaxError>(|inner, key| {
            all(shares, &format!("{before}\"{}\":", key.raw));
            before = ",";
            divide(inner, weights, shares)
        })?;
        all(shares, if before == "{" { "{}" } else { "}" });
        return Ok(());
    }
    let raw = scanner.raw()?;
    match raw.parse() {
        Ok(total) => {
            for (share, part) in shares.iter_mut().zip(divided(total, weights)) {
                share.push_str(&part.to_string());
            }
        }
        Err(_) => all(shares, raw),
    }
    Ok(())
}

/// A whole number in whole parts: the largest remainders are rounded up.
fn divided(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight).max(1)).sum();
    let exact = |weight: u64| u128::from(total) * u128::from(weight.max(1));
    let mut parts: Vec<u64> = weights.iter().map(|weight| (exact(*weight) / sum) as u64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(exact(weights[*place]) % sum));
    let missing = total - parts.iter().sum::<u64>();
    for place in order.into_iter().take(usize::try_from(missing).unwrap_or(0)) {
        parts[place] += 1;
    }
    parts
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(body: &str) -> Option<Part> {
        Part::of(body.as_bytes())
    }

    fn merged(bodies: &[&str]) -> String {
        let bodies: Vec<Bytes> = bodies.iter().map(|body| Bytes::copy_from_slice(body.as_bytes())).collect();
        let parts: Vec<Part> = bodies.iter().map(|body| Part::of(body).unwrap()).collect();
        String::from_utf8(merge(&ModelLiteral::new("real"), bodies.iter().zip(&parts)).to_vec()).unwrap()
    }

    #[test]
    fn inputs_are_joined_in_order_as_they_are_written() {
        let body = merged(&[
            r#"{"model":"m","input":"a\u0062","user":"u", "dimensions": 3}"#,
            r#"{"dimensions": 3,"input":["c", "d"],"user":"u","model":"m"}"#,
        ]);
        assert_eq!(body, r#"{"model":"real","dimensions":3,"user":"u","input":["a\u0062","c","d"]}"#);
        let tokens = merged(&[r#"{"model":"m","input":[1, 2]}"#, r#"{"model":"m","input":[[3],[4,5]]}"#]);
        assert_eq!(tokens, r#"{"model":"real","input":[[1, 2],[3],[4,5]]}"#);
    }

    #[test]
    fn only_what_asks_for_the_same_is_alike() {
        let like = |left: &str, right: &str| part(left).unwrap().likeness() == part(right).unwrap().likeness();
        let plain = r#"{"model":"m","input":"a"}"#;
        assert!(like(plain, r#"{"input":["b","c"],"model":"m"}"#));
        for other in [
            r#"{"model":"m","input":"a","user":"u"}"#,
            r#"{"model":"m","input":"a","dimensions":3}"#,
            r#"{"model":"m","input":"a","encoding_format":"base64"}"#,
            r#"{"model":"m","input":[1]}"#,
        ] {
            assert!(!like(plain, other), "{other}");
        }
    }

    #[test]
    fn what_is_no_input_is_sent_by_itself() {
        for odd in ["[]", "7", "null", "{}", r#"["a",1]"#, r#"[["a"],"b"]"#, "[null]"] {
            assert_eq!(part(&format!(r#"{{"model":"m","input":{odd}}}"#)), None, "{odd}");
        }
        assert_eq!(part(r#"{"model":"m","input":"a","user":"u","user":"v"}"#), None);
    }

    fn shares(shares: &[(usize, usize)]) -> Vec<Share> {
        shares.iter().map(|(inputs, bytes)| Share { inputs: *inputs, bytes: *bytes }).collect()
    }

    fn told(answer: &str, of: &[(usize, usize)]) -> Result<Vec<String>, String> {
        let answers = split(answer.as_bytes(), &shares(of)).map_err(|error| error.to_string())?;
        Ok(answers.into_iter().map(|answer| String::from_utf8(answer.to_vec()).unwrap()).collect())
    }

    #[test]
    fn each_gets_its_own_embeddings_and_its_share_of_the_usage() {
        let answer = r#"{"model":"real","data":[{"index":2,"embedding":[2.50]},{"embedding":"AA=","index": 0 },
            {"object":"embedding","index":1,"embedding":[1e0]}],"usage":{"prompt_tokens":10,"total_tokens":10,"details":{"cached":3},"by":"me"},"x":{"index":5}}"#;
        let answers = told(answer, &[(2, 30), (1, 10)]).unwrap();
        assert_eq!(
            answers[0],
            r#"{"model":"real","data":[{"embedding":"AA=","index": 0 },{"object":"embedding","index":1,"embedding":[1e0]}],"usage":{"prompt_tokens":8,"total_tokens":8,"details":{"cached":2},"by":"me"},"x":{"index":5}}"#
        );
        assert_eq!(
            answers[1],
            r#"{"model":"real","data":[{"index":0,"embedding":[2.50]}],"usage":{"prompt_tokens":2,"total_tokens":2,"details":{"cached":1},"by":"me"},"x":{"index":5}}"#
        );
        // without indices the order counts
        let plain = told(r#"{"data":[{"embedding":[0]},{"embedding":[1]}]}"#, &[(1, 1), (1, 1)]).unwrap();
        assert_eq!(plain, [r#"{"data":[{"embedding":[0]}]}"#, r#"{"data":[{"embedding":[1]}]}"#]);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_told() {
        let count = Err("the answer does not have one embedding for each of 2 inputs".to_owned());
        for answer in [
            r#"{"data":[{"index":0}]}"#,
            r#"{"data":[{"index":0},{"index":0}]}"#,
            r#"{"data":[{"index":0},{"index":2}]}"#,
            r#"{"data":[{"index":0},{"index":1},{"index":2}]}"#,
            r#"{"data":[{"index":-1},{"index":1}]}"#,
            r#"{"data":null}"#,
            "{}",
        ] {
            assert_eq!(told(answer, &[(1, 1), (1, 1)]), count, "{answer}");
        }
        let message = "the answer is not JSON: expected an object at line 1, column 10".to_owned();
        assert_eq!(told(r#"{"data":[7]}"#, &[(1, 1)]), Err(message));
        assert_eq!(split(b"\xff", &shares(&[(1, 1)])), Err(SplitError::NotUtf8));
    }

    proptest! {
        #[test]
        fn no_token_is_lost_or_counted_twice(total in any::<u32>(), weights in prop::collection::vec(0..1000_u64, 1..40)) {
            let parts = divided(total.into(), &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), u64::from(total));
        }

        #[test]
        fn what_was_merged_comes_apart_again(texts in prop::collection::vec(prop::collection::vec("[a\"\\\\é]{0,5}", 1..4), 1..6)) {
            let bodies: Vec<Bytes> = texts.iter()
                .map(|texts| serde_json::json!({"model": "m", "input": texts}).to_string().into())
                .collect();
            let parts: Vec<Part> = bodies.iter().map(|body| Part::of(body).unwrap()).collect();
            let merged = merge(&ModelLiteral::new("m"), bodies.iter().zip(&parts));
            let merged: serde_json::Value = serde_json::from_slice(&merged).unwrap();
            let data: Vec<_> = merged["input"].as_array().unwrap().iter().enumerate()
                .map(|(index, text)| serde_json::json!({"index": index, "embedding": text}))
                .collect();
            let answer = serde_json::json!({"data": data}).to_string();
            let shares: Vec<Share> = parts.iter().map(Part::share).collect();
            let answers = split(answer.as_bytes(), &shares).unwrap();
            for (answer, texts) in answers.iter().zip(&texts) {
                let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
                let got: Vec<_> = answer["data"].as_array().unwrap().iter().enumerate()
                    .map(|(index, item)| (item["index"] == index, item["embedding"].as_str().unwrap().to_owned()))
                    .collect();
                let wanted: Vec<_> = texts.iter().map(|text| (true, text.clone())).collect();
                prop_assert_eq!(got, wanted);
            }
        }
    }
}
