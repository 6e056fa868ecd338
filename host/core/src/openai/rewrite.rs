//! The request as an upstream shall get it: the client's bytes with another model, and nothing copied.
//!
//! Only a policy's overlay makes a new body, and even then the bytes of every value that it does not name stay.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};
use smallvec::{SmallVec, smallvec};

use super::Peek;
use super::json::{Kind, Scanner, SyntaxError};

/// A request body in up to three pieces that lie in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestBody {
    pieces: SmallVec<[Bytes; 3]>,
}

/// A model's name as JSON, made once for each deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLiteral(Bytes);

impl ModelLiteral {
    /// The literal of a name.
    pub fn new(name: &str) -> Self {
        Self(Value::from(name).to_string().into())
    }

    /// With its quotes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl RequestBody {
    /// In order, none empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// These, in order; none of them empty.
    pub(super) fn joined(pieces: [Bytes; 3]) -> Self {
        Self { pieces: pieces.into_iter().filter(|piece| !piece.is_empty()).collect() }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl From<Bytes> for RequestBody {
    fn from(whole: Bytes) -> Self {
        Self { pieces: if whole.is_empty() { SmallVec::new() } else { smallvec![whole] } }
    }
}

impl IntoIterator for RequestBody {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 3]>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

/// The body with another model; the same body if that is the model already. `body` must be what was
/// [peeked](super::peek) at.
pub fn with_model(body: &Bytes, peek: &Peek, model: &ModelLiteral) -> RequestBody {
    let span = peek.model_span.clone();
    if span.is_empty() {
        let named = [b"\"model\":", &*model.0, b","].concat().into();
        return RequestBody::joined([body.slice(..span.start), named, body.slice(span.end..)]);
    }
    if body.get(span.clone()).is_none_or(|present| present == model.0) {
        return body.clone().into();
    }
    RequestBody::joined([body.slice(..span.start), model.0.clone(), body.slice(span.end..)])
}

/// The body with an overlay (RFC 7396) laid over it, to be followed by [`with_model`] on the result's own peek.
///
/// `model`, `stream` and `stream_options` of the overlay are passed over: what is asked for is the plan's business,
/// and how it is delivered is the client's.
///
/// # Errors
/// When the body is not a JSON object, which [`peek`](super::peek) would have refused.
pub fn with_overlay(body: &[u8], overlay: &Map<String, Value>) -> Result<Bytes, SyntaxError> {
    let text = String::from_utf8_lossy(body);
    let mut out = BytesMut::with_capacity(body.len() + 256);
    merge(&mut Scanner::new(&text), overlay, |key| !KEPT.contains(&key), &mut out)?;
    Ok(out.freeze())
}

/// What an overlay cannot change.
pub const KEPT: [&str; 3] = ["model", "stream", "stream_options"];

/// Copies the object that comes next and changes what the patch names.
fn merge(
    scanner: &mut Scanner<'_>,
    patch: &Map<String, Value>,
    allowed: fn(&str) -> bool,
    out: &mut BytesMut,
) -> Result<(), SyntaxError> {
    let mut pending: Vec<(&String, &Value)> = patch.iter().filter(|(key, _)| allowed(key)).collect();
    let mut members = Members::open(out);
    scanner.object(|inner, key| {
        let name = key.decode();
        let named = pending.iter().position(|(wanted, _)| **wanted == name);
        // A second one of the same name goes the way of the first.
        let change = named.map(|place| pending[place].1).or_else(|| patch.get(&*name).filter(|_| allowed(&name)));
        match change {
            None => {
                let raw = inner.raw()?;
                members.key(key.raw).extend_from_slice(raw.as_bytes());
            }
            Some(Value::Object(nested)) if inner.kind()? == Kind::Object => {
                merge(inner, nested, |_| true, members.key(key.raw))?;
            }
            Some(Value::Null) => inner.skip()?,
            Some(value) => {
                inner.skip()?;
                members.key(key.raw).extend_from_slice(without_nulls(value).to_string().as_bytes());
            }
        }
        if let Some(place) = named {
            pending.remove(place);
        }
        Ok(())
    })?;
    for (key, value) in pending.into_iter().filter(|(_, value)| !value.is_null()) {
        let quoted = Value::from(key.as_str()).to_string();
        let raw = &quoted[1..quoted.len() - 1];
        members.key(raw).extend_from_slice(without_nulls(value).to_string().as_bytes());
    }
    members.close();
    Ok(())
}

/// A nested patch that has nothing to lie over: its nulls have nothing to remove.
fn without_nulls(patch: &Value) -> Cow<'_, Value> {
    let Value::Object(members) = patch else { return Cow::Borrowed(patch) };
    let kept = members.iter().filter(|(_, value)| !value.is_null());
    Cow::Owned(kept.map(|(key, value)| (key.clone(), without_nulls(value).into_owned())).collect())
}

/// An object that is being written.
struct Members<'a> {
    out: &'a mut BytesMut,
    first: bool,
}

impl<'a> Members<'a> {
    fn open(out: &'a mut BytesMut) -> Self {
        out.extend_from_slice(b"{");
        Self { out, first: true }
    }

    /// Writes a key; the value is to be written to what it returns.
    fn key(&mut self, raw: &str) -> &mut BytesMut {
        if !self.first {
            self.out.extend_from_slice(b",");
        }
        self.first = false;
        for piece in ["\"", raw, "\":"] {
            self.out.extend_from_slice(piece.as_bytes());
        }
        self.out
    }

    fn close(self) {
        self.out.extend_from_slice(b"}");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Endpoint, peek};
    use super::*;

    fn joined(body: &RequestBody) -> Vec<u8> {
        body.pieces().concat()
    }

    #[test]
    fn only_the_model_changes_and_nothing_is_copied() {
        let body = Bytes::from_static(br#"{ "seed":1e2, "model" : "a", "messages":[], "x":12345678901234567890 }"#);
        let peeked = peek(&body, Endpoint::Chat).unwrap();
        let changed = with_model(&body, &peeked, &ModelLiteral::new("b\"c"));
        let wanted = br#"{ "seed":1e2, "model" : "b\"c", "messages":[], "x":12345678901234567890 }"#;
        assert_eq!(joined(&changed), wanted);
        assert_eq!(changed.len(), wanted.len());
        assert_eq!(changed.pieces()[0].as_ptr(), body.as_ptr());

        let same = with_model(&body, &peeked, &ModelLiteral::new("a"));
        assert_eq!(same.pieces().len(), 1);
        assert_eq!(same.pieces()[0].as_ptr(), body.as_ptr());
    }

    #[test]
    fn a_body_that_names_no_model_gets_one() {
        let body = Bytes::from_static(br#" { "input":"x"}"#);
        let peeked = peek(&body, Endpoint::Moderations).unwrap();
        assert_eq!(&*peeked.model, "omni-moderation-latest");
        let changed = with_model(&body, &peeked, &ModelLiteral::new("guard"));
        assert_eq!(joined(&changed), br#" {"model":"guard", "input":"x"}"#);
    }

    fn overlaid(body: &str, patch: Value) -> String {
        let Value::Object(patch) = patch else { panic!("a patch is an object") };
        String::from_utf8(with_overlay(body.as_bytes(), &patch).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn an_overlay_changes_what_it_names() {
        let body = r#"{"a":1.50,"b":{"c": [1, 2],"d":2},"e":3}"#;
        assert_eq!(overlaid(body, json!({"a": 2})), r#"{"a":2,"b":{"c": [1, 2],"d":2},"e":3}"#);
        assert_eq!(overlaid(body, json!({"e": null, "zz": null})), r#"{"a":1.50,"b":{"c": [1, 2],"d":2}}"#);
        assert_eq!(overlaid(body, json!({"b": {"d": null, "f": 1}})), r#"{"a":1.50,"b":{"c":[1, 2],"f":1},"e":3}"#);
        assert_eq!(
            overlaid(body, json!({"e": {"x": {"y": null}}})),
            r#"{"a":1.50,"b":{"c": [1, 2],"d":2},"e":{"x":{}}}"#
        );
        assert_eq!(overlaid("{}", json!({"a\"": {"b": 1}})), r#"{"a\"":{"b":1}}"#);
        assert_eq!(overlaid(r#"{"a":1,"a":2}"#, json!({"a": null})), "{}");
    }

    #[test]
    fn an_overlay_changes_neither_model_nor_stream() {
        let body = r#"{"model":"m","stream":false}"#;
        let patch = json!({"model": "x", "stream": true, "stream_options": {"include_usage": true}});
        assert_eq!(overlaid(body, patch), body);
        // deeper down the names mean something else
        assert_eq!(overlaid(r#"{"x":{"model":1}}"#, json!({"x": {"model": 2}})), r#"{"x":{"model":2}}"#);
    }

    #[test]
    fn an_overlay_needs_an_object_below_it() {
        let error = with_overlay(b"[]", &Map::new()).unwrap_err();
        assert_eq!(error.to_string(), "expected an object at line 1, column 1");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// RFC 7396, section 2, word for word.
    fn merge_patch(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = target.as_object().cloned().unwrap_or_default();
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                let below = target.get(key).cloned().unwrap_or_default();
                target.insert(key.clone(), merge_patch(&below, value));
            }
        }
        Value::Object(target)
    }

    proptest! {
        #[test]
        fn an_overlay_is_a_merge_patch(target in value(), patch in value()) {
            let (Value::Object(_), Value::Object(members)) = (&target, &patch) else { return Ok(()) };
            let merged = with_overlay(target.to_string().as_bytes(), members).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&merged).unwrap(), merge_patch(&target, &patch));
        }
    }
}
