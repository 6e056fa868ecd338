//! One attempt: sends the request, waits for what must come first, and says what came.

use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, response};
use witgate_core::config::Dialect;
use witgate_core::dialect::Translated;
use witgate_core::failure::{Diagnosis, Refusal};
use witgate_core::openai::{Endpoint, ModelLiteral, Peek, RequestBody, UpstreamError, peek as peek_at, rewrite};
use witgate_core::resume::continued;
use witgate_core::vocabulary::FailureKind;

use super::answer::AnswerBody;
use super::batch::{Entry, Way};
use super::connection::Body;
use super::events::Events;
use super::failure::AttemptFailure;
use super::flow::{DEADLINE, Flow, Source};
use super::passage::Passage;
use super::provider::{Backend, Provider, Service};
use super::{Call, Deployment, Reply, StreamReply, Upstreams, WholeReply, headers, vectors};
use crate::upload::{FormBody, Upload};

impl Upstreams {
    /// Makes one attempt.
    ///
    /// # Errors
    /// Whatever kept the deployment from answering; nothing has been passed on then.
    pub async fn call(&self, call: Call<'_>) -> Result<Reply, AttemptFailure> {
        let deployment = &self.deployments[call.deployment];
        let provider = &self.providers[deployment.provider];
        let passage = Passage::find(call.peek.endpoint, provider.manners)?;
        let patience = provider.patience.of(&call.instead, &call.at_most);
        let started = Instant::now();
        let mut _run = None;
        match enter(&call, deployment, provider, passage) {
            Some(Entry::Together(seat)) => {
                let answer = seat.answer(&call);
                match in_time(answer, started, patience.first_byte, call.begin_by, None).await {
                    Some(Some(answer)) => return answer,
                    Some(None) => _run = Some(seat.alone()),
                    None => return Err(silent(&call, patience.first_byte)),
                }
            }
            Some(Entry::Alone(run)) => _run = Some(run),
            None => {}
        }
        let (body, dropped) = request_body(&call, deployment, &passage)?;
        let by = |limit: Duration| call.begin_by.min(started + limit);
        let head = head(provider, body, &call, &passage);
        let rest = call.form.and_then(|form| form.rest.as_ref());
        let Some(head) = in_time(head, started, patience.first_byte, call.begin_by, rest).await else {
            return Err(silent(&call, patience.first_byte));
        };
        let (head, source) = head.map_err(|failure| unsent(failure, rest))?;
        let mut flow = Flow::new(source, head.status.as_u16(), patience.idle, call.deadline);
        if !head.status.is_success() {
            return Err(refused(provider.manners.dialect, &head, flow, &passage).await);
        }
        if !call.peek.stream || is_no_stream(&head.headers, &passage) {
            // A server may send blanks while its model thinks; it may not do so for ever.
            let reply = whole(&call, &head, flow, &passage);
            let Ok(reply) = tokio::time::timeout(patience.keep_alive, reply).await else {
                let message =
                    format!("the answer stalled: its head came, and not the rest within {:?}", patience.keep_alive);
                let failure = AttemptFailure::new(FailureKind::Stalled, message);
                return Err(late(&call, failure.with_status(head.status.as_u16())));
            };
            let mut reply = reply?;
            reply.headers_mut().extend(dropped.map(|dropped| (DROPPED, dropped)));
            return Ok(reply);
        }
        let (status, mut headers) = (head.status, headers::relayed(&head.headers));
        headers.extend(dropped.map(|dropped| (DROPPED, dropped)));
        // A model that thinks before its first event is not stalled: that time has a limit of its own.
        flow.wait_at_most(patience.first_token + patience.idle);
        let events = Events::begin(flow, passage, &call, patience.keep_alive);
        let Ok(events) = tokio::time::timeout_at(by(patience.first_token).into(), events).await else {
            let message = format!("no event of the stream came within {:?}", patience.first_token);
            let failure = AttemptFailure::new(FailureKind::FirstTokenTimeout, message);
            return Err(late(&call, failure.with_status(status.as_u16())));
        };
        let mut events = Box::new(events?);
        events.wait_at_most(patience.idle);
        Ok(Reply::Stream(StreamReply { status, headers, events }))
    }
}

/// What `head` gives in time. While a client still sends its body, the time has not begun.
pub(super) async fn in_time<T>(
    head: impl Future<Output = T>,
    started: Instant,
    limit: Duration,
    begin_by: Instant,
    rest: Option<&Upload>,
) -> Option<T> {
    let mut head = std::pin::pin!(head);
    let mut sent = started;
    loop {
        let end = begin_by.min(sent + limit);
        if let Ok(head) = tokio::time::timeout_at(end.into(), &mut head).await {
            return Some(head);
        }
        sent = rest.map(Upload::moved).filter(|moved| *moved > sent && end < begin_by)?;
    }
}

/// What the client does not send breaks the upstream's connection, which is not the upstream's fault.
pub(super) fn unsent(failure: AttemptFailure, rest: Option<&Upload>) -> AttemptFailure {
    rest.and_then(Upload::fault).map_or(failure, |fault| AttemptFailure::of_upload(&fault))
}

/// Whether a request for embeddings goes with others; `None` for what never does.
fn enter(call: &Call<'_>, deployment: &Deployment, provider: &Provider, passage: Passage) -> Option<Entry> {
    let batcher = deployment.batcher.as_ref().filter(|_| call.peek.endpoint == Endpoint::Embeddings)?;
    let Backend::Http(service) = &provider.backend else { return None };
    if call.again || call.overlay.is_some() {
        return None;
    }
    let (name, model) = match &deployment.model {
        Some(model) => (&*model.name, model.literal.clone()),
        None => (call.requested_model, ModelLiteral::new(call.requested_model)),
    };
    let idle = provider.patience.of(&call.instead, &call.at_most).idle;
    Some(batcher.enter(call, Way { service, passage, name, model, idle }))
}

/// Nothing has come of an answer.
fn silent(call: &Call<'_>, limit: Duration) -> AttemptFailure {
    late(call, AttemptFailure::new(FailureKind::FirstByteTimeout, format!("no answer began within {limit:?}")))
}

/// What was not in time: the attempt, or the whole request.
fn late(call: &Call<'_>, failure: AttemptFailure) -> AttemptFailure {
    if Instant::now() < call.begin_by {
        return failure;
    }
    AttemptFailure::new(FailureKind::Deadline, DEADLINE)
}

/// The body for this deployment, and what had to be left out of it.
fn request_body(
    call: &Call<'_>,
    deployment: &Deployment,
    passage: &Passage,
) -> Result<(RequestBody, Option<HeaderValue>), AttemptFailure> {
    if let Some(FormBody { form, .. }) = call.form {
        // An overlay lays JSON over JSON.
        let named = deployment.model.as_ref().map(|model| &*model.name);
        let renamed = named.or((*call.requested_model != *call.peek.model).then_some(call.requested_model));
        let body = match renamed {
            Some(name) => form.with_model(call.body, call.peek, name),
            None => call.body.clone().into(),
        };
        return Ok((body, None));
    }
    let rewritten = |body: &Bytes, peek: &Peek| {
        let name = deployment.model.as_ref().map_or(call.requested_model, |model| &model.name);
        if let Some(Translated { body, dropped }) = passage.request(body, name, deployment.max_tokens)? {
            return Ok((rest(call, deployment, passage, body.into())?.into(), told(&dropped)));
        }
        let longer;
        let (body, peek) = if call.so_far.is_some() {
            let body = rest(call, deployment, passage, body.clone())?;
            let peek = peek_at(&body, call.peek.endpoint).map_err(|error| cannot_go_on(&error.to_string()))?;
            longer = (body, peek);
            (&longer.0, &longer.1)
        } else {
            (body, peek)
        };
        let body = match &deployment.model {
            Some(model) => rewrite::with_model(body, peek, &model.literal),
            None if *call.requested_model == *peek.model => body.clone().into(),
            None => rewrite::with_model(body, peek, &ModelLiteral::new(call.requested_model)),
        };
        Ok((body, None))
    };
    let Some(overlay) = call.overlay.and_then(|overlay| overlay.as_object()) else {
        return rewritten(call.body, call.peek);
    };
    let refused = |error: String| {
        let message = format!("the policy's overlay makes a request that cannot be sent: {error}");
        AttemptFailure::new(FailureKind::BadRequest, message)
    };
    let body = rewrite::with_overlay(call.body, overlay).map_err(|error| refused(error.to_string()))?;
    let peeked = peek_at(&body, call.peek.endpoint).map_err(|error| refused(error.to_string()))?;
    rewritten(&body, &peeked)
}

/// The body in the provider's dialect, asking for the rest of an answer if some of it is there.
fn rest(call: &Call<'_>, deployment: &Deployment, passage: &Passage, body: Bytes) -> Result<Bytes, AttemptFailure> {
    let Some(so_far) = &call.so_far else { return Ok(body) };
    let text = str::from_utf8(&body).unwrap_or_default();
    continued(text, passage.endpoint(), deployment.continuation, so_far)
        .map(Bytes::from)
        .ok_or_else(|| cannot_go_on("nothing says how its models do that; set `continuation` of the provider"))
}

fn cannot_go_on(why: &str) -> AttemptFailure {
    let message = format!("this deployment cannot go on with an answer that another one began: {why}");
    AttemptFailure::new(FailureKind::Unsupported, message)
}

/// Names of fields as a header.
fn told(dropped: &[String]) -> Option<HeaderValue> {
    // A client may have written anything in their place.
    let plain = |name: &String| name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(100).collect();
    let names: Vec<String> = dropped.iter().map(plain).collect();
    (!names.is_empty()).then(|| HeaderValue::try_from(names.join(", ")).ok())?
}

/// Sends the request and waits for the head of the answer.
async fn head(
    provider: &Provider,
    body: RequestBody,
    call: &Call<'_>,
    passage: &Passage,
) -> Result<(response::Parts, Source), AttemptFailure> {
    match &provider.backend {
        Backend::Http(service) => {
            let (head, body) = send(service, passage.endpoint(), body, call).await?;
            Ok((head, Source::Http(body)))
        }
        Backend::Demo(demo) => {
            let (head, script) = demo.answer(&body, passage.endpoint(), SystemTime::now());
            Ok((head, Source::Demo(script)))
        }
        Backend::Unusable(why) => Err(AttemptFailure::new(FailureKind::Connect, why)),
    }
}

/// Reads what must be known of an answer that is no stream before it can be passed on.
async fn whole(
    call: &Call<'_>,
    head: &response::Parts,
    flow: Flow,
    passage: &Passage,
) -> Result<Reply, AttemptFailure> {
    let streaming = call.peek.stream;
    let as_it_comes = call.peek.endpoint.answers_anything() && !is_json(&head.headers);
    let body = if as_it_comes {
        AnswerBody::as_it_comes(flow).await?
    } else if call.peek.endpoint == Endpoint::Rerank {
        AnswerBody::ranking(flow, &call.peek.model).await?
    } else if passage.is_same() || streaming {
        AnswerBody::begin(flow).await?
    } else {
        AnswerBody::translated(flow, |body| passage.answer(body, call.body)).await?
    };
    if streaming {
        let got = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let message = format!("asked for a stream, but the answer's content type is `{got}`");
        return Err(AttemptFailure::new(FailureKind::Malformed, message).with_status(head.status.as_u16()));
    }
    let embeddings = call.peek.endpoint == Endpoint::Embeddings;
    let body = if embeddings { vectors::as_asked(body, call.body) } else { body };
    let body = match call.answer_model {
        Some(name) if !as_it_comes => body.named(name),
        Some(_) | None => body,
    };
    Ok(Reply::Whole(WholeReply { status: head.status, headers: headers::relayed(&head.headers), body }))
}

async fn send(
    service: &Service,
    endpoint: Endpoint,
    body: RequestBody,
    call: &Call<'_>,
) -> Result<(response::Parts, Body), AttemptFailure> {
    let request = || {
        let mut request = service.request(endpoint, call.key, body.clone(), call.peek.stream, call.client_headers);
        let headers = request.headers_mut();
        if endpoint.answers_anything() {
            headers.insert(ACCEPT, call.client_headers.get(ACCEPT).cloned().unwrap_or(ANYTHING));
        }
        if let Some(form) = call.form {
            headers.insert(CONTENT_TYPE, form.content_type.clone());
        }
        request
    };
    match call.form.and_then(|form| form.rest.clone()) {
        Some(rest) => service.client.send_once(request().map(|body| body.before(rest))).await,
        None => service.client.send(request, call.twice).await,
    }
}

/// Whether the answer says that it is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media_type| media_type.eq_ignore_ascii_case(b"application/json"))
}

fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    Some(value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
}

/// Whether the answer says that it is something else than a stream. Some servers do not say what a stream is.
fn is_no_stream(headers: &HeaderMap, passage: &Passage) -> bool {
    let streamed: &[u8] = if passage.streams_lines() { b"application/x-ndjson" } else { b"text/event-stream" };
    media_type(headers).is_some_and(|media_type| !media_type.eq_ignore_ascii_case(streamed))
}

/// What the upstream says no with.
pub(super) async fn refused(
    dialect: Dialect,
    head: &response::Parts,
    mut flow: Flow,
    passage: &Passage,
) -> AttemptFailure {
    let mut bytes = BytesMut::new();
    let read = async {
        while let Some(Ok(chunk)) = flow.next().await {
            if bytes.len() + chunk.len() > LARGEST_ERROR {
                break;
            }
            bytes.extend_from_slice(&chunk);
        }
    };
    // An error that breaks off, or does not come to its end, is still the error that its status says.
    let _ = tokio::time::timeout(ERROR_PATIENCE, read).await;
    let bytes = bytes.freeze();
    let refusal = Refusal { dialect, status: head.status, headers: &head.headers, body: &bytes };
    let Diagnosis { kind, retry_after, error } = refusal.diagnose(SystemTime::now());
    let message = match head.headers.get(LOCATION).map(HeaderValue::to_str) {
        Some(Ok(to)) if head.status.is_redirection() => {
            format!("it redirects to {to}; set the provider's `base_url` to where it really is")
        }
        _ if error.message.is_empty() => format!("status {} and nothing more", head.status.as_u16()),
        _ => error.message.clone(),
    };
    let body = kind.is_the_requests_fault().then(|| {
        if let Some(told) = passage.error(&error) {
            return told;
        }
        // What is cut is not JSON any more, so it is not taken for an error object either.
        if UpstreamError::is_envelope(&bytes) {
            return bytes;
        }
        UpstreamError { message: message.clone(), ..error }.into_body("invalid_request_error").to_json()
    });
    let headers = headers::relayed_with_error(&head.headers);
    AttemptFailure { kind, status: head.status.as_u16(), retry_after, message, body, headers }
}

const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const DROPPED: HeaderName = HeaderName::from_static("x-witgate-dropped");
/// For the rest of an error whose status is known already.
const ERROR_PATIENCE: Duration = Duration::from_secs(2);
/// An upstream's error is relayed up to this size: beyond it, it is no error message.
const LARGEST_ERROR: usize = 64 << 10;
