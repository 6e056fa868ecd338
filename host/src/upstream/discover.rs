//! Asks a server which models it has: for finding local servers, and for checking a configuration.

use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request, Uri};
use serde::Deserialize;
use tokio::time::Instant;

use super::AttemptFailure;
use super::client::{Client, Origin};
use super::connect::ConnectorError;
use super::connection::Pieces;
use super::flow::{Flow, Source};

/// Why a server's models are not known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// No URL that could be asked.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    /// Nothing came back, or not all of it.
    #[error(transparent)]
    Failed(#[from] AttemptFailure),
    /// The server's time was over.
    #[error("no list of models within {0:?}")]
    Timeout(Duration),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// Not a list of models.
    #[error("the answer is not a list of models: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The ids in `GET {base_url}/models`, in the server's order.
///
/// # Errors
/// Whatever kept the list from being read within `timeout`.
pub async fn discover(base_url: &str, api_key: Option<&str>, timeout: Duration) -> Result<Vec<String>, DiscoverError> {
    tokio::time::timeout(timeout, ask(base_url, api_key, timeout)).await.unwrap_or(Err(DiscoverError::Timeout(timeout)))
}

async fn ask(base_url: &str, api_key: Option<&str>, timeout: Duration) -> Result<Vec<String>, DiscoverError> {
    let not_a_url = || DiscoverError::Url(base_url.to_owned());
    let base: Uri = base_url.parse().map_err(|_| not_a_url())?;
    let host = base.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path: Uri = format!("{}/models", base.path().trim_end_matches('/')).parse().map_err(|_| not_a_url())?;
    let authorization = match api_key {
        Some(key) => Some(HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| not_a_url())?),
        None => None,
    };
    let client =
        Client::new(Origin { base, connect_timeout: timeout, pool_idle_timeout: Duration::ZERO, pool_max_idle: 0 });
    let client = client.map_err(|error| match error {
        ConnectorError::NotHttp(_) | ConnectorError::HostName(_) => not_a_url(),
        ConnectorError::NoCertificates | ConnectorError::Tls(_) => {
            AttemptFailure::new(witgate_core::vocabulary::FailureKind::Connect, error.to_string()).into()
        }
    })?;
    let (head, body) = client
        .send(|| {
            let mut request = Request::new(Pieces::from(witgate_core::openai::RequestBody::from(bytes::Bytes::new())));
            *request.uri_mut() = path.clone();
            request.headers_mut().extend(host.clone().map(|host| (HOST, host)));
            request.headers_mut().extend(authorization.clone().map(|key| (AUTHORIZATION, key)));
            request
        })
        .await?;
    if !head.status.is_success() {
        return Err(DiscoverError::Status(head.status.as_u16()));
    }
    let mut flow = Flow::new(Source::Http(body), head.status.as_u16(), timeout, (Instant::now() + timeout).into_std());
    let mut text = Vec::new();
    while let Some(chunk) = flow.next().await {
        text.extend_from_slice(&chunk?);
        if text.len() > LARGEST_LIST {
            let message = format!("the list of models is longer than {LARGEST_LIST} bytes");
            return Err(flow.failure(witgate_core::vocabulary::FailureKind::Malformed, message).into());
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
