//! What Ollama's clients ask beside inference: which models there are, which are loaded, what one can do, and whose
//! version they talk to. Errors are in Ollama's shape.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use witgate_core::dialect::{Speech, rfc3339};
use witgate_core::fleet::FleetEntry;
use witgate_core::openai::{RequestError, json::SyntaxError};

use crate::api::error::ApiError;
use crate::api::{doors, json_response};
use crate::clock;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

/// `GET /api/version`
pub async fn version() -> Response<Body> {
    json_response(&json!({"version": SPOKEN}))
}

/// `GET /api/tags`: the names that clients may ask for, in the order of the configuration.
pub async fn tags(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response<Body> {
    list(&gateway, &headers, |_, _| true)
}

/// `GET /api/ps`: those that some deployment answers to without loading them first, as far as is known.
pub async fn running(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response<Body> {
    list(&gateway, &headers, is_loaded)
}

/// `POST /api/show`
pub async fn show(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let snapshot = gateway.snapshot();
    if let Err(error) = snapshot.keys.authenticate(&headers) {
        return ApiError::Auth(error).respond_to_ollama();
    }
    let asked = match serde_json::from_slice::<Asked>(&body) {
        Ok(asked) => asked,
        Err(error) => {
            let wrong = SyntaxError { problem: "expected an object", line: error.line(), column: error.column() };
            return ApiError::Request(wrong.into()).respond_to_ollama();
        }
    };
    let Some(name) = asked.model.or(asked.name).filter(|name| !name.is_empty()) else {
        return ApiError::Request(RequestError::Missing { field: "model" }).respond_to_ollama();
    };
    if doors::resolve(&snapshot.table, &name, Speech::Ollama).is_none() {
        return ApiError::UnknownModel { model: name }.respond_to_ollama();
    }
    let model = Model::of(&name, &snapshot, gateway.started_at);
    let mut info = json!({"general.architecture": ARCHITECTURE, "general.basename": model.name});
    if let Some(tokens) = model.context_length {
        info[format!("{ARCHITECTURE}.context_length")] = tokens.into();
    }
    json_response(&json!({
        "modelfile": "", "parameters": "", "template": "", "details": model.details, "model_info": info,
        "capabilities": model.capabilities, "modified_at": model.modified_at,
    }))
}

/// The error of a path that is not there, or does not take the method, in the shape of its API.
pub fn refuse(error: ApiError, path: &str) -> Response<Body> {
    if path.starts_with("/api/") { error.respond_to_ollama() } else { error.into_response() }
}

#[derive(Deserialize)]
struct Asked {
    model: Option<String>,
    /// As older clients say it.
    name: Option<String>,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    model: &'a str,
    /// Since when the name is served.
    modified_at: String,
    /// Bytes: of what is behind a gateway, nobody knows.
    size: u64,
    size_vram: u64,
    digest: String,
    details: Details,
    capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u32>,
    expires_at: &'static str,
}

#[derive(Serialize)]
struct Details {
    parent_model: &'static str,
    format: &'static str,
    family: &'static str,
    families: [&'static str; 1],
    parameter_size: &'static str,
    quantization_level: &'static str,
}

fn list(gateway: &Gateway, headers: &HeaderMap, wanted: impl Fn(&Snapshot, &str) -> bool) -> Response<Body> {
    let snapshot = gateway.snapshot();
    if let Err(error) = snapshot.keys.authenticate(headers) {
        return ApiError::Auth(error).respond_to_ollama();
    }
    let names = snapshot.table.models().iter().filter(|name| wanted(&snapshot, name));
    let models: Vec<_> = names.map(|name| Model::of(name, &snapshot, gateway.started_at)).collect();
    json_response(&json!({"models": models}))
}

fn is_loaded(snapshot: &Snapshot, name: &str) -> bool {
    let resolved = doors::resolve(&snapshot.table, name, Speech::Ollama);
    let numbers = resolved.map(|resolved| resolved.deployments.iter()).into_iter().flatten();
    let mut entries = numbers.filter_map(|number| snapshot.fleet.deployments().get(*number as usize));
    entries.any(|entry| entry.live.reported(clock::monotonic()).loaded != Some(false))
}

impl<'a> Model<'a> {
    fn of(name: &'a str, snapshot: &Snapshot, since: u64) -> Self {
        let deployments = deployments(snapshot, name);
        let digest = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            name,
            model: name,
            modified_at: rfc3339(since),
            size: 0,
            size_vram: 0,
            digest,
            details: Details {
                parent_model: "",
                format: "",
                family: ARCHITECTURE,
                families: [ARCHITECTURE],
                parameter_size: "",
                quantization_level: "",
            },
            capabilities: capabilities(&deployments),
            context_length: deployments.iter().filter_map(|entry| entry.context_tokens()).min(),
            expires_at: NEVER,
        }
    }
}

fn deployments<'a>(snapshot: &'a Snapshot, name: &str) -> Vec<&'a FleetEntry> {
    let resolved = doors::resolve(&snapshot.table, name, Speech::Ollama);
    let numbers = resolved.map(|resolved| resolved.deployments.iter()).into_iter().flatten();
    numbers.filter_map(|number| snapshot.fleet.deployments().get(*number as usize)).collect()
}

/// In Ollama's words: what some deployment can.
fn capabilities(deployments: &[&FleetEntry]) -> Vec<&'static str> {
    let can = |names: &[&str]| {
        deployments.iter().any(|entry| entry.spec.capabilities.iter().any(|own| names.contains(&&**own)))
    };
    let embeds = can(&["embeddings", "embedding"]);
    let only_embeds = embeds && deployments.iter().all(|entry| entry.spec.capabilities.len() == 1);
    let words: [(&'static str, bool); 5] = [
        ("completion", !only_embeds),
        ("tools", can(&["tools"])),
        ("vision", can(&["vision"])),
        ("thinking", can(&["reasoning", "thinking"])),
        ("embedding", embeds),
    ];
    words.into_iter().filter(|(_, has)| *has).map(|(word, _)| word).collect()
}

/// Of Ollama: whose API is spoken. Clients refuse what is too old for them.
const SPOKEN: &str = "0.12.11";
/// Stands where Ollama names a family of models.
const ARCHITECTURE: &str = "witgate";
/// A gateway unloads nothing.
const NEVER: &str = "9999-12-31T23:59:59Z";
