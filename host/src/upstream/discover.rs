//! Asks a server which models it has: for finding local servers, and for checking a configuration.
//!
//! Not on the path of any request, so reqwest does the talking; what is trusted and where redirects lead is as on
//! the request path: the system's certificates, and nowhere.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Uri};
use serde::Deserialize;
use witgate_core::config::Provider as Configured;
use witgate_core::dialect::Speech;

use super::connect::{ConnectorError, chain, tls_config};
use super::provider::{self, ProviderError};

/// Why a server's models are not known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The configuration cannot be carried out.
    #[error(transparent)]
    Unusable(#[from] ProviderError),
    /// Nothing came back, or not all of it.
    #[error("{}", chain(.0))]
    Failed(#[source] reqwest::Error),
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
    /// More than any list of models.
    #[error("the list of models is longer than {LARGEST_LIST} bytes")]
    TooLong,
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
    ask(&base, "/models", HeaderMap::new(), timeout).await
}

/// The models of a configured provider, asked for with its key and headers.
///
/// # Errors
/// Whatever kept the list from being read within `timeout`.
pub async fn models_of(configured: &Configured, timeout: Duration) -> Result<Vec<String>, DiscoverError> {
    let base: Uri = asked_for_all(configured).parse().map_err(ProviderError::from)?;
    let mut headers = provider::template(configured, &base)?;
    // reqwest says where it goes, and there is no body.
    headers.remove(HOST);
    headers.remove(CONTENT_TYPE);
    let path = match configured.speech() {
        Speech::OpenAi | Speech::Anthropic => "/models",
        Speech::Ollama => "/api/tags",
    };
    ask(&base, path, headers, timeout).await
}

/// The base address with what makes the list whole: Anthropic gives twenty models unless it is asked for more.
fn asked_for_all(configured: &Configured) -> String {
    match configured.speech() {
        Speech::Anthropic => format!("{}?limit=1000", configured.base_url),
        Speech::OpenAi | Speech::Ollama => configured.base_url.clone(),
    }
}

async fn ask(base: &Uri, path: &str, headers: HeaderMap, timeout: Duration) -> Result<Vec<String>, DiscoverError> {
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (base.scheme_str(), base.authority()) else {
        return Err(ProviderError::from(ConnectorError::NotHttp(base.clone())).into());
    };
    let failed = |error: reqwest::Error| {
        if error.is_timeout() { DiscoverError::Timeout(timeout) } else { DiscoverError::Failed(error.without_url()) }
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config(scheme == "https").map_err(ProviderError::from)?)
        .redirect(reqwest::redirect::Policy::none())
        // Requests go straight to the provider too.
        .no_proxy()
        .timeout(timeout)
        .build()
        .map_err(failed)?;
    let path = provider::path(base, path);
    let mut answer =
        client.get(format!("{scheme}://{authority}{path}")).headers(headers).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(DiscoverError::Status { path, status: answer.status().as_u16() });
    }
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        text.extend_from_slice(&chunk);
        if text.len() > LARGEST_LIST {
            return Err(DiscoverError::TooLong);
        }
    }
    let list = if path.ends_with("/api/tags") {
        serde_json::from_slice::<Tags>(&text)?.models
    } else {
        serde_json::from_slice::<List>(&text)?.data
    };
    Ok(list.into_iter().map(|model| model.id).collect())
}

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

/// Ollama's.
#[derive(Deserialize)]
struct Tags {
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(alias = "name")]
    id: String,
}

/// Bytes of a list: some providers have thousands of models with long descriptions.
const LARGEST_LIST: usize = 16 << 20;
