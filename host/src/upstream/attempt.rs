//! One attempt: sends the request, waits for what must come first, and says what came.

use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, response};
use witgate_core::config::Dialect;
use witgate_core::dialect::Translated;
use witgate_core::failure::{Diagnosis, Refusal};
use witgate_core::openai::{Endpoint, ModelLiteral, Peek, RequestBody, UpstreamError, peek as peek_at, rewrite};
use witgate_core::resume::continued;
use witgate_core::vocabulary::FailureKind;

use super::answer::AnswerBody;
use super::connection::Body;
use super::events::Events;
use super::failure::AttemptFailure;
use super::flow::{DEADLINE, Flow, Source};
use super::passage::Passage;
use super::provider::{Backend, Provider, Service};
use super::{Call, Deployment, Reply, StreamReply, Upstreams, WholeReply, headers, vectors};

impl Upstreams {
    /// Makes one attempt.
    ///
    /// # Errors
    /// Whatever kept the deployment from answering; nothing has been passed on then.
    pub async fn call(&self, call: Call<'_>) -> Result<Reply, AttemptFailure> {
        let deployment = &self.deployments[call.deployment];
        let provider = &self.providers[deployment.provider];
        let passage = Passage::find(call.peek.endpoint, provider.manners)?;
        let (body, dropped) = request_body(&call, deployment, &passage)?;
        let patience = provider.patience.of(&call.instead, &call.at_most);
        let started = Instant::now();
        let by = |limit: Duration| call.begin_by.min(started + limit);
        let head = head(provider, body, &call, &passage);
        let Ok(head) = tokio::time::timeout_at(by(patience.first_byte).into(), head).await else {
            let message = format!("no answer began within {:?}", patience.first_byte);
            return Err(late(&call, AttemptFailure::new(FailureKind::FirstByteTimeout, message)));
        };
        let (head, source) = head?;
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
    let body = if passage.is_same() || streaming {
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
        Some(name) => body.named(name),
        None => body,
    };
    Ok(Reply::Whole(WholeReply { status: head.status, headers: headers::relayed(&head.headers), body }))
}

async fn send(
    service: &Service,
    endpoint: Endpoint,
    body: RequestBody,
    call: &Call<'_>,
) -> Result<(response::Parts, Body), AttemptFailure> {
    let request = || service.request(endpoint, call.key, body.clone(), call.peek.stream, call.client_headers);
    service.client.send(request, call.twice).await
}

/// Whether the answer says that it is something else than a stream. Some servers do not say what a stream is.
fn is_no_stream(headers: &HeaderMap, passage: &Passage) -> bool {
    let streamed: &[u8] = if passage.streams_lines() { b"application/x-ndjson" } else { b"text/event-stream" };
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        !media_type.trim_ascii().eq_ignore_ascii_case(streamed)
    })
}

/// What the upstream says no with.
async fn refused(dialect: Dialect, head: &response::Parts, mut flow: Flow, passage: &Passage) -> AttemptFailure {
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

const DROPPED: HeaderName = HeaderName::from_static("x-witgate-dropped");
/// For the rest of an error whose status is known already.
const ERROR_PATIENCE: Duration = Duration::from_secs(2);
/// An upstream's error is relayed up to this size: beyond it, it is no error message.
const LARGEST_ERROR: usize = 64 << 10;
