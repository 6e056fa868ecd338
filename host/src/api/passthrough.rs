//! Any other path below `/v1/`: passed through to the provider that the configuration names.
//!
//! Files, batches, fine-tuning jobs and vector stores lie at one provider, so there is nothing to route and no policy is
//! asked. What applies to every request applies here too: keys, limits, timeouts, log, metrics, and that a client that
//! hangs up ends what it asked for. Bodies go by in both directions as they come.
//!
//! What is asked about a response goes to the provider that made it for this tenant, as far as that is known; only else
//! to the one that is configured.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use http_body::{Body as _, Frame};
use percent_encoding::percent_decode_str;
use witgate_core::config::Config;
use witgate_core::openai::Usage;

use crate::api::doors::{self, Admitted, Visitor};
use crate::api::error::ApiError;
use crate::gateway::Gateway;
use crate::pipeline::request::RequestRecord;
use crate::telemetry::metrics::Purpose;
use crate::upload::{Bounds, Upload};
use crate::upstream::{AttemptFailure, Passed, Passing, Through};

/// The methods that are passed through, and the one that a browser asks with beforehand.
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The provider that a path is passed through to; `None` when there is no such path.
pub fn provider_for(config: &Config, path: &str) -> Option<usize> {
    // Whoever climbs out of a provider's API is not led there by the configuration.
    let climbs = |segment: &str| matches!(&*percent_decode_str(segment).decode_utf8_lossy(), "." | "..");
    let below = path.strip_prefix("/v1/").filter(|below| !below.is_empty() && !below.split('/').any(climbs));
    below.and_then(|_| config.passthrough.provider_for(path))
}

/// Whether a request for such a path is answered here, if only with the news that there is no such response.
pub fn is_answered(config: &Config, path: &str) -> bool {
    response_in(path).is_some() || provider_for(config, path).is_some()
}

/// The response that a path is about.
fn response_in(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/v1/responses/")?.split('/').next()?;
    // What stands there besides are names of what can be done with a request.
    (!id.is_empty() && !matches!(id, "." | ".." | "input_tokens" | "compact") && !id.contains('%')).then_some(id)
}

/// Answers a request for such a path.
pub async fn pass_through(gateway: Arc<Gateway>, request: Request<Body>) -> Response<Body> {
    doors::attend(gateway, Purpose::Passthrough, request, answer, respond).await
}

async fn answer(visitor: Visitor, record: &mut RequestRecord) -> Result<(Method, Passed), ApiError> {
    let Visitor { gateway, snapshot, head, body } = visitor;
    let caller = snapshot.keys.authenticate(&head.headers).map_err(ApiError::Auth)?;
    record.asked(&caller, "");
    let Admitted { patience, .. } = doors::admit(&gateway, &snapshot, &head.headers, &caller, record).await?;
    let (config, path) = (&snapshot.config, head.uri.path());
    // As the snapshot of this request has it: the one that led here may have been another.
    let response = response_in(path);
    let kept = response.and_then(|id| gateway.kept.provider_of(&caller.tenant_name, id));
    let kept = kept.and_then(|name| config.providers.iter().position(|provider| provider.name == name));
    let place = kept.or_else(|| provider_for(config, path)).ok_or_else(|| match response {
        Some(id) => ApiError::UnknownResponse { id: id.into() },
        None => ApiError::UnknownPath { method: head.method.clone(), path: path.to_owned() },
    })?;
    let provider = &config.providers[place].name;
    record.passed_to(provider);
    let bounds = Bounds { limit: config.server.upload_limit, patience: config.server.read_timeout };
    bounds.admit(&head.headers).map_err(ApiError::Upload)?;
    let (begin_by, deadline) = patience.ends(record.started(), config.server.request_timeout);
    let below = head.uri.path_and_query().map_or("", |whole| &whole.as_str()["/v1".len()..]);
    let body = (!body.is_end_stream()).then(|| Upload::new(body, 0, None, bounds));
    let through = Through {
        method: &head.method,
        path: below,
        headers: &head.headers,
        body: body.clone(),
        at_most: patience.times,
        begin_by,
        deadline,
    };
    let passed = snapshot.upstreams.pass_through(place, through).await.map_err(|failure| {
        match body.as_ref().and_then(Upload::fault) {
            Some(fault) => ApiError::Upload(fault),
            None => ApiError::Passthrough { provider: Arc::clone(provider), failure: Box::new(failure) },
        }
    })?;
    Ok((head.method, passed))
}

fn respond((method, passed): (Method, Passed), mut record: RequestRecord) -> Response<Body> {
    let Passed { status, mut headers, body } = passed;
    record.first_token();
    record.write_headers(&mut headers);
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let is_empty = method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || length == Some(0);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if is_empty {
        // Nobody will ask for a body.
        record.served(status, Usage::default());
    } else {
        *response.body_mut() = Body::new(Passage { status, body, left: length, record: Some(record) });
    }
    response
}

/// A body on its way to the client. What breaks off breaks the client's connection too, so that it cannot look whole.
struct Passage {
    status: StatusCode,
    body: Passing,
    /// Of what was announced: after the last byte nobody asks for more.
    left: Option<u64>,
    /// `None` once the answer has ended.
    record: Option<RequestRecord>,
}

impl http_body::Body for Passage {
    type Data = Bytes;
    type Error = AttemptFailure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AttemptFailure>>> {
        let passage = self.get_mut();
        let Some(record) = &mut passage.record else { return Poll::Ready(None) };
        let polled = if record.is_over() {
            Some(Err(AttemptFailure::shutting_down()))
        } else {
            ready!(passage.body.poll_next(cx))
        };
        Poll::Ready(match polled {
            Some(Ok(piece)) => {
                record.passed(piece.len());
                passage.left = passage.left.map(|left| left.saturating_sub(piece.len() as u64));
                if passage.left == Some(0) {
                    record.served(passage.status, Usage::default());
                    passage.record = None;
                }
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(failure)) => {
                record.broke_off(failure.kind.name(), Usage::default());
                passage.record = None;
                Some(Err(failure))
            }
            None => {
                record.served(passage.status, Usage::default());
                passage.record = None;
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use witgate_core::config::Passthrough;

    use super::*;

    #[test]
    fn a_path_is_about_a_response_when_it_names_one() {
        for path in ["/v1/responses/resp_1", "/v1/responses/resp_1/", "/v1/responses/resp_1/input_items"] {
            assert_eq!(response_in(path), Some("resp_1"), "{path}");
        }
        for path in [
            "/v1/responses",
            "/v1/responses/",
            "/v1/responses/../models",
            "/v1/responses/%2e%2e/models",
            "/v1/responses/input_tokens",
            "/v1/responses/compact",
            "/responses/resp_1",
        ] {
            assert_eq!(response_in(path), None, "{path}");
        }
    }

    #[test]
    fn only_paths_below_v1_are_passed_through_and_none_that_climbs() {
        let text = "providers: {a: {dialect: openai, base_url: 'http://a/v1'}}\ndeployments: {m@a: {}}\n\
                    routes: {m: {deployments: '*'}}";
        let files = [witgate_core::config::SourceFile::new("witgate.yaml", text)];
        let loaded = witgate_core::config::load(&files, &witgate_core::config::NoLookup);
        let mut config = loaded.unwrap_or_else(|problems| unreachable!("{problems:?}")).config;
        assert_eq!(provider_for(&config, "/v1/files"), None);
        config.passthrough = Passthrough { default: Some(0), paths: vec![] };
        for path in ["/v1/files", "/v1/files/", "/v1/files/a..b/.c", "/v1/a%2eb"] {
            assert_eq!(provider_for(&config, path), Some(0), "{path}");
        }
        for path in ["/v1", "/v1/", "/files", "/v2/files", "/v1/../admin", "/v1/a/%2e%2E/b", "/v1/.", "/v1/a/%2e."] {
            assert_eq!(provider_for(&config, path), None, "{path}");
        }
    }
}
