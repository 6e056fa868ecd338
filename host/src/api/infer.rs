//! `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings` and `/v1/messages`: the life of a request, on one screen.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Request};
use witgate_core::config::Server;
use witgate_core::openai::{Endpoint, peek};

use crate::admission::Held;
use crate::api::body::{check_content_type, collect};
use crate::api::cors::Sharing;
use crate::api::encoding::Encoding;
use crate::api::error::{ApiError, Busy};
use crate::api::overload;
use crate::api::patience::Patience;
use crate::cache::{Hit, Lookup, Question, Slot};
use crate::gateway::Gateway;
use crate::pipeline::context::{Arrival, Context};
use crate::pipeline::execute::{self, Answered};
use crate::pipeline::relay;
use crate::pipeline::request::RequestRecord;
use crate::snapshot::Snapshot;
use crate::telemetry::request_id::RequestId;

/// `POST /v1/chat/completions`
pub async fn chat(state: State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    infer(state, Endpoint::Chat, request).await
}

/// `POST /v1/completions`
pub async fn completions(state: State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    infer(state, Endpoint::Completions, request).await
}

/// `POST /v1/embeddings`
pub async fn embeddings(state: State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    infer(state, Endpoint::Embeddings, request).await
}

/// `POST /v1/messages`
pub async fn messages(state: State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    infer(state, Endpoint::Messages, request).await
}

async fn infer(State(gateway): State<Arc<Gateway>>, endpoint: Endpoint, request: Request<Body>) -> Response<Body> {
    let id = RequestId::of(&request);
    let (parts, body) = request.into_parts();
    let snapshot = gateway.snapshot();
    let sharing = Sharing::of(snapshot.config.server.cors.as_ref(), &parts.headers);
    let mut record = RequestRecord::begin(&gateway, endpoint, id);
    let drain = Arc::clone(gateway.drain());
    let answer = {
        let answer = answer(gateway, snapshot, endpoint, parts.headers, body, &mut record);
        let answer = pin!(AssertUnwindSafe(answer).catch_unwind());
        match drain.unless_over(answer).await {
            Some(answer) => answer.unwrap_or(Err(ApiError::Internal)),
            None => Err(ApiError::ShuttingDown),
        }
    };
    let mut response = match answer {
        Ok(Found::Kept(hit)) => relay::replay(&hit, record),
        Ok(Found::Answered(answered, slot)) => relay::respond(*answered, record, slot),
        Err(error) => {
            record.failed(&error);
            let mut response = error.respond_to(endpoint);
            record.write_headers(response.headers_mut());
            response
        }
    };
    if let Some(sharing) = sharing {
        sharing.write(response.headers_mut());
    }
    response
}

/// Where the answer is.
enum Found {
    /// In the cache.
    Kept(Hit),
    /// Upstream; with the cache's place for it.
    Answered(Box<Answered>, Option<Slot>),
}

async fn answer(
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Body,
    record: &mut RequestRecord,
) -> Result<Found, ApiError> {
    let caller = snapshot.keys.authenticate(&headers).map_err(ApiError::Auth)?;
    check_content_type(&headers)?;
    let encoding = Encoding::announced(&headers)?;
    let server = &snapshot.config.server;
    let patience = Patience::of(&headers)?;
    let priority = overload::priority(&headers, caller.priority)?;
    // Before the body: what waits takes no memory.
    record.admitted(overload::enter(&gateway, server, priority, record.started()).await?);
    let mut held = Held::new(&gateway.bodies, server.body_memory);
    let body = read(&headers, body, encoding, server, &mut held).await.inspect_err(|error| {
        if matches!(error, ApiError::Busy(Busy::Memory)) {
            gateway.overload.no_memory();
        }
    })?;
    let peek = peek(&body, endpoint).map_err(ApiError::Request)?;
    record.asked(&caller, &peek.model);
    let resolved =
        snapshot.table.resolve(&peek.model).ok_or_else(|| ApiError::UnknownModel { model: peek.model.to_string() })?;
    let route = resolved.route;
    record.routed(&snapshot, route);
    let (requested_model, candidates) = (resolved.model.into(), Arc::clone(resolved.deployments));
    let context = Context::new(Arrival {
        id: record.id().clone(),
        started: record.started(),
        gateway,
        route,
        requested_model,
        candidates,
        headers,
        snapshot,
        body,
        peek,
        caller,
        patience,
        priority,
        held,
    });
    let question = Question {
        scope: context.route().cache.as_ref(),
        tenant: &context.caller.tenant_name,
        endpoint,
        model: &context.requested_model,
        headers: &context.headers,
        body: &context.body,
    };
    let lookup = context.gateway.cache.look(question).await;
    record.cache(&lookup);
    let slot = match lookup {
        Lookup::Hit(hit) => return Ok(Found::Kept(hit)),
        Lookup::Miss(slot) => Some(slot),
        Lookup::Bypass => None,
    };
    match execute::run(&context).await {
        Ok(answered) => Ok(Found::Answered(Box::new(answered), slot)),
        Err(unanswered) => {
            record.decided(unanswered.by, unanswered.deployment, unanswered.attempts);
            Err(unanswered.error)
        }
    }
}

/// The body, unpacked.
async fn read(
    headers: &HeaderMap,
    body: Body,
    encoding: Option<Encoding>,
    server: &Server,
    held: &mut Held,
) -> Result<Bytes, ApiError> {
    let body = collect(headers, body, server.body_limit, server.read_timeout, held).await?;
    let Some(encoding) = encoding else { return Ok(body) };
    let body = encoding.undo(body, server.body_limit).await?;
    if held.take(body.len()) { Ok(body) } else { Err(ApiError::Busy(Busy::Memory)) }
}
