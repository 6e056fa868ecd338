//! The built-in provider: deterministic text, without a network.
//!
//! It lets a fresh gateway answer, and tests and examples run anywhere. The same request gets the same text, id and
//! vectors.

mod embedding;
mod text;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode, response};
use tokio::time::Sleep;
use witgate_core::config::Demo as Settings;
use witgate_core::openai::{Endpoint, ErrorBody, RequestBody, peek};

/// The provider.
pub(super) struct Demo {
    settings: Settings,
    requests: AtomicU64,
}

/// What is said when.
pub(super) struct Script {
    steps: std::vec::IntoIter<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// One piece of an answer.
struct Step {
    /// Since the step before.
    after: Duration,
    bytes: Bytes,
}

impl Demo {
    pub(super) fn new(settings: Option<&Settings>) -> Self {
        let settings = settings.cloned().unwrap_or(Settings {
            first_token_delay: Duration::ZERO,
            token_delay: Duration::ZERO,
            failure_rate: 0.0,
            reply: None,
        });
        Self { settings, requests: AtomicU64::new(0) }
    }

    /// Answers a request as a server would.
    pub(super) fn answer(&self, body: &RequestBody, endpoint: Endpoint, now: SystemTime) -> (response::Parts, Script) {
        if self.is_to_fail() {
            let error = ErrorBody::server("The demo provider fails as often as its `failure_rate` says.");
            return whole(StatusCode::INTERNAL_SERVER_ERROR, Duration::ZERO, error.to_json());
        }
        let body = body.pieces().concat();
        let peek = match peek(&body, endpoint) {
            Ok(peek) => peek,
            Err(error) => return whole(StatusCode::BAD_REQUEST, Duration::ZERO, error.body().to_json()),
        };
        if endpoint == Endpoint::Embeddings {
            return whole(StatusCode::OK, self.settings.first_token_delay, embedding::answer(&body, &peek));
        }
        let created = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let text = text::Text::new(&body, &peek, self.settings.reply.as_deref(), created);
        if peek.stream {
            return started(StatusCode::OK, EVENT_STREAM, text.stream(&self.settings));
        }
        let tokens = u32::try_from(text.tokens()).unwrap_or(u32::MAX);
        let delay = self.settings.first_token_delay + self.settings.token_delay * tokens.saturating_sub(1);
        whole(StatusCode::OK, delay, text.whole())
    }

    /// Spread evenly: after n requests, n times the rate have failed, rounded down.
    fn is_to_fail(&self) -> bool {
        let before = self.requests.fetch_add(1, Relaxed) as f64;
        let rate = self.settings.failure_rate;
        ((before + 1.0) * rate).floor() > (before * rate).floor()
    }
}

fn whole(status: StatusCode, after: Duration, bytes: Bytes) -> (response::Parts, Script) {
    started(status, JSON, vec![Step { after, bytes }])
}

fn started(status: StatusCode, content_type: HeaderValue, steps: Vec<Step>) -> (response::Parts, Script) {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.headers.insert(CONTENT_TYPE, content_type);
    (head, Script { steps: steps.into_iter(), sleep: None })
}

impl Script {
    /// The next piece, when its time has come.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(next) = self.steps.as_slice().first() else { return Poll::Ready(None) };
        if !next.after.is_zero() {
            let after = next.after;
            ready!(self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(after))).as_mut().poll(cx));
            self.sleep = None;
        }
        Poll::Ready(self.steps.next().map(|step| step.bytes))
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
