//! JSON whose values are copied as they came: members of an object in their order, and a writer that takes them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::openai::json::Kind;

/// An object's members, in their order.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// `None` when the text is not an object.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// `None` when the value is not an object.
    pub(crate) fn of(value: &'a RawValue) -> Option<Self> {
        Self::parse(value.get())
    }

    /// Every member that is not null.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().filter(|(_, value)| kind(value) != Kind::Null).map(|(key, value)| (&**key, *value))
    }

    /// Every member, those that are null too.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (&**key, *value))
    }

    /// The object with other values, JSON already, of the members for which there is one.
    pub(crate) fn with(&self, mut other: impl FnMut(&str, &'a RawValue) -> Option<String>) -> String {
        let mut out = Object::new();
        for (key, own) in self.all() {
            out.put(key, other(key, own).as_deref().unwrap_or(own.get()));
        }
        out.finish()
    }

    /// The last one of this name, unless it is null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, value)| *value).filter(|value| kind(value) != Kind::Null)
    }

    /// The member of this name as a text.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text)
    }

    /// The member of this name as an object; empty when there is none.
    pub(crate) fn object(&self, name: &str) -> Self {
        self.get(name).and_then(Self::of).unwrap_or(Self(Vec::new()))
    }

    /// The member of this name as a list; empty when there is none.
    pub(crate) fn list(&self, name: &str) -> Vec<&'a RawValue> {
        self.get(name).and_then(list).unwrap_or_default()
    }

    /// The member of this name as a whole number.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|value| value.get().parse().ok())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a value is.
pub(crate) fn kind(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'"') => Kind::String,
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// A string's text.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Key<'_>>(value.get()).ok().map(|Key(text)| text)
}

/// A list's elements.
pub(crate) fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// Whether a value is there only for form: an empty string, list or object, `false` or zero.
pub(crate) fn is_neutral(value: &RawValue) -> bool {
    let plain = value.get();
    match kind(value) {
        Kind::Null => true,
        Kind::Boolean => plain == "false",
        Kind::Number => plain.parse::<f64>() == Ok(0.0),
        Kind::String => plain == "\"\"",
        Kind::Array | Kind::Object => plain[1..plain.len() - 1].trim().is_empty(),
    }
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    // A text alone cannot fail to serialise.
    serde_json::to_string(text).unwrap_or_default()
}

/// An object that is being written.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    /// An object of this `type`.
    pub(crate) fn of_type(name: &str) -> Self {
        Self::new().text("type", name)
    }

    #[must_use]
    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, &quoted(value))
    }

    /// A number or a truth value.
    #[must_use]
    pub(crate) fn plain(self, key: &str, value: impl fmt::Display) -> Self {
        self.raw(key, &value.to_string())
    }

    /// A value that is JSON already.
    #[must_use]
    pub(crate) fn raw(mut self, key: &str, json: &str) -> Self {
        self.put(key, json);
        self
    }

    /// As [`Object::raw`], in place.
    pub(crate) fn put(&mut self, key: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(key));
        self.0.push(':');
        self.0.push_str(json);
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    /// As [`Object::finish`], of one that is kept.
    pub(crate) fn closed(&self) -> String {
        format!("{}}}", self.0)
    }
}

/// A list of values that are JSON already.
pub(crate) fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}
