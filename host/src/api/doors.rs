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
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request};
use witgate_core::admission::Priority;
use witgate_core::dialect::Speech;
use witgate_core::needs::Needs;
use witgate_core::openai::{Endpoint, Peek};
use witgate_core::routes::{Resolved, RouteTable};

use crate::admission::Held;
use crate::api::auth::Caller;
use crate::api::cors::Sharing;
use crate::api::error::ApiError;
use crate::api::overload;
use crate::api::patience::Patience;
use crate::api::receive::{Announced, Received};
use crate::gateway::Gateway;
use crate::pipeline::context::Arrival;
use crate::pipeline::request::RequestRecord;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Purpose;
use crate::telemetry::request_id::RequestId;

/// A request before the inner doors, with the snapshot that it keeps to its end.
pub(super) struct Visitor {
    pub(super) gateway: Arc<Gateway>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) head: Parts,
    pub(super) body: Body,
}

/// A request that may run.
pub(super) struct Admitted {
    pub(super) patience: Patience,
    pub(super) priority: Priority,
}

/// Lets a request in: `answer` finds what to say, `respond` says it, and what goes wrong is told in the endpoint's own
/// shape. Either way the response bears the request's id and receipt, and is shared with browsers as configured.
pub(super) async fn attend<T>(
    gateway: Arc<Gateway>,
    purpose: Purpose,
    request: Request<Body>,
    answer: impl AsyncFnOnce(Visitor, &mut RequestRecord) -> Result<T, ApiError>,
    respond: impl FnOnce(T, RequestRecord) -> Response<Body>,
) -> Response<Body> {
    let id = RequestId::of(&request);
    let (head, body) = request.into_parts();
    let snapshot = gateway.snapshot();
    let sharing = Sharing::of(snapshot.config.server.cors.as_ref(), &head.headers);
    let mut record = RequestRecord::begin(&gateway, purpose, &head, id);
    let drain = Arc::clone(gateway.drain());
    let answer = {
        let visitor = Visitor { gateway, snapshot, head, body };
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
            let mut response = match purpose {
                Purpose::Endpoint(endpoint) => error.respond_to(endpoint),
                Purpose::Passthrough => error.into_response(),
            };
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
pub(super) async fn enter(
    visitor: Visitor,
    endpoint: Endpoint,
    record: &mut RequestRecord,
) -> Result<Arrival, ApiError> {
    let Visitor { gateway, snapshot, head: Parts { headers, .. }, body } = visitor;
    let caller = snapshot.keys.authenticate(&headers).map_err(ApiError::Auth)?;
    let announced = Announced::of(endpoint, &headers)?;
    let Admitted { patience, priority } = admit(&gateway, &snapshot, &headers, &caller, record).await?;
    let server = &snapshot.config.server;
    let mut held = Held::new(&gateway.bodies, server.body_memory);
    let Received { body, form, peek } =
        announced.receive(&headers, body, server, &mut held).await.inspect_err(|error| {
            if error.is_for_want_of_memory() {
                gateway.overload.no_memory();
            }
        })?;
    record.asked(&caller, &peek.model);
    let resolved = resolve(&snapshot.table, &peek.model, endpoint.speech())
        .ok_or_else(|| ApiError::UnknownModel { model: peek.model.to_string() })?;
    let route = resolved.route;
    record.routed(&snapshot, route);
    let requested_model = resolved.model.into();
    let mut needs = needs(&headers, &peek);
    let candidates = needs.narrow(&snapshot.fleet, resolved.deployments, &peek, &body).map_err(ApiError::Unable)?;
    Ok(Arrival {
        id: record.id().clone(),
        started: record.started(),
        gateway,
        route,
        requested_model,
        candidates,
        bound: false,
        needs,
        headers,
        snapshot,
        body,
        form,
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

/// What the request needs of a deployment. Counting needs nothing: how much too long a prompt is, is worth knowing.
fn needs(headers: &HeaderMap, peek: &Peek) -> Needs {
    if peek.endpoint == Endpoint::CountTokens {
        return Needs::default();
    }
    let mut betas = headers.get_all(ANTHROPIC_BETA).iter().filter_map(|value| value.to_str().ok());
    Needs::of(peek).with_longer_window(betas.any(|value| value.contains(LONGER_WINDOW)))
}

/// Waits for the right to run. Before the body is read: what waits takes no memory.
///
/// # Errors
/// When there is no room, or a header says what it cannot.
pub(super) async fn admit(
    gateway: &Gateway,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    caller: &Caller,
    record: &mut RequestRecord,
) -> Result<Admitted, ApiError> {
    let patience = Patience::of(headers)?;
    let priority = overload::priority(headers, caller.priority)?;
    let server = &snapshot.config.server;
    record.admitted(overload::enter(gateway, server, priority, record.started()).await?);
    Ok(Admitted { patience, priority })
}

const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// What Anthropic's clients say for a million tokens, with a model whose window is shorter without it.
const LONGER_WINDOW: &str = "context-1m";
