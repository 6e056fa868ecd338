//! Every path that is served, and what it says to a method that it does not take.
//!
//! A path stands here once, with its method, so `Allow`, the error and the answer to a browser's preflight cannot
//! disagree with what is served. Nothing is layered over the inference paths: their handlers name, log and share
//! their answers themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use witgate_core::dialect::Speech;
use witgate_core::openai::{Endpoint, Usage};

use crate::admin;
use crate::api::cors::Sharing;
use crate::api::error::{ApiError, Label};
use crate::api::{count_tokens, infer, models, ollama, passthrough};
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;
use crate::telemetry::access::AccessLine;
use crate::telemetry::request_id::{self, RequestId};

/// The whole service.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let mut inference = Router::new();
    let mut others = Router::new();
    for base in ["", "/v1"] {
        for end in ["", "/"] {
            // Ollama has its own beginning.
            let below = |endpoint: &Endpoint| base.is_empty() || endpoint.speech() != Speech::Ollama;
            for endpoint in Endpoint::ALL.into_iter().filter(below) {
                let path = format!("{base}{}{end}", endpoint.path());
                inference = inference.route(
                    &path,
                    match endpoint {
                        Endpoint::CountTokens => asks(count_tokens::count_tokens),
                        _ => asks(move |state, request| infer::infer(state, endpoint, request)),
                    },
                );
            }
            others = others.route(&format!("{base}/models{end}"), reads(models::list));
        }
        others = others.route(&format!("{base}/models/{{*id}}"), reads(models::retrieve));
    }
    // Where Cohere has it today, and where llama.cpp has it too.
    for path in ["/v2/rerank", "/v1/reranking", "/reranking"] {
        inference = inference.route(path, asks(|state, request| infer::infer(state, Endpoint::Rerank, request)));
    }
    for end in ["", "/"] {
        others = others
            .route(&format!("/api/tags{end}"), reads(ollama::tags))
            .route(&format!("/api/ps{end}"), reads(ollama::running))
            .route(&format!("/api/show{end}"), does(ollama::show))
            .route(&format!("/api/version{end}"), reads(ollama::version));
    }
    let others = others
        .route("/health", reads(admin::live))
        .route("/health/live", reads(admin::live))
        .route("/health/ready", reads(admin::ready))
        .route("/metrics", reads(admin::metrics))
        .route("/admin/policies", reads(admin::policies))
        .route("/admin/policies/{name}/rollback", does(admin::change::roll_back))
        .route("/admin/policies/{name}/pin", does(admin::change::pin))
        .route("/admin/policies/{name}/unpin", does(admin::change::unpin))
        .route("/admin/policies/{name}/unload", does(admin::change::unload))
        .route("/admin/policies/{name}/load", does(admin::change::load))
        .route("/admin/reload", does(admin::change::reload))
        .layer(from_fn_with_state(Arc::clone(&gateway), attended));
    inference.merge(others).fallback(elsewhere).with_state(gateway)
}

/// A path that inference is asked at.
fn asks<H: Handler<T, Arc<Gateway>>, T: 'static>(handler: H) -> MethodRouter<Arc<Gateway>> {
    post(handler).fallback(async |State(gateway): State<Arc<Gateway>>, request: Request| {
        let visit = Visit::begin(&gateway, &request);
        visit.end(other_method(&visit.snapshot, &request, POST))
    })
}

/// A path that something is done at.
fn does<H: Handler<T, Arc<Gateway>>, T: 'static>(handler: H) -> MethodRouter<Arc<Gateway>> {
    post(handler).fallback(async |State(gateway): State<Arc<Gateway>>, request: Request| {
        other_method(&gateway.snapshot(), &request, POST)
    })
}

/// A path that something is read at.
fn reads<H: Handler<T, Arc<Gateway>>, T: 'static>(handler: H) -> MethodRouter<Arc<Gateway>> {
    get(handler).fallback(async |State(gateway): State<Arc<Gateway>>, request: Request| {
        other_method(&gateway.snapshot(), &request, GET)
    })
}

/// What a path says to a method that it has no handler for.
fn other_method(snapshot: &Snapshot, request: &Request, allowed: &'static str) -> Response {
    if request.method() != Method::OPTIONS {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        return ollama::refuse(ApiError::WrongMethod { method, path, allowed }, request.uri().path());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    if let Some(sharing) = Sharing::of(snapshot.config.server.cors.as_ref(), request.headers()) {
        sharing.write_preflight(request.headers(), allowed, response.headers_mut());
    }
    response
}

/// A path that nothing is served at: passed through where the configuration says so, else unknown.
async fn elsewhere(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let visit = Visit::begin(&gateway, &request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match passthrough::is_answered(&visit.snapshot.config, &path) {
        false => visit.end(ollama::refuse(ApiError::UnknownPath { method, path }, request.uri().path())),
        // A browser asks the gateway, and the provider knows nothing of whom the gateway shares with.
        true if method == Method::OPTIONS => visit.end(other_method(&visit.snapshot, &request, passthrough::METHODS)),
        true => passthrough::pass_through(gateway, request).await,
    }
}

async fn attended(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let visit = Visit::begin(&gateway, &request);
    let response = next.run(request).await;
    visit.end(response)
}

/// A request that no inference handler sees: its answer is named, shared, and logged when it is an error.
struct Visit {
    snapshot: Arc<Snapshot>,
    id: RequestId,
    method: Method,
    path: Box<str>,
    sharing: Option<Sharing>,
    started: Instant,
}

impl Visit {
    fn begin(gateway: &Gateway, request: &Request) -> Self {
        let snapshot = gateway.snapshot();
        let path = request.uri().path();
        Self {
            id: RequestId::of(request),
            method: request.method().clone(),
            path: path[..path.floor_char_boundary(LONGEST_PATH)].into(),
            sharing: Sharing::of(snapshot.config.server.cors.as_ref(), request.headers()),
            started: Instant::now(),
            snapshot,
        }
    }

    fn end(&self, mut response: Response) -> Response {
        response.headers_mut().insert(request_id::HEADER, self.id.header_value());
        if let Some(sharing) = &self.sharing {
            sharing.write(response.headers_mut());
        }
        if let Some(Label(label)) = response.extensions().get::<Label>().copied()
            && self.snapshot.config.log.requests
            && AccessLine::wanted()
        {
            self.log(response.status(), label, self.started.elapsed());
        }
        response
    }

    fn log(&self, status: StatusCode, outcome: &'static str, latency: Duration) {
        AccessLine {
            id: &self.id,
            method: self.method.as_str(),
            path: &self.path,
            status: status.as_u16(),
            outcome,
            key: "",
            tenant: "",
            model: "",
            route: "",
            deployment: "",
            policy: "",
            revision: "",
            attempts: 0,
            cache: "",
            ttft: None,
            latency,
            usage: Usage::default(),
            usd: None,
            bytes: 0,
            resumes: 0,
            not_resumed: "",
        }
        .write();
    }
}

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";
/// Bytes of a path that are logged.
const LONGEST_PATH: usize = 128;
