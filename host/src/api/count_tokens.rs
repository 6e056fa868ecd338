//! `POST /v1/messages/count_tokens`: how long a prompt is, by the provider where it is Anthropic, else by estimate.
//!
//! Counting is no inference: it tells nothing of how a deployment is doing, so no outcome is recorded. Which deployment
//! is asked, the policies decide, among those that can count.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use witgate_core::config::Dialect;
use witgate_core::openai::{Endpoint, Usage, peek};
use witgate_core::vocabulary::FailureKind;
use witgate_wasm::Choice;

use crate::api::body::{check_content_type, collect};
use crate::api::cors::Sharing;
use crate::api::encoding::Encoding;
use crate::api::error::ApiError;
use crate::gateway::Gateway;
use crate::pipeline::context::{Arrival, Context};
use crate::pipeline::decide;
use crate::pipeline::request::RequestRecord;
use crate::snapshot::Snapshot;
use crate::telemetry::request_id::RequestId;
use crate::upstream::{AnswerBody, Call, Reply};

/// `POST /v1/messages/count_tokens`
pub async fn count_tokens(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    let id = RequestId::of(&request);
    let (parts, body) = request.into_parts();
    let snapshot = gateway.snapshot();
    let sharing = Sharing::of(snapshot.config.server.cors.as_ref(), &parts.headers);
    let mut record = RequestRecord::begin(&gateway, Endpoint::CountTokens, id);
    let mut response = match count(gateway, snapshot, parts.headers, body, &mut record).await {
        Ok(Count { body, by }) => {
            record.passed(body.len());
            record.served(StatusCode::OK, Usage::default());
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(COUNTED_BY, HeaderValue::from_static(by));
            response
        }
        Err(error) => {
            record.failed(&error);
            error.respond_to(Endpoint::CountTokens)
        }
    };
    record.write_headers(response.headers_mut());
    if let Some(sharing) = sharing {
        sharing.write(response.headers_mut());
    }
    response
}

struct Count {
    body: Bytes,
    /// For a header: who has counted.
    by: &'static str,
}

impl Count {
    fn estimate(tokens: u32) -> Self {
        Self { body: format!("{{\"input_tokens\":{tokens}}}").into(), by: "estimate" }
    }
}

async fn count(
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    headers: HeaderMap,
    body: Body,
    record: &mut RequestRecord,
) -> Result<Count, ApiError> {
    let caller = snapshot.keys.authenticate(&headers).map_err(ApiError::Auth)?;
    check_content_type(&headers)?;
    let encoding = Encoding::announced(&headers)?;
    let server = &snapshot.config.server;
    let mut body = collect(&headers, body, server.body_limit, server.read_timeout).await?;
    if let Some(encoding) = encoding {
        body = encoding.undo(body, server.body_limit).await?;
    }
    let peek = peek(&body, Endpoint::CountTokens).map_err(ApiError::Request)?;
    record.asked(&caller, &peek.model);
    let resolved =
        snapshot.table.resolve(&peek.model).ok_or_else(|| ApiError::UnknownModel { model: peek.model.to_string() })?;
    let route = resolved.route;
    record.routed(&snapshot, route);
    let counting: Vec<u32> = resolved.deployments.iter().copied().filter(|number| counts(&snapshot, *number)).collect();
    let tokens = peek.prompt_tokens;
    if counting.is_empty() {
        return Ok(Count::estimate(tokens));
    }
    let requested_model = resolved.model.into();
    let context = Context::new(Arrival {
        id: record.id().clone(),
        started: record.started(),
        gateway,
        route,
        requested_model,
        candidates: counting.into(),
        headers,
        snapshot,
        body,
        peek,
        caller,
    });
    Ok(ask(&context).await?.unwrap_or_else(|| Count::estimate(tokens)))
}

fn counts(snapshot: &Snapshot, number: u32) -> bool {
    let config = &snapshot.config;
    let deployment = config.deployments.get(number as usize);
    let provider = deployment.and_then(|deployment| config.providers.get(deployment.provider));
    provider.is_some_and(|provider| provider.dialect == Dialect::Anthropic)
}

/// What the provider says; `None` when it cannot say, and an estimate is better than nothing.
async fn ask(context: &Context) -> Result<Option<Count>, ApiError> {
    let Choice::Run(plan) = decide::first(context).await.choice else { return Ok(None) };
    let Some(attempt) = plan.attempts.first() else { return Ok(None) };
    let call = Call {
        deployment: attempt.target as usize,
        // Counting costs nothing, so no key is spared.
        key: 0,
        body: &context.body,
        peek: &context.peek,
        requested_model: &context.requested_model,
        overlay: None,
        client_headers: &context.headers,
        first_byte_timeout: attempt.timeout.or(context.route().first_byte_timeout),
        deadline: context.deadline,
    };
    match context.snapshot.upstreams.call(call).await {
        Ok(Reply::Whole(reply)) => match reply.body {
            AnswerBody::Whole(body) => Ok(Some(Count { body, by: "provider" })),
            AnswerBody::Long(_) => Ok(None),
        },
        Ok(Reply::Stream(_)) => Ok(None),
        Err(failure) if failure.kind.is_the_requests_fault() => Err(ApiError::Upstream {
            attempts: 1,
            deployment: context.deployment_id(attempt.target),
            failure: Box::new(failure),
        }),
        Err(failure) => {
            tracing::warn!(
                request_id = context.id.as_str(),
                deployment = &*context.deployment_id(attempt.target),
                failure = failure.kind.name(),
                reason = failure.message,
                "tokens are estimated, because the provider did not count them"
            );
            Ok(None)
        }
    }
}

const COUNTED_BY: HeaderName = HeaderName::from_static("x-witgate-counted-by");
