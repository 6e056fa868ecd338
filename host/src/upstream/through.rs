//! A request that is passed through as it is: no model, no translation, no second attempt.
//!
//! Everything of it reaches the provider but what belongs to the client's connection, and its key, in place of which
//! goes the provider's first one: what lies at a provider lies there for one account.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use witgate_core::openai::RequestBody;
use witgate_core::vocabulary::FailureKind;

use super::attempt::{in_time, unsent};
use super::connection::Pieces;
use super::failure::AttemptFailure;
use super::flow::{Flow, Source};
use super::provider::{Backend, Service};
use super::{Times, Upstreams, headers};
use crate::upload::Upload;

/// A request that is passed through.
pub struct Through<'a> {
    /// The client's.
    pub method: &'a Method,
    /// Below the provider's address, with the query.
    pub path: &'a str,
    /// The client's.
    pub headers: &'a HeaderMap,
    /// `None` when there is none.
    pub body: Option<Upload>,
    /// What the client allows at most.
    pub at_most: Times,
    /// When the answer must have begun.
    pub begin_by: Instant,
    /// When the request's time is over.
    pub deadline: Instant,
}

/// What the provider says to it, whatever its status.
pub struct Passed {
    /// The provider's.
    pub status: StatusCode,
    /// All that are not its connection's.
    pub headers: HeaderMap,
    /// As it comes.
    pub body: Passing,
}

/// A body on its way to the client. After an error nothing more comes.
pub struct Passing(Flow);

impl Passing {
    /// The next chunk, never empty.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, AttemptFailure>>> {
        self.0.poll_next(cx)
    }
}

impl Upstreams {
    /// Sends it to the provider at this place.
    ///
    /// # Errors
    /// When no answer begins.
    pub async fn pass_through(&self, provider: usize, through: Through<'_>) -> Result<Passed, AttemptFailure> {
        let provider = &self.providers[provider];
        let service = match &provider.backend {
            Backend::Http(service) => service,
            Backend::Demo(_) => return Err(AttemptFailure::new(FailureKind::Connect, "the demo serves no such path")),
            Backend::Unusable(why) => return Err(AttemptFailure::new(FailureKind::Connect, why)),
        };
        let patience = provider.patience.of(&Times::default(), &through.at_most);
        let uri = service.below(through.path)?;
        let started = Instant::now();
        let head = async {
            let request = || service.request_through(through.method, &uri, through.headers);
            match &through.body {
                Some(body) => service.client.send_once(request().map(|empty| empty.before(body.clone()))).await,
                None => service.client.send(request, through.method.is_idempotent()).await,
            }
        };
        let body = through.body.as_ref();
        let Some(head) = in_time(head, started, patience.first_byte, through.begin_by, body).await else {
            let message = format!("no answer began within {:?}", patience.first_byte);
            return Err(AttemptFailure::new(FailureKind::FirstByteTimeout, message));
        };
        let (head, body) = head.map_err(|failure| unsent(failure, body))?;
        let flow = Flow::new(Source::Http(body), head.status.as_u16(), patience.idle, through.deadline);
        Ok(Passed { status: head.status, headers: headers::all_relayed(&head.headers), body: Passing(flow) })
    }
}

impl Service {
    /// A path below its address.
    fn below(&self, path: &str) -> Result<Uri, AttemptFailure> {
        let base = self.client.origin().base.path().trim_end_matches('/');
        let uri = format!("{base}{path}").parse::<Uri>();
        uri.map_err(|error| AttemptFailure::new(FailureKind::BadRequest, error.to_string()).with_status(400))
    }

    fn request_through(&self, method: &Method, uri: &Uri, client_headers: &HeaderMap) -> Request<Pieces> {
        let mut request = Request::new(Pieces::from(RequestBody::from(Bytes::new())));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        let to = request.headers_mut();
        headers::forward(client_headers, to);
        for name in headers::OF_THE_BODY {
            for value in client_headers.get_all(&name) {
                to.append(&name, value.clone());
            }
        }
        self.add_own_headers(to);
        if !client_headers.contains_key(CONTENT_TYPE) {
            to.remove(CONTENT_TYPE);
        }
        request
    }
}
