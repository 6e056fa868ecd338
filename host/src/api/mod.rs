//! The client's side: paths, bodies, errors.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::api::error::ApiError;

pub mod auth;
pub mod body;
pub mod cors;
pub mod count_tokens;
mod doors;
pub mod encoding;
pub mod error;
pub mod infer;
pub mod models;
pub mod ollama;
pub mod overload;
pub mod passthrough;
pub mod paths;
pub mod patience;
mod receive;

/// A value as JSON.
pub fn json_response(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            ApiError::Internal.into_response()
        }
    }
}
