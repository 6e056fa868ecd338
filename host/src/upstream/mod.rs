//! The services that we call: one attempt at one deployment, from the request's bytes to an answer or a failure.
//!
//! Nothing of an answer is passed on before it is known to be one: of a stream the first event has come, a short answer
//! has come whole. Until then an attempt fails with the reason, and another may take its place. Dropping the
//! future or the answer closes the connection, which tells the upstream to stop.
//!
//! `client` and below speak HTTP; `attempt` knows what an answer must look like; `witgate_core::failure` says what went
//! wrong.

mod answer;
mod attempt;
mod batch;
mod client;
mod connect;
mod connection;
mod demo;
mod discover;
mod events;
mod facts;
mod failure;
mod flow;
mod headers;
mod passage;
mod pool;
mod probe;
mod provider;
#[cfg(test)]
mod tests;
mod through;
mod told;
mod vectors;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use witgate_core::config::Config;
use witgate_core::deployment::UpstreamModel;
use witgate_core::openai::{Endpoint, ModelLiteral, Peek, response_id};
use witgate_core::resume::{Continuation, SoFar, takes_a_beginning};
use witgate_core::sse;

pub use answer::{AnswerBody, Long};
pub use connect::ConnectorError;
pub(crate) use connect::chain;
pub(crate) use discover::fetch;
pub use discover::{DiscoverError, models_of};
pub use events::Events;
pub use failure::AttemptFailure;
use passage::Passage;
pub use probe::Probed;
pub use through::{Passed, Passing, Through};

pub use provider::ProviderError;
use provider::{Backend, Provider};

use self::batch::Batcher;

use crate::upload::FormBody;

/// All deployments, ready to be called.
pub struct Upstreams {
    providers: Vec<Provider>,
    deployments: Vec<Deployment>,
}

struct Deployment {
    provider: usize,
    /// `None`: the name that the client asked for.
    model: Option<Model>,
    /// Its longest answer, if it is configured.
    max_tokens: Option<u32>,
    /// Where small requests for embeddings wait for each other.
    batcher: Option<Batcher>,
    continuation: Continuation,
}

/// A model's name at its provider.
struct Model {
    name: Arc<str>,
    literal: ModelLiteral,
}

/// One attempt.
pub struct Call<'a> {
    /// Place in [`Config::deployments`].
    pub deployment: usize,
    /// Which of the provider's keys to use.
    pub key: usize,
    /// The client's body; of a form, as far as it was read.
    pub body: &'a Bytes,
    /// The rest of it, where it is a form.
    pub form: Option<&'a FormBody>,
    /// What was read out of it.
    pub peek: &'a Peek,
    /// The name that a deployment without one of its own is asked for.
    pub requested_model: &'a str,
    /// The name that the answer shall give the model; `None` leaves the upstream's.
    pub answer_model: Option<&'a str>,
    /// Whether the request was sent before; then it is not sent with others.
    pub again: bool,
    /// JSON merge patch over the body; anything but an object is passed over.
    pub overlay: Option<&'a Value>,
    /// What the client has of the answer already; the rest is asked for.
    pub so_far: Option<SoFar<'a>>,
    /// An error within the stream is not passed on: see [`Events::held_error`].
    pub hold_errors: bool,
    /// The client's headers.
    pub client_headers: &'a HeaderMap,
    /// Instead of the provider's times, where they say something.
    pub instead: Times,
    /// What the client allows at most.
    pub at_most: Times,
    /// Whether it may be sent again where a connection breaks that an upstream has probably closed before.
    pub twice: bool,
    /// When the answer must have begun.
    pub begin_by: Instant,
    /// When the request's time is over.
    pub deadline: Instant,
}

/// How long is waited for each step of an answer; `None` says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// To the head of the answer.
    pub first_byte: Option<Duration>,
    /// To the first event of a stream.
    pub first_token: Option<Duration>,
    /// Longest silence within the answer.
    pub idle: Option<Duration>,
}

/// An answer.
pub enum Reply {
    /// Not streamed.
    Whole(WholeReply),
    /// Streamed; its first event has come.
    Stream(StreamReply),
}

/// An answer that is not streamed.
pub struct WholeReply {
    /// A success.
    pub status: StatusCode,
    /// Those that the client may see.
    pub headers: HeaderMap,
    /// The upstream's bytes.
    pub body: AnswerBody,
}

/// A streamed answer.
pub struct StreamReply {
    /// A success.
    pub status: StatusCode,
    /// Those that the client may see.
    pub headers: HeaderMap,
    /// The upstream's events; the first is there.
    pub events: Box<Events>,
}

impl Model {
    fn new(name: &str) -> Self {
        Self { name: name.into(), literal: ModelLiteral::new(name) }
    }
}

impl Reply {
    /// The id of the response that it is, in the provider's words.
    pub fn response_id(&self) -> Option<Box<str>> {
        match self {
            Self::Whole(reply) => response_id(reply.body.beginning()),
            Self::Stream(reply) => response_id(&sse::data(reply.events.beginning())?),
        }
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Self::Whole(reply) => &mut reply.headers,
            Self::Stream(reply) => &mut reply.headers,
        }
    }
}

impl Upstreams {
    /// Prepares all deployments. Open connections of `before` are used on where they lead to the same place.
    pub fn new(config: &Config, before: Option<&Self>) -> Self {
        let before = before.map(|before| &before.providers[..]).unwrap_or_default();
        let deployments = config.deployments.iter().map(|configured| Deployment {
            provider: configured.provider,
            model: match &configured.deployment.model {
                UpstreamModel::Named(name) => Some(Model::new(name)),
                UpstreamModel::AsRequested => None,
            },
            max_tokens: configured.deployment.max_output_tokens,
            batcher: config.providers[configured.provider].embedding_batch.map(Batcher::new),
            continuation: configured.continuation,
        });
        Self {
            providers: config.providers.iter().map(|configured| Provider::new(configured, before)).collect(),
            deployments: deployments.collect(),
        }
    }

    /// Whether a deployment can go on with an answer that another one began.
    pub fn goes_on(&self, deployment: u32, asked: Endpoint) -> bool {
        let Some(endpoint) = self.endpoint(deployment, asked) else { return false };
        let continuation = self.deployments[deployment as usize].continuation;
        endpoint == Endpoint::Completions || continuation != Continuation::Never && takes_a_beginning(endpoint)
    }

    /// Whether it is asked to without the blanks at the end of what there is.
    pub fn trims(&self, deployment: u32, asked: Endpoint) -> bool {
        self.endpoint(deployment, asked).is_some_and(Endpoint::is_anthropic)
    }

    /// What the provider is asked for.
    fn endpoint(&self, deployment: u32, asked: Endpoint) -> Option<Endpoint> {
        let deployment = self.deployments.get(deployment as usize)?;
        let passage = Passage::find(asked, self.providers[deployment.provider].manners).ok()?;
        Some(passage.endpoint())
    }

    /// Closes connections that have been unused for longer than their provider's limit; to be called now and then.
    pub fn close_old_connections(&self) {
        let now = Instant::now();
        for provider in &self.providers {
            match &provider.backend {
                Backend::Http(service) => service.client.pool().close_old(now),
                Backend::Demo(_) | Backend::Unusable(_) => {}
            }
        }
    }
}
