//! Passes an answer on: a whole one in one piece, a long one or a stream as it comes.
//!
//! What fails after the first byte went to the client is told in-band: a stream ends with an error event and without
//! `[DONE]`, a long answer by breaking the connection off, so that nothing incomplete looks complete. A client that
//! hangs up drops the body, and with it the upstream's connection.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use witgate_core::openai::{ErrorBody, Tally, Usage, usage};

use super::execute::Answered;
use super::record::AttemptRecord;
use super::request::RequestRecord;
use crate::api::error::ApiError;
use crate::cache::{Hit, Recording, Slot};
use crate::upstream::{AnswerBody, AttemptFailure, Events, Long, Reply, StreamReply, WholeReply};

/// Makes the client's response out of an answer; it is kept for the cache if it ends well.
pub fn respond(answered: Answered, mut request: RequestRecord, slot: Option<Slot>) -> Response<Body> {
    let Answered { reply, record: mut attempt, deployment, attempts, by } = answered;
    request.decided(by, Some(attempt.target()), attempts);
    let record = |status, headers: &HeaderMap| slot.and_then(|slot| slot.record(status, headers, &deployment));
    match reply {
        Reply::Whole(WholeReply { status, headers, body }) => {
            attempt.first_token(status.as_u16());
            request.first_token();
            let recording = record(status, &headers);
            match body {
                AnswerBody::Whole(body) => whole(status, headers, body, attempt, request, recording),
                AnswerBody::Long(long) => {
                    let accounts = Accounts { attempt, request, recording };
                    flowing(status, headers, Source::Long(long), accounts)
                }
            }
        }
        Reply::Stream(StreamReply { status, mut headers, events }) => {
            attempt.first_token(status.as_u16());
            request.first_token();
            headers.insert(CONTENT_TYPE, EVENT_STREAM);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            // nginx and others would hold events back.
            headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            let accounts = Accounts { attempt, request, recording: record(status, &headers) };
            flowing(status, headers, Source::Events(events), accounts)
        }
    }
}

/// Replays a kept answer.
pub fn replay(hit: &Hit, mut request: RequestRecord) -> Response<Body> {
    request.replayed(hit);
    let mut headers = hit.entry.headers.clone();
    if headers.get(CONTENT_TYPE) == Some(&EVENT_STREAM) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response(StatusCode::OK, headers, &request, Body::from(hit.entry.body.clone()))
}

fn whole(
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    mut attempt: AttemptRecord,
    mut request: RequestRecord,
    recording: Option<Recording>,
) -> Response<Body> {
    let used = usage::of_answer(&body).unwrap_or_default();
    if let Some(mut recording) = recording {
        recording.push(&body);
        recording.finish();
    }
    attempt.tokens(used);
    attempt.served();
    request.passed(body.len());
    request.served(status, used);
    response(status, headers, &request, Body::from(body))
}

fn response(status: StatusCode, headers: HeaderMap, request: &RequestRecord, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    request.write_headers(response.headers_mut());
    response
}

fn flowing(status: StatusCode, headers: HeaderMap, source: Source, accounts: Accounts) -> Response<Body> {
    let mut response = response(status, headers, &accounts.request, Body::empty());
    *response.body_mut() = Body::new(Relay { status, source, accounts: Some(accounts) });
    response
}

/// A body that comes as the upstream sends it.
struct Relay {
    status: StatusCode,
    source: Source,
    /// `None` once the answer has ended.
    accounts: Option<Accounts>,
}

enum Source {
    Events(Box<Events>),
    Long(Box<Long>),
}

/// Who must be told how it ended. Dropped without a word, the client went away.
struct Accounts {
    attempt: AttemptRecord,
    request: RequestRecord,
    recording: Option<Recording>,
}

impl Source {
    /// As the upstream counts; of a stream without counts, what went by.
    fn usage(&self) -> Usage {
        match self {
            Self::Events(events) => stream_usage(events.tally()),
            Self::Long(long) => long.usage().unwrap_or_default(),
        }
    }

    /// The upstream has told the client itself that it failed.
    fn told_of_failure(&self) -> bool {
        match self {
            Self::Events(events) => events.tally().failed(),
            Self::Long(_) => false,
        }
    }
}

impl Relay {
    fn passed(&mut self, piece: &Bytes) {
        let used = self.source.usage();
        let Some(accounts) = &mut self.accounts else { return };
        // For the client that goes away in the middle.
        accounts.attempt.tokens(used);
        accounts.request.passed(piece.len());
        accounts.request.used(used);
        if let Some(recording) = &mut accounts.recording {
            recording.push(piece);
        }
    }

    fn ended(&mut self) {
        if self.source.told_of_failure() {
            return self.failed(&AttemptFailure::in_stream());
        }
        let Some(Accounts { mut attempt, mut request, recording }) = self.accounts.take() else { return };
        let used = self.source.usage();
        attempt.tokens(used);
        attempt.served();
        request.served(self.status, used);
        if let Some(recording) = recording {
            recording.finish();
        }
    }

    /// The gateway ends before the answer does, which is not the deployment's doing.
    fn cut_off(&mut self) {
        let Some(Accounts { mut attempt, mut request, .. }) = self.accounts.take() else { return };
        let used = self.source.usage();
        attempt.tokens(used);
        request.broke_off(ApiError::ShuttingDown.label(), used);
    }

    fn failed(&mut self, failure: &AttemptFailure) {
        let Some(Accounts { mut attempt, mut request, .. }) = self.accounts.take() else { return };
        let used = self.source.usage();
        attempt.tokens(used);
        attempt.fail(failure);
        request.broke_off(failure.kind.name(), used);
    }
}

impl http_body::Body for Relay {
    type Data = Bytes;
    type Error = AttemptFailure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AttemptFailure>>> {
        let relay = self.get_mut();
        let Some(accounts) = &relay.accounts else { return Poll::Ready(None) };
        if accounts.request.is_over() {
            relay.cut_off();
            return Poll::Ready(Some(match &mut relay.source {
                Source::Events(events) => Ok(Frame::data(events.error_event(ApiError::ShuttingDown.body().into()))),
                Source::Long(_) => Err(AttemptFailure::shutting_down()),
            }));
        }
        let polled = match &mut relay.source {
            Source::Events(events) => Pin::new(&mut **events).poll_next(cx),
            Source::Long(long) => Pin::new(&mut **long).poll_next(cx),
        };
        match std::task::ready!(polled) {
            Some(Ok(piece)) => {
                relay.passed(&piece);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            None => {
                relay.ended();
                Poll::Ready(None)
            }
            Some(Err(failure)) => {
                relay.failed(&failure);
                Poll::Ready(Some(match &mut relay.source {
                    Source::Events(events) => Ok(Frame::data(events.error_event(told(&failure).into()))),
                    Source::Long(_) => Err(failure),
                }))
            }
        }
    }
}

fn told(failure: &AttemptFailure) -> ErrorBody {
    ErrorBody {
        message: failure.message.clone().into(),
        kind: "server_error".into(),
        param: None,
        code: Some(failure.kind.name().into()),
    }
}

/// As the upstream counts, else what went by.
fn stream_usage(tally: &Tally) -> Usage {
    let told = tally.usage().unwrap_or_default();
    Usage { completion_tokens: told.completion_tokens.or(Some(tally.content_events())), ..told }
}

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
