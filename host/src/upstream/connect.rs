//! Opens connections: TCP without Nagle's delay, all addresses of a name tried, TLS where the URL says `https`.
//!
//! Upstreams are spoken to in HTTP/1.1 only. A pool of connections gives what HTTP/2 would, without one lost packet
//! holding up every stream of a provider.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

/// Opens connections to one origin.
pub(super) struct Connector {
    tcp: HttpConnector,
    origin: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Refused, unreachable, name not found.
    #[error("cannot connect to {origin}: {cause}")]
    Tcp { origin: Uri, cause: String },
    /// The other side's certificate, or it does not speak TLS.
    #[error("cannot connect to {origin}: TLS: {cause}")]
    Tls { origin: Uri, cause: io::Error },
    /// Nothing happened in time.
    #[error("cannot connect to {origin}: no connection within {timeout:?}")]
    Timeout { origin: Uri, timeout: Duration },
}

/// Why a provider cannot be connected to at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The URL has a scheme other than `http` and `https`, or no host.
    #[error("`{0}` is not an http or https URL with a host")]
    NotHttp(Uri),
    /// A host that no certificate can be for.
    #[error("`{0}` is not a host name that a certificate can be checked for")]
    HostName(String),
    /// Without them no certificate can be checked.
    #[error("no CA certificates were found: install `ca-certificates`, or set SSL_CERT_FILE")]
    NoCertificates,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Connector {
    /// A connector to the scheme, host and port of `base`.
    pub(super) fn new(base: &Uri, timeout: Duration) -> Result<Self, ConnectorError> {
        let not_http = || ConnectorError::NotHttp(base.clone());
        let (Some(scheme), Some(authority)) = (base.scheme_str(), base.authority()) else { return Err(not_http()) };
        let tls = match scheme {
            "http" => None,
            "https" => {
                let host = authority.host().trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(host.to_owned());
                Some((tls_connector()?, name.map_err(|_| ConnectorError::HostName(host.to_owned()))?))
            }
            _ => return Err(not_http()),
        };
        let origin = Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query("/");
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        Ok(Self { tcp, origin: origin.build().map_err(|_| not_http())?, tls, timeout })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Stream, ConnectError> {
        tokio::time::timeout(self.timeout, self.open())
            .await
            .unwrap_or_else(|_| Err(ConnectError::Timeout { origin: self.origin.clone(), timeout: self.timeout }))
    }

    async fn open(&self) -> Result<Stream, ConnectError> {
        let origin = || self.origin.clone();
        let tcp = self.tcp.clone().call(origin()).await;
        let tcp = tcp.map_err(|error| ConnectError::Tcp { origin: origin(), cause: chain(&error) })?.into_inner();
        let Some((connector, name)) = &self.tls else { return Ok(TokioIo::new(Transport::Plain(tcp))) };
        let tls = connector.connect(name.clone(), tcp).await;
        let tls = tls.map_err(|cause| ConnectError::Tls { origin: origin(), cause })?;
        Ok(TokioIo::new(Transport::Tls(Box::new(tls))))
    }
}

/// What HTTP is spoken over.
pub(super) type Stream = TokioIo<Transport>;

/// A connection, with or without TLS.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, pieces),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// One for the process: the system's certificates are read once, and TLS sessions are resumed.
fn tls_connector() -> Result<TlsConnector, ConnectorError> {
    static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(connector) = CONNECTOR.get() {
        return Ok(connector.clone());
    }
    let config = Arc::new(tls_config(true)?);
    Ok(CONNECTOR.get_or_init(|| TlsConnector::from(config)).clone())
}

/// What TLS is spoken with: the system's certificates, or none where it will not be spoken.
pub(super) fn tls_config(needed: bool) -> Result<rustls::ClientConfig, ConnectorError> {
    let mut roots = rustls::RootCertStore::empty();
    if needed {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(ConnectorError::NoCertificates);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// An error and its causes, without repeating what the outer one says already.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Finds dead peers behind firewalls that forget silent connections; a model may think for minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);
