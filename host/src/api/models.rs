//! `GET /v1/models` and `GET /v1/models/{id}`: the names that clients may ask for.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};
use serde::Serialize;

use crate::api::error::ApiError;
use crate::api::json_response;
use crate::gateway::Gateway;

#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    /// OpenAI gives the model's release; a gateway can only say since when it serves the name.
    created: u64,
    owned_by: &'static str,
}

/// All names, in the order of the configuration.
pub async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response<Body> {
    let snapshot = gateway.snapshot();
    if let Err(error) = snapshot.keys.authenticate(&headers) {
        return ApiError::Auth(error).into_response();
    }
    let data = snapshot.table.models().iter().map(|id| model(id, &gateway)).collect();
    json_response(&ModelList { object: "list", data })
}

/// One name; it may hold slashes, and be escaped.
pub async fn retrieve(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    let snapshot = gateway.snapshot();
    if let Err(error) = snapshot.keys.authenticate(&headers) {
        return ApiError::Auth(error).into_response();
    }
    let path = uri.path().trim_end_matches('/');
    let escaped = path.split_once("/models/").map_or("", |(_, id)| id);
    let id = percent_encoding::percent_decode_str(escaped).decode_utf8_lossy();
    match snapshot.table.resolve(&id) {
        Some(_) => json_response(&model(&id, &gateway)),
        None => ApiError::UnknownModel { model: id.into_owned() }.into_response(),
    }
}

fn model<'a>(id: &'a str, gateway: &Gateway) -> Model<'a> {
    Model { id, object: "model", created: gateway.started_at, owned_by: "witgate" }
}
