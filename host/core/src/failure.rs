//! From what an upstream answered to a [`FailureKind`]: the one place that knows what servers mean. Pure.
//!
//! The status alone does not do. Servers report a prompt that is too long in a dozen ways, some of the client's errors
//! as 500, an empty account as 400, 402, 403 or 429, and errors inside a 200. What is wrong with the request must not
//! count against the deployment, and what waiting cannot mend must not be waited for.
//!
//! Failures without an answer (no connection, silence, a stream that breaks off) are named where they are seen; the
//! vocabulary lists them all.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use crate::config::Dialect;
use crate::openai::UpstreamError;
use crate::vocabulary::FailureKind;

mod pause;
mod words;

pub use pause::LONGEST_PAUSE;
use words::Meaning;

/// An answer that is not a success.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Of the provider.
    pub dialect: Dialect,
    /// Not 2xx.
    pub status: StatusCode,
    /// All of the answer's.
    pub headers: &'a HeaderMap,
    /// As much of it as was read.
    pub body: &'a [u8],
}

/// What a failure is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Its kind.
    pub kind: FailureKind,
    /// How long the upstream wants to be left alone, if it says.
    pub retry_after: Option<Duration>,
    /// The upstream's own words.
    pub error: UpstreamError,
}

impl Refusal<'_> {
    /// What it means. `now` is what dates in the answer are compared with.
    pub fn diagnose(&self, now: SystemTime) -> Diagnosis {
        let error = UpstreamError::parse(self.body);
        let kind = self.kind(&error);
        let retry_after = match kind {
            // Whatever pause such an answer names, it changes nothing.
            FailureKind::BadRequest
            | FailureKind::ContextLength
            | FailureKind::ContentPolicy
            | FailureKind::Unsupported
            | FailureKind::ModelNotFound => None,
            _ => pause::asked_for(self.status, self.headers, self.body, now),
        };
        Diagnosis { kind, retry_after, error }
    }

    fn kind(&self, error: &UpstreamError) -> FailureKind {
        if self.status.is_redirection() {
            return FailureKind::Malformed;
        }
        let meaning = words::meaning(error);
        match self.status.as_u16() {
            401 => FailureKind::Unauthorised,
            402 => FailureKind::QuotaExhausted,
            403 => match meaning {
                Some(Meaning::ContentPolicy | Meaning::QuotaExhausted | Meaning::ModelNotFound) => {
                    kind_of(meaning).unwrap_or(FailureKind::Unauthorised)
                }
                _ => FailureKind::Unauthorised,
            },
            // Not the path, the method or not built in: the deployment is not what the configuration says.
            404 | 405 | 501 => match meaning {
                Some(Meaning::Unsupported) => FailureKind::Unsupported,
                _ => FailureKind::ModelNotFound,
            },
            408 | 425 => FailureKind::Overloaded,
            // TGI: the generation failed.
            424 => kind_of(meaning).unwrap_or(FailureKind::ServerError),
            // Groq: no capacity is left in its flexible tier.
            498 => kind_of(meaning).unwrap_or(FailureKind::Overloaded),
            413 => FailureKind::ContextLength,
            429 => match meaning {
                Some(Meaning::QuotaExhausted) => FailureKind::QuotaExhausted,
                _ => FailureKind::RateLimited,
            },
            499 => match self.dialect {
                // Its word for a request that was cancelled, by whomever.
                Dialect::Ollama => FailureKind::ServerError,
                Dialect::OpenAi | Dialect::Anthropic | Dialect::Demo => {
                    kind_of(meaning).unwrap_or(FailureKind::ServerError)
                }
            },
            400..=497 => kind_of(meaning).unwrap_or(FailureKind::BadRequest),
            500 => kind_of(meaning).unwrap_or(FailureKind::ServerError),
            503 | 529 => FailureKind::Overloaded,
            // A proxy's word about a server that it could not reach; only a server that says that it is busy is one.
            _ => match meaning {
                Some(Meaning::Overloaded) => FailureKind::Overloaded,
                _ => FailureKind::ServerError,
            },
        }
    }
}

/// What an error means that came inside a 200: instead of the answer, or as an event of a stream.
pub fn diagnose_inside(body: &[u8]) -> Diagnosis {
    let error = UpstreamError::parse(body);
    let kind = kind_of(words::meaning(&error)).unwrap_or(FailureKind::ErrorInStream);
    let retry_after = if kind.blames_deployment() { pause::said_in(body) } else { None };
    Diagnosis { kind, retry_after, error }
}

fn kind_of(meaning: Option<Meaning>) -> Option<FailureKind> {
    Some(match meaning? {
        Meaning::ContextLength => FailureKind::ContextLength,
        Meaning::ContentPolicy => FailureKind::ContentPolicy,
        Meaning::QuotaExhausted => FailureKind::QuotaExhausted,
        Meaning::ModelNotFound => FailureKind::ModelNotFound,
        Meaning::Unauthorised => FailureKind::Unauthorised,
        Meaning::Unsupported => FailureKind::Unsupported,
        Meaning::Overloaded => FailureKind::Overloaded,
        Meaning::RateLimited => FailureKind::RateLimited,
        Meaning::BadRequest => FailureKind::BadRequest,
    })
}

#[cfg(test)]
mod tests;
