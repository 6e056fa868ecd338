//! One attempt: sends the request, waits for what must come first, and says what came.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, response};
use witgate_core::config::Dialect;
use witgate_core::dialect::Translated;
use witgate_core::failure::{Diagnosis, Refusal};
use witgate_core::openai::{Endpoint, ModelLiteral, Peek, RequestBody, UpstreamError, peek, rewrite};
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
        let first_byte = call.first_byte_timeout.unwrap_or(provider.first_byte_timeout);
        let patience = first_byte.min(call.deadline.saturating_duration_since(Instant::now()));
        let head_status = AtomicU16::new(0);
        match tokio::time::timeout(patience, begin(provider, body, &call, &passage, &head_status)).await {
            Ok(begun) => {
                let mut reply = begun?.complete(&call, &passage, provider.manners.dialect).await?;
                if let Some(dropped) = dropped {
                    reply.headers_mut().insert(DROPPED, dropped);
                }
                Ok(reply)
            }
            Err(_) if patience < first_byte => Err(AttemptFailure::new(FailureKind::Deadline, DEADLINE)),
            Err(_) => Err(match head_status.into_inner() {
                0 => {
                    AttemptFailure::new(FailureKind::FirstByteTimeout, format!("no answer began within {first_byte:?}"))
                }
                status => {
                    let message = format!("no event of the stream came within {first_byte:?}");
                    AttemptFailure::new(FailureKind::FirstTokenTimeout, message).with_status(status)
                }
            }),
        }
    }
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
            return Ok((Bytes::from(body).into(), told(&dropped)));
        }
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
    let peeked = peek(&body, call.peek.endpoint).map_err(|error| refused(error.to_string()))?;
    rewritten(&body, &peeked)
}

/// Names of fields as a header.
fn told(dropped: &[String]) -> Option<HeaderValue> {
    // A client may have written anything in their place.
    let plain = |name: &String| name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(100).collect();
    let names: Vec<String> = dropped.iter().map(plain).collect();
    (!names.is_empty()).then(|| HeaderValue::try_from(names.join(", ")).ok())?
}

/// Sends the request and waits for what the first-byte timeout is about: the head of the answer, or of a stream the
/// first event. `head_status` tells how far it came, to whoever stops waiting.
async fn begin(
    provider: &Provider,
    body: RequestBody,
    call: &Call<'_>,
    passage: &Passage,
    head_status: &AtomicU16,
) -> Result<Begun, AttemptFailure> {
    let (head, source) = match &provider.backend {
        Backend::Http(service) => {
            let (head, body) = send(service, passage.endpoint(), body, call).await?;
            (head, Source::Http(body))
        }
        Backend::Demo(demo) => {
            let (head, script) = demo.answer(&body, passage.endpoint(), SystemTime::now());
            (head, Source::Demo(script))
        }
        Backend::Unusable(why) => return Err(AttemptFailure::new(FailureKind::Connect, why)),
    };
    head_status.store(head.status.as_u16(), Relaxed);
    let flow = Flow::new(source, head.status.as_u16(), provider.idle_timeout, call.deadline);
    if !head.status.is_success() {
        return Ok(Begun::Refused(head, flow));
    }
    if call.peek.stream && !is_other_than_events(&head.headers) {
        let events = Box::new(Events::begin(flow, *passage, call.peek).await?);
        let headers = headers::relayed(&head.headers);
        return Ok(Begun::Stream(StreamReply { status: head.status, headers, events }));
    }
    Ok(Begun::Whole { head, flow, streaming: call.peek.stream })
}

async fn send(
    service: &Service,
    endpoint: Endpoint,
    body: RequestBody,
    call: &Call<'_>,
) -> Result<(response::Parts, Body), AttemptFailure> {
    let request = || service.request(endpoint, call.key, body.clone(), call.peek.stream, call.client_headers);
    service.client.send(request).await
}

/// An answer that has begun.
enum Begun {
    Stream(StreamReply),
    Whole { head: response::Parts, flow: Flow, streaming: bool },
    Refused(response::Parts, Flow),
}

impl Begun {
    /// Reads what must be known before the answer can be passed on.
    async fn complete(self, call: &Call<'_>, passage: &Passage, dialect: Dialect) -> Result<Reply, AttemptFailure> {
        match self {
            Self::Stream(reply) => Ok(Reply::Stream(reply)),
            Self::Refused(head, flow) => Err(refused(dialect, &head, flow, passage).await),
            Self::Whole { head, flow, streaming } => {
                let body = if passage.is_same() || streaming {
                    AnswerBody::begin(flow).await?
                } else {
                    AnswerBody::translated(flow, |body| passage.answer(body)).await?
                };
                if streaming {
                    let got = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
                    let message = format!("asked for a stream, but the answer's content type is `{got}`");
                    let failure = AttemptFailure::new(FailureKind::Malformed, message);
                    return Err(failure.with_status(head.status.as_u16()));
                }
                let embeddings = call.peek.endpoint == Endpoint::Embeddings;
                let body = if embeddings { vectors::as_asked(body, call.body) } else { body };
                let headers = headers::relayed(&head.headers);
                Ok(Reply::Whole(WholeReply { status: head.status, headers, body }))
            }
        }
    }
}

/// Whether the answer says that it is something else than events. Some servers do not say what a stream is.
fn is_other_than_events(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        !media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// What the upstream says no with.
async fn refused(dialect: Dialect, head: &response::Parts, mut flow: Flow, passage: &Passage) -> AttemptFailure {
    let mut bytes = BytesMut::new();
    // An error that breaks off is still the error that its status says.
    while let Some(Ok(chunk)) = flow.next().await {
        if bytes.len() + chunk.len() > LARGEST_ERROR {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
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
/// An upstream's error is relayed up to this size: beyond it, it is no error message.
const LARGEST_ERROR: usize = 64 << 10;
