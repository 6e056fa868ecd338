//! The doors that every request for inference passes, whatever it asks for, so that none can be forgotten at one path.
//!
//! [`attend`] is the outer one: the request gets its id and its record, ends with the gateway at the latest, and is
//! answered even when its handler panics. [`enter`] are the inner ones, the cheap before the dear: who asks, how long,
//! how urgent, whether there is room, and only then the body.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Request};
use witgate_core::config::Server;
use witgate_core::dialect::Speech;
use witgate_core::openai::{Endpoint, peek};
use witgate_core::routes::{Resolved, RouteTable};

use crate::admission::Held;
use crate::api::body::{check_content_type, collect};
use crate::api::cors::Sharing;
use crate::api::encoding::Encoding;
use crate::api::error::{ApiError, Busy};
use crate::api::overload;
use crate::api::patience::Patience;
use crate::gateway::Gateway;
use crate::pipeline::context::Arrival;
use crate::pipeline::request::RequestRecord;
use crate::snapshot::Snapshot;
use crate::telemetry::request_id::RequestId;

/// A request before the inner doors, with the snapshot that it keeps to its end.
pub(super) struct Visitor {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Body,
}

/// Lets a request in: `answer` finds what to say, `respond` says it, and what goes wrong is told in the endpoint's own
/// shape. Either way the response bears the request's id and receipt, and is shared with browsers as configured.
pub(super) async fn attend<T>(
    gateway: Arc<Gateway>,
    endpoint: Endpoint,
    request: Request<Body>,
    answer: impl AsyncFnOnce(Visitor, &mut RequestRecord) -> Result<T, ApiError>,
    respond: impl FnOnce(T, RequestRecord) -> Response<Body>,
) -> Response<Body> {
    let id = RequestId::of(&request);
    let (parts, body) = request.into_parts();
    let snapshot = gateway.snapshot();
    let sharing = Sharing::of(snapshot.config.server.cors.as_ref(), &parts.headers);
    let mut record = RequestRecord::begin(&gateway, endpoint, id);
    let drain = Arc::clone(gateway.drain());
    let answer = {
        let visitor = Visitor { gateway, snapshot, endpoint, headers: parts.headers, body };
        let answer = pin!(AssertUnwindSafe(answer(visitor, &mut record)).catch_unwind());
        match drain.unless_over(answer).await {
            Some(answer) => answer.unwrap_or(Err(ApiError::Internal)),
            None => Err(ApiError::ShuttingDown),
        }
    };
    let mut response = match answer {
        Ok(answer) => respond(answer, record),
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

/// Takes a request through the inner doors: authenticated, admitted, read, and routed.
///
/// # Errors
/// When a door stays shut.
pub(super) async fn enter(visitor: Visitor, record: &mut RequestRecord) -> Result<Arrival, ApiError> {
    let Visitor { gateway, snapshot, endpoint, headers, body } = visitor;
    let caller = snapshot.keys.authenticate(&headers).map_err(ApiError::Auth)?;
    check_content_type(&headers, endpoint.speech())?;
    let encoding = Encoding::announced(&headers)?;
    let server = &snapshot.config.server;
    let patience = Patience::of(&headers)?;
    let priority = overload::priority(&headers, caller.priority)?;
    // Before the body: what waits takes no memory.
    record.admitted(overload::enter(&gateway, server, priority, record.started()).await?);
    let mut held = Held::new(&gateway.bodies, server.body_memory);
    let body = read(&gateway, &headers, body, encoding, server, &mut held).await?;
    let peek = peek(&body, endpoint).map_err(ApiError::Request)?;
    record.asked(&caller, &peek.model);
    let resolved = resolve(&snapshot.table, &peek.model, endpoint.speech())
        .ok_or_else(|| ApiError::UnknownModel { model: peek.model.to_string() })?;
    let route = resolved.route;
    record.routed(&snapshot, route);
    let (requested_model, candidates) = (resolved.model.into(), Arc::clone(resolved.deployments));
    Ok(Arrival {
        id: record.id().clone(),
        started: record.started(),
        gateway,
        route,
        requested_model,
        candidates,
        bound: false,
        headers,
        snapshot,
        body,
        peek,
        caller,
        patience,
        priority,
        held,
    })
}

/// Where a name leads. A client of Ollama's may say the tag that a name without one stands for.
pub(super) fn resolve<'a>(table: &'a RouteTable, model: &'a str, speech: Speech) -> Option<Resolved<'a>> {
    let listed = |name: &str| table.models().iter().any(|known| **known == *name);
    let plain =
        model.strip_suffix(":latest").filter(|plain| speech == Speech::Ollama && listed(plain) && !listed(model));
    table.resolve(plain.unwrap_or(model))
}

/// The body, unpacked; where there is no memory for it, that is counted.
async fn read(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
    encoding: Option<Encoding>,
    server: &Server,
    held: &mut Held,
) -> Result<Bytes, ApiError> {
    let whole = async {
        let body = collect(headers, body, server.body_limit, server.read_timeout, held).await?;
        let Some(encoding) = encoding else { return Ok(body) };
        let body = encoding.undo(body, server.body_limit).await?;
        if held.take(body.len()) { Ok(body) } else { Err(ApiError::Busy(Busy::Memory)) }
    };
    whole.await.inspect_err(|error| {
        if matches!(error, ApiError::Busy(Busy::Memory)) {
            gateway.overload.no_memory();
        }
    })
}
