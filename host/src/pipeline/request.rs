//! One record for each request: written into the log and the metrics when it is dropped, so that a client that hangs
//! up needs no special code.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::AGE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use witgate_core::dialect::Speech;
use witgate_core::openai::Usage;

use super::execute::By;
use super::receipt::Receipt;
use super::resume::NotResumed;
use crate::admission::Permit;
use crate::api::auth::Caller;
use crate::api::error::ApiError;
use crate::cache::{Hit, Lookup};
use crate::gateway::Gateway;
use crate::snapshot::{RouteState, Snapshot};
use crate::telemetry::access::AccessLine;
use crate::telemetry::metrics::{Purpose, RequestOutcome};
use crate::telemetry::request_id::{self, RequestId};

/// One request, until it ends or is dropped.
pub struct RequestRecord {
    gateway: Arc<Gateway>,
    id: RequestId,
    purpose: Purpose,
    method: Method,
    /// Of what is passed through; the others are logged as documented.
    passed_path: Option<Box<str>>,
    started: Instant,
    routed: Option<(Arc<Snapshot>, usize)>,
    caller: Option<Caller>,
    model: Box<str>,
    receipt: Receipt,
    cache: Option<Cached>,
    first_token: Option<Duration>,
    bytes: u64,
    /// How often its stream broke and was gone on with.
    resumes: usize,
    /// What the attempts have cost that it has gone on from.
    spent: f64,
    not_resumed: Option<NotResumed>,
    ended: Ended,
    /// The right to be in flight; left when the answer has ended.
    permit: Option<Permit>,
}

/// What the cache said.
#[derive(Clone, Copy)]
enum Cached {
    Hit { tier: &'static str, age: Duration },
    Miss,
    Bypass,
}

struct Ended {
    status: u16,
    outcome: RequestOutcome,
    usage: Usage,
}

impl RequestRecord {
    /// The request has come. Until something else is said, the client will have gone away.
    pub fn begin(gateway: &Arc<Gateway>, purpose: Purpose, head: &Parts, id: RequestId) -> Self {
        let passed_path = (purpose == Purpose::Passthrough).then(|| {
            let path = head.uri.path();
            path[..path.floor_char_boundary(LONGEST_PATH)].into()
        });
        Self {
            gateway: Arc::clone(gateway),
            id,
            purpose,
            method: head.method.clone(),
            passed_path,
            started: Instant::now(),
            routed: None,
            caller: None,
            model: Box::from(""),
            receipt: Receipt::default(),
            cache: None,
            first_token: None,
            bytes: 0,
            resumes: 0,
            spent: 0.0,
            not_resumed: None,
            permit: None,
            ended: Ended { status: CLIENT_GONE, outcome: RequestOutcome::Cancelled, usage: Usage::default() },
        }
    }

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Whether the client speaks Anthropic's dialect.
    pub fn is_anthropic(&self) -> bool {
        self.speech() == Speech::Anthropic
    }

    /// Whose dialect the client speaks.
    pub fn speech(&self) -> Speech {
        match self.purpose {
            Purpose::Endpoint(endpoint) => endpoint.speech(),
            Purpose::Passthrough => Speech::OpenAi,
        }
    }

    /// Whether the gateway ends now, and the answer with it.
    pub fn is_over(&self) -> bool {
        self.gateway.drain().is_over()
    }

    /// When the request came.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Who asks for what.
    pub fn asked(&mut self, caller: &Caller, model: &str) {
        self.caller = Some(caller.clone());
        self.model = model.into();
    }

    /// It may run, until it ends.
    pub fn admitted(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    /// Where the name leads.
    pub fn routed(&mut self, snapshot: &Arc<Snapshot>, route: usize) {
        self.routed = Some((Arc::clone(snapshot), route));
    }

    /// What the cache said.
    pub fn cache(&mut self, lookup: &Lookup) {
        let cached = self.route().is_some_and(|route| route.cache.is_some());
        self.cache = cached.then_some(match lookup {
            Lookup::Hit(hit) => Cached::Hit { tier: hit.tier.name(), age: hit.age },
            Lookup::Miss(_) => Cached::Miss,
            Lookup::Bypass => Cached::Bypass,
        });
    }

    /// What the policies decided and how often was tried.
    pub fn decided(&mut self, by: By, deployment: Option<u32>, attempts: usize) {
        let fleet = self.routed.as_ref().map(|(snapshot, _)| &snapshot.fleet);
        let entry = deployment.and_then(|number| fleet?.deployments().get(number as usize));
        self.receipt = Receipt {
            deployment: entry.map(|entry| Arc::clone(&entry.spec.id)),
            by: Some(by),
            attempts,
            provider: None,
            usd: None,
        };
    }

    /// Which provider a path is passed through to.
    pub fn passed_to(&mut self, provider: &Arc<str>) {
        self.receipt.provider = Some(Arc::clone(provider));
    }

    /// The first event or the whole answer has come.
    pub fn first_token(&mut self) {
        let elapsed = self.started.elapsed();
        self.first_token = Some(elapsed);
        if let Some(route) = self.route() {
            route.metrics.first_token(elapsed);
        }
    }

    /// So many bytes of the answer have gone by.
    pub fn passed(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// What is known of the tokens so far; it is told even when the client goes away.
    pub fn used(&mut self, usage: Usage) {
        self.ended.usage = usage;
    }

    /// Its stream broke, and another one goes on.
    pub fn resumed(&mut self) {
        self.resumes += 1;
        self.spent = self.receipt.usd.unwrap_or(self.spent);
        if let Some(route) = self.route() {
            route.metrics.stream_broke(RESUMED);
        }
    }

    /// Its stream broke, and that is its end.
    pub fn not_resumed(&mut self, why: NotResumed) {
        if let NotResumed::Nobody(_, attempts) = why {
            self.receipt.attempts = attempts;
        }
        self.not_resumed = Some(why);
        if let Some(route) = self.route() {
            route.metrics.stream_broke(why.label());
        }
    }

    /// What the attempt that answers has cost so far, besides those that it goes on from; `None` when that is not known.
    pub fn costs(&mut self, usd: Option<f64>) {
        self.receipt.usd = usd.map(|usd| self.spent + usd);
    }

    /// The answer is complete.
    pub fn served(&mut self, status: StatusCode, usage: Usage) {
        self.ended = Ended { status: status.as_u16(), outcome: RequestOutcome::Served, usage };
    }

    /// A kept answer was found.
    pub fn replayed(&mut self, hit: &Hit) {
        self.passed(hit.entry.body.len());
        self.receipt.deployment = Some(Arc::from(&*hit.entry.deployment));
        self.receipt.usd = Some(0.0);
        self.ended =
            Ended { status: StatusCode::OK.as_u16(), outcome: RequestOutcome::Cached, usage: Usage::default() };
    }

    /// The answer broke off after it had begun; what it used has been told.
    pub fn broke(&mut self, error: &'static str) {
        self.broke_off(error, self.ended.usage);
    }

    /// The answer broke off after it had begun.
    pub fn broke_off(&mut self, error: &'static str, usage: Usage) {
        self.ended = Ended { status: StatusCode::OK.as_u16(), outcome: RequestOutcome::Failed(error), usage };
    }

    /// There is an error instead of an answer.
    pub fn failed(&mut self, error: &ApiError) {
        let outcome = RequestOutcome::Failed(error.label());
        self.ended = Ended { status: error.status().as_u16(), outcome, usage: Usage::default() };
    }

    /// The request's id, the route receipt and what the cache said.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(request_id::HEADER, self.id.header_value());
        if self.is_anthropic() {
            headers.insert(ANTHROPIC_REQUEST_ID, self.id.header_value());
        }
        self.receipt.write(headers);
        match self.cache {
            Some(Cached::Hit { age, .. }) => {
                headers.insert(CACHE, HeaderValue::from_static("hit"));
                headers.insert(AGE, HeaderValue::from(age.as_secs()));
            }
            Some(Cached::Miss) => {
                headers.insert(CACHE, HeaderValue::from_static("miss"));
            }
            Some(Cached::Bypass) => {
                headers.insert(CACHE, HeaderValue::from_static("bypass"));
            }
            None => {}
        }
    }

    fn route(&self) -> Option<&RouteState> {
        self.routed.as_ref().map(|(snapshot, route)| &snapshot.routes[*route])
    }

    /// As documented, whatever of the accepted spellings the client used.
    fn path(&self) -> Cow<'_, str> {
        match self.purpose {
            Purpose::Endpoint(endpoint) if endpoint.speech() == Speech::Ollama => endpoint.path().into(),
            Purpose::Endpoint(endpoint) => format!("/v1{}", endpoint.path()).into(),
            Purpose::Passthrough => self.passed_path.as_deref().unwrap_or_default().into(),
        }
    }

    fn log(&self, latency: Duration) {
        let by = self.receipt.by.as_ref();
        let caller = self.caller.as_ref();
        AccessLine {
            id: &self.id,
            method: self.method.as_str(),
            path: &self.path(),
            status: self.ended.status,
            outcome: self.ended.outcome.label(),
            key: caller.map_or("", |caller| &caller.key_name),
            tenant: caller.map_or("", |caller| &caller.tenant_name),
            model: &self.model,
            route: self.route().map_or("", |route| &route.name),
            deployment: self.receipt.deployment.as_deref().or(self.receipt.provider.as_deref()).unwrap_or_default(),
            policy: by.map_or("", |by| &by.policy),
            revision: by.map_or("", |by| &by.revision),
            attempts: self.receipt.attempts,
            cache: match self.cache {
                Some(Cached::Hit { tier, .. }) => tier,
                Some(Cached::Miss) => "miss",
                Some(Cached::Bypass) => "bypass",
                None => "",
            },
            ttft: self.first_token,
            latency,
            usage: self.ended.usage,
            usd: self.receipt.usd,
            bytes: self.bytes,
            resumes: self.resumes,
            not_resumed: self.not_resumed.map_or("", NotResumed::label),
        }
        .write();
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let latency = self.started.elapsed();
        let Ended { outcome, .. } = self.ended;
        match self.route() {
            Some(route) => route.metrics.ended(self.purpose, outcome, latency),
            None => self.gateway.unrouted.ended(self.purpose, outcome, latency),
        }
        let logged = self.routed.as_ref().is_none_or(|(snapshot, _)| snapshot.config.log.requests);
        if logged && AccessLine::wanted() {
            self.log(latency);
        }
    }
}

/// What Anthropic's SDKs read.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// What became of a stream that broke, beside [`NotResumed::label`].
const RESUMED: &str = "resumed";
const CACHE: HeaderName = HeaderName::from_static("x-witgate-cache");
/// nginx's number for a client that did not wait.
const CLIENT_GONE: u16 = 499;
/// Bytes of a path that are logged.
const LONGEST_PATH: usize = 128;
