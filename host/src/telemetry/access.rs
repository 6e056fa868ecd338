//! The access log: one line for each request, with what was decided and what came of it.
//!
//! The only text of the client's in it is the model's name, cut and with control characters escaped. The target is
//! [`TARGET`], so that `log.filter` can choose these lines apart from the rest.

use std::fmt;
use std::time::Duration;

use witgate_core::openai::Usage;

use super::request_id::RequestId;

/// The target of the lines.
pub const TARGET: &str = "witgate::access";

/// What one line says. Empty texts and `None` are left out.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// The request's id.
    pub id: &'a RequestId,
    /// HTTP method.
    pub method: &'a str,
    /// Path of the endpoint; where there is none, what the client wrote, cut.
    pub path: &'a str,
    /// Sent to the client; 499 when it went away before.
    pub status: u16,
    /// The label of `witgate_requests_total`.
    pub outcome: &'static str,
    /// Name of the client's key.
    pub key: &'a str,
    /// Name of the client's tenant.
    pub tenant: &'a str,
    /// The model that the client asked for.
    pub model: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// Which deployment answered, or was tried last.
    pub deployment: &'a str,
    /// Which policy chose it.
    pub policy: &'a str,
    /// The policy's revision.
    pub revision: &'a str,
    /// Attempts made.
    pub attempts: usize,
    /// `memory`, `redis`, `miss` or `bypass`; empty on routes without a cache.
    pub cache: &'a str,
    /// To the first token.
    pub ttft: Option<Duration>,
    /// To the last byte.
    pub latency: Duration,
    /// As the upstream counts.
    pub usage: Usage,
    /// By the prices of the configuration or else of the catalogue; `None` when they are not known.
    pub usd: Option<f64>,
    /// Of the answer's body.
    pub bytes: u64,
    /// How often its stream broke and was gone on with.
    pub resumes: usize,
    /// Why a stream that broke was not.
    pub not_resumed: &'static str,
}

impl AccessLine<'_> {
    /// Whether lines are written at all: asked first, so that a line that nobody reads costs nothing.
    pub fn wanted() -> bool {
        tracing::enabled!(target: TARGET, tracing::Level::INFO)
    }

    /// Writes the line.
    pub fn write(&self) {
        let model = (!self.model.is_empty()).then(|| tracing::field::display(Cut(self.model)));
        tracing::info!(
            target: TARGET,
            request_id = self.id.as_str(),
            method = self.method,
            path = self.path,
            status = self.status,
            outcome = self.outcome,
            key = some(self.key),
            tenant = some(self.tenant),
            model,
            route = some(self.route),
            deployment = some(self.deployment),
            policy = some(self.policy),
            revision = some(self.revision),
            attempts = self.attempts,
            cache = some(self.cache),
            ttft_ms = self.ttft.map(milliseconds),
            latency_ms = milliseconds(self.latency),
            tokens_in = self.usage.prompt_tokens,
            tokens_out = self.usage.completion_tokens,
            tokens_cached = self.usage.cached_tokens,
            tokens_cache_write = self.usage.cache_write_tokens,
            tokens_reasoning = self.usage.reasoning_tokens,
            usd = self.usd,
            bytes = self.bytes,
            resumes = (self.resumes > 0).then_some(self.resumes),
            not_resumed = some(self.not_resumed),
            "request"
        );
    }
}

/// A client's text, made harmless.
struct Cut<'a>(&'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (place, character) in self.0.chars().enumerate() {
            if place == LONGEST_MODEL {
                return f.write_char('…');
            }
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// To a microsecond: more digits are noise.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

const LONGEST_MODEL: usize = 128;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use http::Request;
    use serde_json::{Value, json};

    use super::super::logging::tests::logged;
    use super::*;

    fn id() -> RequestId {
        RequestId::of(&Request::builder().header("x-request-id", "abc").body(()).unwrap())
    }

    fn nothing_known(id: &RequestId) -> AccessLine<'_> {
        AccessLine {
            id,
            method: "POST",
            path: "/chat/completions",
            status: 401,
            outcome: "auth",
            key: "",
            tenant: "",
            model: "",
            route: "",
            deployment: "",
            policy: "",
            revision: "",
            attempts: 0,
            cache: "",
            ttft: None,
            latency: Duration::from_nanos(12_345_678),
            usage: Usage::default(),
            usd: None,
            bytes: 0,
            resumes: 0,
            not_resumed: "",
        }
    }

    fn written(line: &AccessLine<'_>) -> Value {
        let mut lines = logged("info", || line.write());
        let mut only = lines.pop().unwrap();
        assert!(lines.is_empty());
        only.as_object_mut().unwrap().remove("timestamp");
        only
    }

    #[test]
    fn a_line_says_what_was_decided_and_what_came_of_it() {
        let id = id();
        let line = AccessLine {
            status: 200,
            outcome: "served",
            key: "alice",
            tenant: "team",
            model: "gpt-4o",
            route: "chat",
            deployment: "gpt-4o@openai",
            policy: "cheapest",
            revision: "0123456789ab",
            attempts: 2,
            cache: "miss",
            ttft: Some(Duration::from_micros(1500)),
            usage: Usage {
                prompt_tokens: Some(7),
                completion_tokens: Some(3),
                cached_tokens: Some(2),
                cache_write_tokens: Some(1),
                reasoning_tokens: Some(2),
            },
            usd: Some(0.000_025),
            bytes: 420,
            resumes: 1,
            not_resumed: "declined",
            ..nothing_known(&id)
        };
        let told = json!({
            "level": "INFO", "target": TARGET, "message": "request", "request_id": "abc", "method": "POST",
            "path": "/chat/completions", "status": 200, "outcome": "served", "key": "alice", "tenant": "team",
            "model": "gpt-4o", "route": "chat", "deployment": "gpt-4o@openai", "policy": "cheapest",
            "revision": "0123456789ab", "attempts": 2, "cache": "miss", "ttft_ms": 1.5, "latency_ms": 12.345,
            "tokens_in": 7, "tokens_out": 3, "tokens_cached": 2, "tokens_cache_write": 1, "tokens_reasoning": 2,
            "usd": 0.000025, "bytes": 420, "resumes": 1, "not_resumed": "declined",
        });
        assert_eq!(written(&line), told);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let told = json!({
            "level": "INFO", "target": TARGET, "message": "request", "request_id": "abc", "method": "POST",
            "path": "/chat/completions", "status": 401, "outcome": "auth", "attempts": 0, "latency_ms": 12.345,
            "bytes": 0,
        });
        assert_eq!(written(&nothing_known(&id())), told);
    }

    #[test]
    fn a_models_name_is_cut_and_escaped() {
        assert_eq!(Cut("naïve\u{1b}[31m\nx").to_string(), "naïve\\u{1b}[31m\\nx");
        assert_eq!(Cut(&"m".repeat(LONGEST_MODEL)).to_string(), "m".repeat(LONGEST_MODEL));
        assert_eq!(Cut(&"m".repeat(LONGEST_MODEL + 1)).to_string(), "m".repeat(LONGEST_MODEL) + "…");
    }

    #[test]
    fn a_filter_can_leave_the_lines_out() {
        let id = id();
        let lines = logged("info,witgate::access=off", || {
            assert!(!AccessLine::wanted());
            nothing_known(&id).write();
        });
        assert_eq!(lines.len(), 0);
        logged("info", || assert!(AccessLine::wanted()));
    }
}
