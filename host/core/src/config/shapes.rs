//! Shapes of single settings in the file, with their JSON Schema.
//!
//! Where a setting may be written in two ways (`off` or `{ttl: 10m}`), the schema lists both types instead of using
//! `anyOf`, so that the validator can say exactly what is wrong. The `title` of a shape is how messages and the
//! reference name it; `writeOnly` marks values that must never be shown.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::units::{DURATION_PATTERN, SIZE_PATTERN};

/// A map in the order of the file.
pub(super) struct Named<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

/// Declares a shape: what it is read into, and its schema.
macro_rules! shape {
    ($(#[$about:meta])* $name:ident as $text:literal, $raw:ty, $schema:tt) => {
        $(#[$about])*
        #[derive(serde::Deserialize)]
        #[serde(transparent)]
        pub(super) struct $name(pub(super) $raw);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $text.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

shape! {
    /// Unparsed duration.
    DurationText as "Duration", String,
    { "title": "a duration such as `30s`", "type": "string", "pattern": DURATION_PATTERN }
}

shape! {
    /// Unparsed size.
    SizeText as "Size", TextOrNumber,
    { "title": "a size such as `32MiB`", "type": ["string", "integer"], "pattern": SIZE_PATTERN, "minimum": 0 }
}

shape! {
    /// A secret, or where to find it.
    SecretText as "Secret", SecretSource,
    {
        "title": "text, `${NAME}` or `{file: path}`",
        "type": ["string", "object"],
        "properties": { "file": { "type": "string" } },
        "required": ["file"],
        "additionalProperties": false,
        "writeOnly": true
    }
}

shape! {
    /// One text or several.
    TextOrList as "TextOrList", OneOrMany,
    { "title": "text or a list of texts", "type": ["string", "array"], "items": { "type": "string" } }
}

shape! {
    /// Whether to cache.
    CacheText as "CacheTime", OffOrTtl,
    {
        "title": "`off` or `{ttl: 10m}`",
        "description": "Whether answers are cached, and for how long.",
        "type": ["string", "object"],
        "pattern": "^off$",
        "properties": {
            "ttl": {
                "title": "a duration such as `30s`",
                "description": "How long an answer may be used.",
                "type": "string",
                "pattern": DURATION_PATTERN
            }
        },
        "required": ["ttl"],
        "additionalProperties": false
    }
}

shape! {
    /// One stage of a chain.
    StageText as "Stage", NameOrStage,
    {
        "title": "a policy's name or `{use, settings, weight, optional}`",
        "description": "One stage of a chain. The name alone stands for `{use: name}`.",
        "type": ["string", "object"],
        "properties": {
            "use": { "type": "string", "description": "The policy's name: that of its file without `.wasm`." },
            "settings": {
                "type": "object",
                "description": "What the policy is configured with; `witgate policy inspect` says what it takes."
            },
            "weight": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 1_000_000,
                "default": 1.0,
                "description": "Of a scorer: its share in the mean of all scores."
            },
            "optional": {
                "type": "boolean",
                "default": false,
                "description": "Whether the stage is left out while there is no such policy, instead of being an error."
            }
        },
        "required": ["use"],
        "additionalProperties": false
    }
}

/// What [`SizeText`] is read into.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum TextOrNumber {
    Number(u64),
    Text(String),
}

/// What [`SecretText`] is read into.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum SecretSource {
    Text(String),
    File { file: Option<String> },
}

/// What [`TextOrList`] is read into.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What [`CacheText`] is read into.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum OffOrTtl {
    Word(Off),
    For { ttl: Option<String> },
}

/// The word `off`.
#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Off {
    Off,
}

/// What [`StageText`] is read into.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum NameOrStage {
    Name(String),
    Stage {
        #[serde(rename = "use")]
        policy: Option<String>,
        settings: Option<serde_json::Map<String, serde_json::Value>>,
        weight: Option<f64>,
        optional: Option<bool>,
    },
}
