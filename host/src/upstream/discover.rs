//! Asks a server which models it has: for finding local servers, and for keeping in step with them.
//!
//! Not on the path of any request, so reqwest does the talking; what is trusted and where redirects lead is as on
//! the request path: the system's certificates, and nowhere.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Uri};
use witgate_core::config::{Dialect, Provider as Configured};
use witgate_core::dialect::Speech;
use witgate_core::survey::{self, Listed, Model};

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
    #[error("the answer is not a list of models")]
    Malformed,
}

/// The models of a configured provider, in its order, asked for with its key and headers.
///
/// # Errors
/// Whatever kept the list from being read within `timeout`.
pub async fn models_of(configured: &Configured, timeout: Duration) -> Result<Vec<Model>, DiscoverError> {
    let base: Uri = asked_for_all(configured).parse().map_err(ProviderError::from)?;
    let mut headers = provider::template(configured, &base)?;
    // reqwest says where it goes, and there is no body.
    headers.remove(HOST);
    headers.remove(CONTENT_TYPE);
    if configured.dialect == Dialect::Ollama {
        // Beside the names it tells what they can, at its root, whichever side is spoken to.
        let root = configured.base_url.strip_suffix("/v1").unwrap_or(&configured.base_url);
        let root: Uri = root.parse().map_err(ProviderError::from)?;
        let tags = fetch(&root, "/api/tags", headers, timeout).await?;
        return survey::of_tags(&tags).ok_or(DiscoverError::Malformed);
    }
    match survey::of_models(&fetch(&base, "/models", headers, timeout).await?) {
        Some(Listed::Server(_, models)) => Ok(models),
        Some(Listed::Gateway) => Ok(Vec::new()),
        None => Err(DiscoverError::Malformed),
    }
}

/// The base address with what makes the list whole: Anthropic gives twenty models unless it is asked for more.
fn asked_for_all(configured: &Configured) -> String {
    match configured.speech() {
        Speech::Anthropic => format!("{}?limit=1000", configured.base_url),
        Speech::OpenAi | Speech::Ollama => configured.base_url.clone(),
    }
}

/// The answer to `GET {base}{path}`.
///
/// # Errors
/// Whatever kept it from being read within `timeout`.
pub(crate) async fn fetch(
    base: &Uri,
    path: &str,
    headers: HeaderMap,
    timeout: Duration,
) -> Result<Vec<u8>, DiscoverError> {
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
    Ok(text)
}

/// Bytes of a list: some providers have thousands of models with long descriptions.
const LARGEST_LIST: usize = 16 << 20;
