//! Attempts against real sockets: servers that are scripted to the packet.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod anthropic;
mod demo;
mod discover;
mod facts;
mod failures;
mod ollama;
mod server;
mod streams;
mod whole;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use witgate_core::config::{Dialect, KeyHeader, Provider as Configured, Secret};
use witgate_core::dialect::OnLoss;
use witgate_core::dialect::OutputLimit;
use witgate_core::openai::{Endpoint, peek};
use witgate_core::resume::Continuation;
use witgate_core::vocabulary::FailureKind;

use super::provider::Provider;
use super::*;

/// A provider with short limits at this address.
fn provider(address: std::net::SocketAddr) -> Configured {
    Configured {
        name: "test".into(),
        dialect: Dialect::OpenAi,
        base_url: format!("http://{address}/v1"),
        api_keys: vec![Secret::new("sk-ours")],
        headers: vec![("X-Extra".to_owned(), Secret::new("ours"))],
        connect_timeout: Duration::from_secs(2),
        first_byte_timeout: Duration::from_secs(2),
        first_token_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(2),
        keep_alive_timeout: Duration::from_secs(2),
        pool_idle_timeout: Duration::from_secs(2),
        pool_max_idle: 4,
        key_header: KeyHeader::Bearer,
        responses: false,
        lacks: &[],
        catalogue: "test".into(),
        answer_in_window: false,
        on_loss: OnLoss::default(),
        continuation: Continuation::Never,
        output_limit: OutputLimit::default(),
        usage_unasked: false,
        probe: None,
        facts: None,
        watch_models: None,
        embedding_batch: None,
        demo: None,
    }
}

/// One deployment of this provider, where the model is called `theirs`.
fn upstreams(configured: &Configured) -> Upstreams {
    Upstreams {
        providers: vec![Provider::new(configured, &[])],
        deployments: vec![Deployment {
            provider: 0,
            model: Some(Model::new("theirs")),
            max_tokens: None,
            batcher: None,
            continuation: Continuation::Never,
        }],
    }
}

/// A request as a test sees it.
struct Ask {
    body: Bytes,
    endpoint: Endpoint,
    headers: HeaderMap,
    overlay: Option<Value>,
    first_byte_timeout: Option<Duration>,
    twice: bool,
    time: Duration,
}

fn ask(body: &str) -> Ask {
    Ask {
        body: Bytes::copy_from_slice(body.as_bytes()),
        endpoint: Endpoint::Chat,
        headers: HeaderMap::new(),
        overlay: None,
        first_byte_timeout: None,
        twice: true,
        time: Duration::from_secs(10),
    }
}

fn chat() -> Ask {
    ask(r#"{"model":"mine","messages":[]}"#)
}

fn stream() -> Ask {
    ask(r#"{"model":"mine","messages":[],"stream":true}"#)
}

impl Ask {
    async fn call(&self, upstreams: &Upstreams) -> Result<Reply, AttemptFailure> {
        let peek = peek(&self.body, self.endpoint).unwrap();
        let call = Call {
            deployment: 0,
            key: 0,
            form: None,
            again: false,
            body: &self.body,
            peek: &peek,
            requested_model: &peek.model,
            answer_model: None,
            overlay: self.overlay.as_ref(),
            so_far: None,
            hold_errors: false,
            client_headers: &self.headers,
            instead: Times { first_byte: self.first_byte_timeout, first_token: self.first_byte_timeout, idle: None },
            at_most: Times::default(),
            twice: self.twice,
            begin_by: Instant::now() + self.time,
            deadline: Instant::now() + self.time,
        };
        upstreams.call(call).await
    }

    async fn whole(&self, upstreams: &Upstreams) -> WholeReply {
        match self.call(upstreams).await.unwrap() {
            Reply::Whole(reply) => reply,
            Reply::Stream(_) => panic!("a stream that was not asked for"),
        }
    }

    async fn events(&self, upstreams: &Upstreams) -> Box<Events> {
        match self.call(upstreams).await.unwrap() {
            Reply::Stream(reply) => reply.events,
            Reply::Whole(_) => panic!("asked for a stream"),
        }
    }

    async fn failure(&self, upstreams: &Upstreams) -> AttemptFailure {
        match self.call(upstreams).await {
            Err(failure) => failure,
            Ok(_) => panic!("it was to fail"),
        }
    }

    /// Kind, status and message of the failure.
    async fn told(&self, upstreams: &Upstreams) -> (FailureKind, u16, String) {
        let failure = self.failure(upstreams).await;
        (failure.kind, failure.status, failure.message)
    }
}

fn told(kind: FailureKind, status: u16, message: &str) -> (FailureKind, u16, String) {
    (kind, status, message.to_owned())
}

fn text(body: AnswerBody) -> String {
    match body {
        AnswerBody::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        AnswerBody::Long(_) => panic!("longer than expected"),
    }
}

/// Everything that came, and the failure at the end if there was one.
async fn drain(
    mut stream: impl Stream<Item = Result<Bytes, AttemptFailure>> + Unpin,
) -> (String, Option<AttemptFailure>) {
    let mut text = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(bytes) => text.extend_from_slice(&bytes),
            Err(failure) => {
                assert!(stream.next().await.is_none(), "something came after a failure");
                return (String::from_utf8(text).unwrap(), Some(failure));
            }
        }
    }
    (String::from_utf8(text).unwrap(), None)
}
