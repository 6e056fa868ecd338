//! Passes an answer on: a whole one in one piece, a long one or a stream as it comes.
//!
//! What fails after the first byte went to the client is told in-band: a stream ends with an error event and without
//! `[DONE]`, a long answer by breaking the connection off, so that nothing incomplete looks complete. Where the route
//! wants it, another deployment goes on with a stream that broke (see [`super::resume`]). A client that hangs up drops the
//! body, and with it the upstream's connection.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use witgate_core::dialect::Speech;
use witgate_core::dialect::anthropic::downstream;
use witgate_core::dialect::ollama::downstream as ollama;
use witgate_core::openai::{ErrorBody, Tally, Usage, usage};
use witgate_core::vocabulary::FailureKind;

use super::execute::{Answered, Unresumed};
use super::receipt;
use super::record::AttemptRecord;
use super::request::RequestRecord;
use super::resume::{NotResumed, Resume, Resumed, Resuming};
use crate::api::error::ApiError;
use crate::cache::{Hit, Recording, Slot};
use crate::upstream::{AnswerBody, AttemptFailure, Events, Long, Reply, StreamReply, WholeReply};

/// Makes the client's response out of an answer; it is kept for the cache if it ends well.
pub fn respond(
    answered: Answered,
    mut request: RequestRecord,
    slot: Option<Slot>,
    resume: Option<Box<Resume>>,
) -> Response<Body> {
    let attempts = resume.as_ref().map_or_else(|| answered.attempts(), |resume| resume.attempts());
    let Answered { reply, record: mut attempt, deployment, by, .. } = answered;
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
                    let accounts = Accounts { attempt: Some(attempt), request, recording, resume: None };
                    flowing(status, headers, Source::Long(long), accounts)
                }
            }
        }
        Reply::Stream(StreamReply { status, mut headers, events }) => {
            attempt.first_token(status.as_u16());
            request.first_token();
            headers.insert(CONTENT_TYPE, stream_type(request.speech()));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            // nginx and others would hold events back.
            headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            headers.extend(resume.as_ref().map(|resume| resume.header()));
            let accounts = Accounts { attempt: Some(attempt), request, recording: record(status, &headers), resume };
            flowing(status, headers, Source::Events(events), accounts)
        }
    }
}

/// Replays a kept answer.
pub fn replay(hit: &Hit, mut request: RequestRecord) -> Response<Body> {
    request.replayed(hit);
    let mut headers = hit.entry.headers.clone();
    if [&EVENT_STREAM, &LINES].iter().any(|streamed| headers.get(CONTENT_TYPE) == Some(*streamed)) {
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
    request.costs(attempt.usd());
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
    /// A stream broke, and somebody is asked to go on with it.
    Broken(Broken),
}

struct Broken {
    resuming: Resuming,
    kind: FailureKind,
    /// What the client is told if nobody does.
    told: Bytes,
}

/// Who must be told how it ended. Dropped without a word, the client went away.
struct Accounts {
    /// `None` while nobody answers.
    attempt: Option<AttemptRecord>,
    request: RequestRecord,
    recording: Option<Recording>,
    /// `None` where a stream that breaks has broken.
    resume: Option<Box<Resume>>,
}

impl Accounts {
    /// With what the attempts before have used.
    fn in_all(&self, used: Usage) -> Usage {
        self.resume.as_ref().map_or(used, |resume| resume.earlier().plus(used))
    }
}

impl Source {
    /// As the upstream counts; of a stream without counts, what went by.
    fn usage(&self) -> Usage {
        match self {
            Self::Events(events) => stream_usage(events.tally()),
            Self::Long(long) => long.usage().unwrap_or_default(),
            Self::Broken(_) => Usage::default(),
        }
    }

    /// The upstream has told the client itself that it failed.
    fn told_of_failure(&self) -> bool {
        match self {
            Self::Events(events) => events.tally().failed(),
            Self::Long(_) | Self::Broken(_) => false,
        }
    }
}

impl Relay {
    /// What the client is to get of this piece.
    fn passed(&mut self, piece: Bytes) -> Bytes {
        let used = self.source.usage();
        let Some(accounts) = &mut self.accounts else { return piece };
        let piece = match &mut accounts.resume {
            Some(resume) => resume.pass(piece),
            None => piece,
        };
        // For the client that goes away in the middle.
        if let Some(attempt) = &mut accounts.attempt {
            attempt.tokens(used);
            accounts.request.costs(attempt.usd());
        }
        let in_all = accounts.in_all(used);
        accounts.request.passed(piece.len());
        accounts.request.used(in_all);
        if let Some(recording) = &mut accounts.recording {
            recording.push(&piece);
        }
        piece
    }

    fn ended(&mut self) {
        if self.source.told_of_failure() {
            return self.failed(&AttemptFailure::in_stream());
        }
        let used = self.source.usage();
        let Some(accounts) = self.accounts.take() else { return };
        let in_all = accounts.in_all(used);
        let Accounts { attempt, mut request, recording, .. } = accounts;
        if let Some(mut attempt) = attempt {
            attempt.tokens(used);
            request.costs(attempt.usd());
            attempt.served();
        }
        request.served(self.status, in_all);
        if let Some(recording) = recording {
            recording.finish();
        }
    }

    /// The gateway ends before the answer does, which is not the deployment's doing.
    fn cut_off(&mut self) {
        let used = self.source.usage();
        let Some(accounts) = self.accounts.take() else { return };
        let in_all = accounts.in_all(used);
        let Accounts { attempt, mut request, .. } = accounts;
        if let Some(mut attempt) = attempt {
            attempt.tokens(used);
        }
        request.broke_off(ApiError::ShuttingDown.label(), in_all);
    }

    fn failed(&mut self, failure: &AttemptFailure) {
        let used = self.source.usage();
        let Some(accounts) = self.accounts.take() else { return };
        let in_all = accounts.in_all(used);
        let Accounts { attempt, mut request, .. } = accounts;
        if let Some(mut attempt) = attempt {
            attempt.tokens(used);
            attempt.fail(failure);
        }
        request.broke_off(failure.kind.name(), in_all);
    }

    /// A stream broke. Either somebody is asked to go on with it, or the client is told what it gets.
    fn broke(&mut self, failure: &AttemptFailure, told: Bytes) -> Option<Bytes> {
        let used = self.source.usage();
        let accounts = self.accounts.as_mut()?;
        let Some(resume) = accounts.resume.take() else {
            self.failed(failure);
            return Some(told);
        };
        let mut attempt = accounts.attempt.take()?;
        let told = resume.last_word(told);
        let in_all = resume.earlier().plus(used);
        let target = attempt.target();
        attempt.tokens(used);
        let elapsed = attempt.fail(failure);
        // An answer out of two is not one to repeat.
        accounts.recording = None;
        accounts.request.used(in_all);
        match resume.go_on(target, failure, elapsed, used) {
            Ok(resuming) => {
                self.source = Source::Broken(Broken { resuming, kind: failure.kind, told });
                None
            }
            Err(why) => Some(self.not_resumed(why, failure.kind, &told)),
        }
    }

    /// Somebody goes on with the stream that broke, or nobody does. Gives what the client gets: a comment, which readers
    /// of events pass over, and where the stream ends here, the error.
    fn resumed(&mut self, Resumed { resume, result }: Resumed) -> Bytes {
        let Source::Broken(Broken { kind, told, .. }) = &self.source else { return Bytes::new() };
        let (kind, told) = (*kind, told.clone());
        let answered = match result {
            Ok(answered) => *answered,
            Err(why) => return self.not_resumed(why, kind, &told),
        };
        let attempts = resume.attempts();
        let speech = self.accounts.as_ref().map_or(Speech::OpenAi, |accounts| accounts.request.speech());
        let Answered { reply, record: mut attempt, deployment, by, .. } = answered;
        let Reply::Stream(StreamReply { status, events, .. }) = reply else {
            // Whoever is asked for a stream answers with one, or has failed.
            drop(attempt);
            return self.not_resumed(NotResumed::Nobody(Unresumed::Failed, attempts), kind, &told);
        };
        attempt.first_token(status.as_u16());
        self.source = Source::Events(events);
        if let Some(accounts) = &mut self.accounts {
            accounts.request.resumed();
            accounts.request.decided(by, Some(attempt.target()), attempts);
            accounts.attempt = Some(attempt);
            accounts.resume = Some(resume);
        }
        comment(speech, "x-witgate-resumed", receipt::value(&deployment).as_bytes())
    }

    fn not_resumed(&mut self, why: NotResumed, kind: FailureKind, told: &Bytes) -> Bytes {
        let Some(Accounts { mut request, .. }) = self.accounts.take() else { return told.clone() };
        let comment = comment(request.speech(), "x-witgate-not-resumed", why.label().as_bytes());
        request.not_resumed(why);
        request.broke(kind.name());
        [comment, told.clone()].concat().into()
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
        let frame = |piece| Poll::Ready(Some(Ok(Frame::data(piece))));
        loop {
            let Some(accounts) = &relay.accounts else { return Poll::Ready(None) };
            let speech = accounts.request.speech();
            if accounts.request.is_over() {
                relay.cut_off();
                return Poll::Ready(Some(match &mut relay.source {
                    Source::Events(events) => Ok(Frame::data(events.error_event(ApiError::ShuttingDown.body().into()))),
                    Source::Broken(_) => Ok(Frame::data(last_word(speech))),
                    Source::Long(_) => Err(AttemptFailure::shutting_down()),
                }));
            }
            let polled = match &mut relay.source {
                Source::Events(events) => ready!(Pin::new(&mut **events).poll_next(cx)),
                Source::Long(long) => ready!(Pin::new(&mut **long).poll_next(cx)),
                Source::Broken(broken) => {
                    let resumed = ready!(broken.resuming.as_mut().poll(cx));
                    let told = relay.resumed(resumed);
                    if !told.is_empty() {
                        return frame(told);
                    }
                    continue;
                }
            };
            match polled {
                Some(Ok(piece)) => {
                    let piece = relay.passed(piece);
                    // Of a stream that goes on, the client has the beginning.
                    if !piece.is_empty() {
                        return frame(piece);
                    }
                }
                None => {
                    relay.ended();
                    return Poll::Ready(None);
                }
                Some(Err(failure)) => {
                    let Source::Events(events) = &mut relay.source else {
                        relay.failed(&failure);
                        return Poll::Ready(Some(Err(failure)));
                    };
                    let held = events.held_error();
                    let told = held.unwrap_or_else(|| events.error_event(told(&failure).into()));
                    if let Some(told) = relay.broke(&failure, told) {
                        return frame(told);
                    }
                }
            }
        }
    }
}

/// A line that readers of events pass over. Readers of Ollama's lines pass over nothing.
fn comment(speech: Speech, name: &str, value: &[u8]) -> Bytes {
    match speech {
        Speech::OpenAi | Speech::Anthropic => [b": ", name.as_bytes(), b": ", value, b"\n"].concat().into(),
        Speech::Ollama => Bytes::new(),
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

/// The gateway ends while nobody answers.
fn last_word(speech: Speech) -> Bytes {
    let error = ApiError::ShuttingDown.body();
    match speech {
        Speech::OpenAi => error.to_event(),
        Speech::Anthropic => downstream::error_event(&downstream::error(&error.into(), None)),
        Speech::Ollama => ollama::error_line(&ollama::error(&error.into())),
    }
}

fn stream_type(speech: Speech) -> HeaderValue {
    match speech {
        Speech::OpenAi | Speech::Anthropic => EVENT_STREAM,
        Speech::Ollama => LINES,
    }
}

/// As the upstream counts, else what went by.
fn stream_usage(tally: &Tally) -> Usage {
    let told = tally.usage().unwrap_or_default();
    Usage { completion_tokens: told.completion_tokens.or(Some(tally.content_events())), ..told }
}

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
