//! What changes things: reload, roll back, pin, unload.
//!
//! Where keys are configured, one with `admin: true` must be sent. Without keys, only a program on this machine may do
//! it: not another machine, and not a web page that the operator's browser shows, which could send such a request too.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::{FORWARDED, ORIGIN};
use http::{Extensions, HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::{PolicyView, report};
use crate::api::error::ApiError;
use crate::api::json_response;
use crate::gateway::Gateway;
use crate::reload::command::{Command, CommandError};
use crate::server::Peer;

/// Reads configuration and policies again now, and says what came of it.
pub async fn reload(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    if let Err(error) = may_change(&gateway, request.headers(), request.extensions()) {
        return error.into_response();
    }
    match gateway.reload_now().await {
        Some(_) => json_response(&report(&gateway)),
        None => ApiError::Internal.into_response(),
    }
}

/// Back to an earlier revision: that of the body, or the nearest that did not fail.
pub async fn roll_back(gateway: State<Arc<Gateway>>, name: Path<Arc<str>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Err(error) = may_change(&gateway, &parts.headers, &parts.extensions) {
        return error.into_response();
    }
    let body = match axum::body::to_bytes(body, LARGEST_BODY).await {
        Ok(body) => body,
        Err(_) => {
            let message =
                format!("The body did not come whole, or is larger than a rollback takes: {LARGEST_BODY} bytes.");
            return ApiError::Admin { status: StatusCode::BAD_REQUEST, code: "bad_request", message }.into_response();
        }
    };
    match wanted(&body) {
        Ok(revision) => run(&gateway, name.0, Command::RollBack { revision }).await,
        Err(error) => error.into_response(),
    }
}

/// What serves stays, whatever the folder says.
pub async fn pin(gateway: State<Arc<Gateway>>, name: Path<Arc<str>>, request: Request) -> Response<Body> {
    change(gateway, name, request, Command::Pin).await
}

/// The folder counts again.
pub async fn unpin(gateway: State<Arc<Gateway>>, name: Path<Arc<str>>, request: Request) -> Response<Body> {
    change(gateway, name, request, Command::Unpin).await
}

/// Out of service until its file changes.
pub async fn unload(gateway: State<Arc<Gateway>>, name: Path<Arc<str>>, request: Request) -> Response<Body> {
    change(gateway, name, request, Command::Unload).await
}

/// Back into service.
pub async fn load(gateway: State<Arc<Gateway>>, name: Path<Arc<str>>, request: Request) -> Response<Body> {
    change(gateway, name, request, Command::Load).await
}

async fn change(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<Arc<str>>,
    request: Request,
    command: Command,
) -> Response<Body> {
    if let Err(error) = may_change(&gateway, request.headers(), request.extensions()) {
        return error.into_response();
    }
    run(&gateway, name, command).await
}

/// What has become of the policy.
#[derive(Serialize)]
struct Changed {
    generation: u64,
    /// `None` when the gateway has forgotten it: it had no file any more.
    policy: Option<PolicyView>,
}

async fn run(gateway: &Gateway, name: Arc<str>, command: Command) -> Response<Body> {
    match gateway.command(Arc::clone(&name), command).await {
        None => ApiError::Internal.into_response(),
        Some(Err(error)) => refusal(&error).into_response(),
        Some(Ok(())) => {
            let snapshot = gateway.snapshot();
            let known = gateway.published.policies.load();
            let status = known.iter().find(|status| status.name == name);
            let policy = status.map(|status| PolicyView::of(status, &snapshot));
            json_response(&Changed { generation: snapshot.generation, policy })
        }
    }
}

fn refusal(error: &CommandError) -> ApiError {
    let (status, code) = match error {
        CommandError::Unknown { .. } => (StatusCode::NOT_FOUND, "policy_not_found"),
        CommandError::UnknownRevision { .. } => (StatusCode::NOT_FOUND, "revision_not_found"),
        CommandError::NotInService { .. } => (StatusCode::CONFLICT, "policy_not_in_service"),
        CommandError::NothingEarlier { .. } => (StatusCode::CONFLICT, "nothing_to_roll_back_to"),
        CommandError::Pinned { .. } => (StatusCode::CONFLICT, "policy_pinned"),
        CommandError::Needed { .. } => (StatusCode::CONFLICT, "policy_needed"),
        CommandError::Refused { .. } => (StatusCode::CONFLICT, "policy_refused"),
    };
    ApiError::Admin { status, code, message: error.to_string() }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBackTo {
    revision: Option<String>,
}

/// The revision in a body, which may also be empty.
fn wanted(body: &[u8]) -> Result<Option<String>, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice::<RollBackTo>(body).map(|to| to.revision).map_err(|error| ApiError::Admin {
        status: StatusCode::BAD_REQUEST,
        code: "bad_request",
        message: format!(
            "The body is not what a rollback takes: {error}. Send none, or for example {{\"revision\": \"0123456789ab\"}}."
        ),
    })
}

fn may_change(gateway: &Gateway, headers: &HeaderMap, extensions: &Extensions) -> Result<(), ApiError> {
    let forbidden = |code, message| ApiError::Admin { status: StatusCode::FORBIDDEN, code, message };
    let snapshot = gateway.snapshot();
    if !snapshot.keys.is_empty() {
        let caller = snapshot.keys.authenticate(headers).map_err(ApiError::Auth)?;
        let name = &caller.key_name;
        let message = || format!("The key `{name}` may not change things: it has no `admin: true` in `auth.keys`.");
        return if caller.admin { Ok(()) } else { Err(forbidden("admin_key_needed", message())) };
    }
    let peer = extensions.get::<Peer>();
    let local = peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    // A browser says which page a request comes from, a proxy for whom it asks.
    let for_others = headers.contains_key(ORIGIN) || headers.contains_key(FORWARDED) || headers.contains_key(FOR);
    if local && !for_others {
        return Ok(());
    }
    let message = "Without `auth.keys`, only programs on the gateway's own machine may change things, and neither browsers \
                   nor proxies: give a key of your own `admin: true`.";
    Err(forbidden("local_only", message.to_owned()))
}

const FOR: &str = "x-forwarded-for";
const LARGEST_BODY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_a_revision_or_is_empty() {
        assert!(matches!(wanted(b" "), Ok(None)));
        assert!(matches!(wanted(b"{}"), Ok(None)));
        assert!(matches!(wanted(br#"{"revision": "abc"}"#), Ok(Some(revision)) if revision == "abc"));
        let error = wanted(br#"{"to": "abc"}"#).expect_err("there is no such key").body();
        assert_eq!(
            error.message,
            "The body is not what a rollback takes: unknown field `to`, expected `revision` at line 1 column 5. Send \
             none, or for example {\"revision\": \"0123456789ab\"}."
        );
    }
}
