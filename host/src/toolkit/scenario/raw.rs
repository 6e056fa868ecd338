//! The scenario file as it is written. Unknown keys are refused; names are looked up afterwards.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The whole file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawScenarios {
    pub(super) deployments: Map<String, Value>,
    #[serde(default)]
    pub(super) routes: Vec<String>,
    #[serde(default)]
    pub(super) tenants: Map<String, Value>,
    #[serde(default)]
    pub(super) grants: Vec<String>,
    #[serde(default = "no_settings")]
    pub(super) settings: Value,
    #[serde(default)]
    pub(super) cases: Vec<RawCase>,
    #[serde(default)]
    pub(super) properties: Vec<RawProperty>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCase {
    pub(super) name: String,
    pub(super) settings: Option<Value>,
    pub(super) candidates: Option<Named<Option<Named<f64>>>>,
    #[serde(default)]
    pub(super) facts: Named<f64>,
    #[serde(default)]
    pub(super) request: RawRequest,
    #[serde(default)]
    pub(super) failures: Vec<RawFailure>,
    #[serde(default)]
    pub(super) outcomes: Vec<RawOutcome>,
    #[serde(default)]
    pub(super) expect: RawExpect,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawProperty {
    pub(super) name: String,
    pub(super) settings: Option<Value>,
    pub(super) candidates: Option<Named<Option<Named<f64>>>>,
    #[serde(default)]
    pub(super) facts: Named<f64>,
    #[serde(default)]
    pub(super) request: RawRequest,
    pub(super) over: Option<u32>,
    pub(super) never: Option<RawNever>,
    pub(super) always_among: Option<Vec<String>>,
    pub(super) deterministic: Option<bool>,
    pub(super) balanced: Option<RawBalanced>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNever {
    pub(super) signal: String,
    pub(super) above: Option<f64>,
    pub(super) below: Option<f64>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawBalanced {
    pub(super) within: Share,
    #[serde(default)]
    pub(super) shares: Named<f64>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRequest {
    pub(super) decision: Option<u32>,
    pub(super) seed: Option<u32>,
    pub(super) now: Option<Moment>,
    #[serde(default)]
    pub(super) headers: Named<String>,
    #[serde(default)]
    pub(super) prompt: String,
    pub(super) tenant: Option<String>,
    pub(super) route: Option<String>,
    pub(super) model: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFailure {
    pub(super) target: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) retry_after_ms: f64,
    #[serde(default)]
    pub(super) elapsed_ms: f64,
    #[serde(default)]
    pub(super) tokens_sent: u32,
}

/// The fields that are numbers are looked up by the vocabulary's names.
#[derive(serde::Deserialize)]
pub(super) struct RawOutcome {
    pub(super) target: String,
    pub(super) ending: Option<String>,
    pub(super) failure: Option<String>,
    #[serde(flatten)]
    pub(super) numbers: Map<String, Value>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawExpect {
    pub(super) target: Option<String>,
    pub(super) targets: Option<Vec<String>>,
    pub(super) plan: Option<Vec<RawStep>>,
    pub(super) reject: Option<u16>,
    pub(super) retry_after_ms: Option<f64>,
    pub(super) abstain: Option<bool>,
    pub(super) error: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) kept: Option<Vec<String>>,
    pub(super) scores: Option<Named<f64>>,
    pub(super) within: Option<f64>,
    pub(super) log: Option<String>,
    pub(super) ran: Option<bool>,
}

/// A deployment's id, or a map that says more.
pub(super) struct RawStep(pub(super) RawAttempt);

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAttempt {
    pub(super) target: String,
    pub(super) start: Option<RawStart>,
    pub(super) delay_ms: Option<f64>,
    pub(super) timeout_ms: Option<f64>,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawStart {
    AtOnce,
    OnFailure,
    Hedge,
}

impl<'de> Deserialize<'de> for RawStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Step;
        impl<'de> Visitor<'de> for Step {
            type Value = RawStep;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a deployment's id, or a map such as {target: ID, start: hedge}")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<RawStep, E> {
                Ok(RawStep(RawAttempt { target: id.to_owned(), ..RawAttempt::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawStep, A::Error> {
                RawAttempt::deserialize(de::value::MapAccessDeserializer::new(map)).map(RawStep)
            }
        }
        deserializer.deserialize_any(Step)
    }
}

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
                let mut entries: Vec<(String, T)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom(format_args!("`{key}` is there twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// A moment, in milliseconds since 1970: a number, or text such as `2026-01-01T12:00:00Z`.
pub(super) struct Moment(pub(super) f64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Time;
        impl Visitor<'_> for Time {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as `2026-01-01T12:00:00Z`, or milliseconds since 1970")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                parse_moment(text).map(Moment).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_f64<E: de::Error>(self, millis: f64) -> Result<Moment, E> {
                Ok(Moment(millis))
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Moment, E> {
                Ok(Moment(millis as f64))
            }
        }
        deserializer.deserialize_any(Time)
    }
}

/// Milliseconds since 1970 of a time such as `2026-01-01T12:00:00Z`.
pub(super) fn parse_moment(text: &str) -> Option<f64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(moment.unix_timestamp_nanos() as f64 / 1e6)
}

/// A share: `10%` or 0.1.
pub(super) struct Share(pub(super) f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Part;
        impl Visitor<'_> for Part {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as `10%` or 0.1")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                let share = number.map(|number| Share(number / 100.0));
                share.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_f64<E: de::Error>(self, share: f64) -> Result<Share, E> {
                Ok(Share(share))
            }

            fn visit_u64<E: de::Error>(self, share: u64) -> Result<Share, E> {
                Ok(Share(share as f64))
            }
        }
        deserializer.deserialize_any(Part)
    }
}

pub(super) fn no_settings() -> Value {
    Value::Object(Map::new())
}
