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
use http::{HeaderName, HeaderValue, Request, StatusCode};
use witgate_core::config::Dialect;
use witgate_core::openai::{Endpoint, Usage};
use witgate_wasm::Choice;

use crate::api::doors::{self, Visitor};
use crate::api::error::ApiError;
use crate::clock;
use crate::gateway::Gateway;
use crate::pipeline::context::Context;
use crate::pipeline::decide;
use crate::pipeline::request::RequestRecord;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Purpose;
use crate::upstream::{AnswerBody, Call, Reply};

/// `POST /v1/messages/count_tokens`
pub async fn count_tokens(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    doors::attend(gateway, Purpose::Endpoint(Endpoint::CountTokens), request, count, respond).await
}

fn respond(Count { body, by }: Count, mut record: RequestRecord) -> Response<Body> {
    record.passed(body.len());
    record.served(StatusCode::OK, Usage::default());
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(COUNTED_BY, HeaderValue::from_static(by));
    record.write_headers(headers);
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

async fn count(visitor: Visitor, record: &mut RequestRecord) -> Result<Count, ApiError> {
    let mut arrival = doors::enter(visitor, Endpoint::CountTokens, record).await?;
    let tokens = arrival.peek.prompt_tokens;
    arrival.candidates =
        arrival.candidates.iter().copied().filter(|number| counts(&arrival.snapshot, *number)).collect();
    if arrival.candidates.is_empty() {
        return Ok(Count::estimate(tokens));
    }
    let context = Context::new(arrival);
    Ok(ask(&context).await?.unwrap_or_else(|| Count::estimate(tokens)))
}

fn counts(snapshot: &Snapshot, number: u32) -> bool {
    snapshot.config.provider_of(number).is_some_and(|provider| provider.dialect == Dialect::Anthropic)
}

/// What the provider says; `None` when it cannot say, and an estimate is better than nothing.
async fn ask(context: &Context) -> Result<Option<Count>, ApiError> {
    let Choice::Run(plan) = decide::first(context).await.choice else { return Ok(None) };
    let Some(attempt) = plan.attempts.first() else { return Ok(None) };
    let deployment = attempt.target as usize;
    let call = Call {
        deployment,
        key: context.snapshot.fleet.deployments()[deployment].live.next_key(clock::monotonic()),
        body: &context.body,
        form: None,
        again: false,
        peek: &context.peek,
        requested_model: &context.requested_model,
        answer_model: None,
        overlay: None,
        so_far: None,
        hold_errors: false,
        client_headers: &context.headers,
        instead: context.route().times,
        at_most: context.patience.times,
        twice: true,
        begin_by: context.begin_by,
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
