//! Asks a server which models it has: for finding local servers, and for checking a configuration.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Uri};
use serde::Deserialize;
use tokio::time::Instant;
use witgate_core::config::Provider as Configured;
use witgate_core::openai::RequestBody;
use witgate_core::vocabulary::FailureKind;

use super::AttemptFailure;
use super::client::{Client, Origin};
use super::connection::Pieces;
use super::flow::{Flow, Source};
use super::provider::{self, ProviderError};

/// Why a server's models are not known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The configuration cannot be carried out.
    #[error(transparent)]
    Unusable(#[from] ProviderError),
    /// Nothing came back, or not all of it.
    #[error(transparent)]
    Failed(#[from] AttemptFailure),
    /// The server's time was over.
    #[error("no list of models within {0:?}")]
    Timeout(Duration),
    /// Another status than 200.
    #[error("GET {path} gives status {status}")]
    Status {
        /// What was asked for.
        path: String,
        /// Not a success.
        status: u16,
    },
    /// Not a list of models.
    #[error("the answer is not a list of models: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The ids in `GET {base_url}/models`, in the server's order, asked for without a key.
///
/// # Errors
/// Whatever kept the list from being read within `timeout`.
pub async fn discover(base_url: &str, timeout: Duration) -> Result<Vec<String>, DiscoverError> {
    let base: Uri = base_url.parse().map_err(ProviderError::from)?;
    let mut headers = HeaderMap::new();
    if let Some(authority) = base.authority() {
        headers.extend(HeaderValue::from_str(authority.as_str()).ok().map(|host| (HOST, host)));
    }
    within(timeout, base, headers).await
}

/// The models of a configured provider, asked for with its key and headers.
///
/// # Errors
/// Whatever kept the list from being read within `timeout`.
pub async fn models_of(configured: &Configured, timeout: Duration) -> Result<Vec<String>, DiscoverError> {
    let base: Uri = configured.base_url.parse().map_err(ProviderError::from)?;
    let headers = provider::template(configured, &base)?;
    within(timeout, base, headers).await
}

async fn within(timeout: Duration, base: Uri, headers: HeaderMap) -> Result<Vec<String>, DiscoverError> {
    tokio::time::timeout(timeout, ask(base, headers, timeout)).await.unwrap_or(Err(DiscoverError::Timeout(timeout)))
}

async fn ask(base: Uri, headers: HeaderMap, timeout: Duration) -> Result<Vec<String>, DiscoverError> {
    let path: Uri = provider::path(&base, "/models").parse().map_err(ProviderError::from)?;
    let origin = Origin { base, connect_timeout: timeout, pool_idle_timeout: Duration::ZERO, pool_max_idle: 0 };
    let client = Client::new(origin).map_err(ProviderError::from)?;
    let (head, body) = client
        .send(|| {
            let mut request = Request::new(Pieces::from(RequestBody::from(Bytes::new())));
            *request.uri_mut() = path.clone();
            *request.headers_mut() = headers.clone();
            request
        })
        .await?;
    let status = head.status.as_u16();
    if !head.status.is_success() {
        return Err(DiscoverError::Status { path: path.to_string(), status });
    }
    let mut flow = Flow::new(Source::Http(body), status, timeout, (Instant::now() + timeout).into_std());
    let mut text = Vec::new();
    while let Some(chunk) = flow.next().await {
        text.extend_from_slice(&chunk?);
        if text.len() > LARGEST_LIST {
            let message = format!("the list of models is longer than {LARGEST_LIST} bytes");
            return Err(flow.failure(FailureKind::Malformed, message).into());
        }
    }
    let list: List = serde_json::from_slice(&text)?;
    Ok(list.data.into_iter().map(|model| model.id).collect())
}

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// Bytes of a list: some providers have thousands of models with long descriptions.
const LARGEST_LIST: usize = 16 << 20;
