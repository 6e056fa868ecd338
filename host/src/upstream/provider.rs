//! One provider, prepared: what is the same in every request to it is made once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use witgate_core::config::{Dialect, KeyHeader, Provider as Configured, Secret};
use witgate_core::dialect::anthropic::VERSION;
use witgate_core::openai::{Endpoint, RequestBody};

use super::client::{Client, Origin};
use super::connect::ConnectorError;
use super::connection::Pieces;
use super::demo::Demo;
use super::facts::Facts;
use super::passage::Manners;
use super::probe::Probe;
use super::{Times, headers};

/// A provider.
pub(super) struct Provider {
    pub(super) manners: Manners,
    pub(super) patience: Patience,
    pub(super) backend: Backend,
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head of the answer.
    pub(super) first_byte: Duration,
    /// For the first event of a stream.
    pub(super) first_token: Duration,
    /// For the next bytes.
    pub(super) idle: Duration,
    /// For the next event, while comments come.
    pub(super) keep_alive: Duration,
}

impl Patience {
    /// With a call's own times, of which the client's only shorten.
    pub(super) fn of(self, instead: &Times, at_most: &Times) -> Self {
        let time = |own: Duration, instead: Option<Duration>, at_most: Option<Duration>| {
            let configured = instead.unwrap_or(own);
            at_most.map_or(configured, |most| configured.min(most))
        };
        Self {
            first_byte: time(self.first_byte, instead.first_byte, at_most.first_byte),
            first_token: time(self.first_token, instead.first_token, at_most.first_token),
            idle: time(self.idle, instead.idle, at_most.idle),
            keep_alive: self.keep_alive,
        }
    }
}

/// What answers.
pub(super) enum Backend {
    /// A service that is called over the network.
    Http(Arc<Service>),
    /// The built-in one.
    Demo(Demo),
    /// Nothing can: every attempt fails with this. The gateway's other providers go on.
    Unusable(String),
}

/// A service, and what is sent to it every time.
pub(super) struct Service {
    pub(super) client: Arc<Client>,
    /// In the order of [`Endpoint::index`].
    uris: Box<[Uri]>,
    headers: HeaderMap,
    /// Where a key goes.
    key_header: HeaderName,
    /// One for each key; empty where none is needed.
    credentials: Vec<HeaderValue>,
    probe: Option<Probe>,
    facts: Option<Facts>,
}

/// Why a provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Not a URL.
    #[error("`base_url` is no URL: {0}")]
    Url(#[from] http::uri::InvalidUri),
    /// A URL that cannot be connected to.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// A configured header's name.
    #[error("`{0}` is not the name of a header")]
    HeaderName(String),
    /// A configured header's value, or the key.
    #[error("the value of `{0}` holds a character that a header cannot")]
    HeaderValue(String),
}

impl Provider {
    /// Prepares a provider; connections of `before` are kept if they lead to the same place in the same way.
    pub(super) fn new(configured: &Configured, before: &[Self]) -> Self {
        let backend = match configured.dialect {
            Dialect::Demo => Backend::Demo(Demo::new(configured.demo.as_ref())),
            Dialect::OpenAi | Dialect::Ollama | Dialect::Anthropic => match Service::new(configured, before) {
                Ok(service) => Backend::Http(Arc::new(service)),
                Err(error) => {
                    tracing::error!(provider = %configured.name, %error, "provider cannot be used");
                    Backend::Unusable(format!("provider `{}` cannot be used: {error}", configured.name))
                }
            },
        };
        let manners = Manners {
            dialect: configured.dialect,
            speech: configured.speech(),
            on_loss: configured.on_loss,
            output_limit: configured.output_limit,
            responses: configured.responses,
            usage_unasked: configured.usage_unasked,
            lacks: configured.lacks,
        };
        let patience = Patience {
            first_byte: configured.first_byte_timeout,
            first_token: configured.first_token_timeout,
            idle: configured.idle_timeout,
            keep_alive: configured.keep_alive_timeout,
        };
        Self { manners, patience, backend }
    }
}

impl Service {
    fn new(configured: &Configured, before: &[Provider]) -> Result<Self, ProviderError> {
        let base: Uri = configured.base_url.parse()?;
        let uris = Endpoint::ALL.iter().map(|endpoint| path(&base, endpoint.path()).parse::<Uri>());
        let uris = uris.collect::<Result<_, _>>()?;
        let headers = template(configured, &base)?;
        let key_header = HeaderName::from_static(configured.key_header.name());
        let credentials = configured.api_keys.iter().map(|key| credential(configured.key_header, key));
        let credentials = credentials.collect::<Result<_, _>>()?;
        let probe = configured.probe.as_ref().map(|probe| Probe::new(probe, configured.dialect, &base)).transpose()?;
        let facts = configured.facts.as_ref().map(|facts| Facts::new(facts, configured.dialect, &base)).transpose()?;
        let origin = Origin {
            base,
            connect_timeout: configured.connect_timeout,
            pool_idle_timeout: configured.pool_idle_timeout,
            pool_max_idle: configured.pool_max_idle,
        };
        let known = before.iter().find_map(|provider| match &provider.backend {
            Backend::Http(service) => Some(&service.client).filter(|client| *client.origin() == origin),
            Backend::Demo(_) | Backend::Unusable(_) => None,
        });
        let client = match known {
            Some(client) => Arc::clone(client),
            None => Arc::new(Client::new(origin)?),
        };
        Ok(Self { client, uris, headers, key_header, credentials, probe, facts })
    }

    /// How it is asked whether it is well.
    pub(super) fn probe(&self) -> Option<&Probe> {
        self.probe.as_ref()
    }

    /// How it is asked what it says of itself.
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// A question of the gateway's own, with the first key.
    pub(super) fn question(&self, uri: &Uri) -> Request<Pieces> {
        let mut request = Request::new(Pieces::from(RequestBody::from(Bytes::new())));
        *request.uri_mut() = uri.clone();
        request.headers_mut().clone_from(&self.headers);
        request
    }

    /// The service's own headers, with its first key, in place of the client's.
    pub(super) fn add_own_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            let client_s = CLIENT_S.contains(name) && headers.contains_key(name);
            if !client_s {
                headers.insert(name, value.clone());
            }
        }
    }

    /// A request to the service with one of its keys: its own headers win over the client's.
    pub(super) fn request(
        &self,
        endpoint: Endpoint,
        key: usize,
        body: RequestBody,
        streaming: bool,
        client_headers: &HeaderMap,
    ) -> Request<Pieces> {
        let mut request = Request::new(Pieces::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uris[endpoint.index() as usize].clone();
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + client_headers.len() + 1);
        headers::forward(client_headers, headers);
        self.add_own_headers(headers);
        if let Some(credential) = self.credentials.get(key).or(self.credentials.first()) {
            headers.insert(&self.key_header, credential.clone());
        }
        headers.insert(ACCEPT, if streaming { EVENT_STREAM } else { JSON });
        request
    }
}

/// The base's path and query with `endpoint` between them.
pub(super) fn path(base: &Uri, endpoint: &str) -> String {
    let query = base.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{endpoint}{query}", base.path().trim_end_matches('/'))
}

/// Headers of every request to this provider, with its first key.
pub(super) fn template(configured: &Configured, base: &Uri) -> Result<HeaderMap, ProviderError> {
    let mut headers = HeaderMap::new();
    let authority = base.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    headers.insert(HOST, secret("base_url", authority.unwrap_or_default())?);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    headers.insert(USER_AGENT, OURSELVES);
    if configured.dialect == Dialect::Anthropic {
        headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static(VERSION));
    }
    if let Some(key) = configured.api_keys.first() {
        let name = HeaderName::from_static(configured.key_header.name());
        headers.insert(name, credential(configured.key_header, key)?);
    }
    for (name, value) in &configured.headers {
        let key = HeaderName::try_from(name).map_err(|_| ProviderError::HeaderName(name.clone()))?;
        headers.insert(key, secret(name, value.expose())?);
    }
    Ok(headers)
}

/// As the provider wants to be shown the key.
fn credential(header: KeyHeader, key: &Secret) -> Result<HeaderValue, ProviderError> {
    match header {
        KeyHeader::Bearer => secret("api_key", &format!("Bearer {}", key.expose())),
        KeyHeader::ApiKey | KeyHeader::XApiKey => secret("api_key", key.expose()),
    }
}

/// A header's value that is not shown in logs.
fn secret(name: &str, text: &str) -> Result<HeaderValue, ProviderError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| ProviderError::HeaderValue(name.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// What the client says of these counts, where it says it.
const CLIENT_S: [HeaderName; 4] = [USER_AGENT, ANTHROPIC_VERSION, CONTENT_TYPE, ACCEPT_ENCODING];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const OURSELVES: HeaderValue = HeaderValue::from_static(concat!("witgate/", env!("CARGO_PKG_VERSION")));
