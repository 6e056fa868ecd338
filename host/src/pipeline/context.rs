//! What one request carries from stage to stage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use witgate_core::admission::Priority;
use witgate_core::decision::{Content, Facts, INTEGER_LIMIT, Offer, Stamp};
use witgate_core::needs::Needs;
use witgate_core::openai::{Peek, prompt_text};
use witgate_core::outcome::Asked;
use witgate_core::vocabulary::Fact;

use crate::admission::Held;
use crate::api::auth::Caller;
use crate::api::patience::Patience;
use crate::clock;
use crate::gateway::Gateway;
use crate::snapshot::{RouteState, Snapshot};
use crate::telemetry::request_id::RequestId;
use crate::upload::{FormBody, Upload};

/// One request, read and routed.
pub struct Context {
    /// What outlives every request.
    pub gateway: Arc<Gateway>,
    /// Taken at the door.
    pub snapshot: Arc<Snapshot>,
    /// Place in [`Snapshot::routes`].
    pub route: usize,
    /// The name the upstream is asked for where the deployment says "as requested".
    pub requested_model: Arc<str>,
    /// Deployments that the first decision may use.
    pub candidates: Arc<[u32]>,
    /// Whether no others may be used after a failure either.
    pub bound: bool,
    /// What a deployment must be able of.
    pub needs: Needs,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The client's body, as it came; of a form, as far as it was read.
    pub body: Bytes,
    /// The rest of it, where it is a form.
    pub form: Option<FormBody>,
    /// What was read out of it.
    pub peek: Peek,
    /// Who asks.
    pub caller: Caller,
    /// Ties the log's lines together.
    pub id: RequestId,
    /// When the request came.
    pub started: Instant,
    /// What the client waits for at most.
    pub patience: Patience,
    /// When its answer must have begun.
    pub begin_by: Instant,
    /// When its time is over.
    pub deadline: Instant,
    /// Number of the decision.
    pub decision: u32,
    /// Facts that outcomes repeat.
    pub asked: Asked,
    /// How urgent it is.
    pub priority: Priority,
    facts: Facts,
    /// The memory of `body`.
    _held: Held,
}

/// What the door knows about a request.
pub struct Arrival {
    /// See [`Context`].
    pub gateway: Arc<Gateway>,
    /// See [`Context`].
    pub snapshot: Arc<Snapshot>,
    /// See [`Context`].
    pub route: usize,
    /// See [`Context`].
    pub requested_model: Arc<str>,
    /// See [`Context`].
    pub candidates: Arc<[u32]>,
    /// See [`Context`].
    pub bound: bool,
    /// See [`Context`].
    pub needs: Needs,
    /// See [`Context`].
    pub headers: HeaderMap,
    /// See [`Context`].
    pub body: Bytes,
    /// See [`Context`].
    pub form: Option<FormBody>,
    /// See [`Context`].
    pub peek: Peek,
    /// See [`Context`].
    pub caller: Caller,
    /// See [`Context`].
    pub id: RequestId,
    /// See [`Context`].
    pub patience: Patience,
    /// See [`Context`].
    pub priority: Priority,
    /// The memory of the body.
    pub held: Held,
    /// See [`Context`].
    pub started: Instant,
}

impl Context {
    /// Gives the request its number, its deadline and its facts.
    pub fn new(arrival: Arrival) -> Self {
        let Arrival {
            gateway,
            snapshot,
            route,
            requested_model,
            candidates,
            bound,
            needs,
            headers,
            body,
            form,
            peek,
            caller,
            id,
            patience,
            priority,
            held,
            started,
        } = arrival;
        let asked = Asked {
            tenant: caller.tenant,
            route: u32::try_from(route).unwrap_or(0),
            model: snapshot.names.model_id(&peek.model),
            affinity: affinity(&headers, &peek),
            streaming: peek.stream,
        };
        let rest = form.as_ref().and_then(|form| form.rest.as_ref()?.length()).unwrap_or(0);
        let facts = facts(&asked, &peek, body.len() as u64 + rest);
        let (begin_by, deadline) = patience.ends(started, snapshot.routes[route].timeout);
        let decision = gateway.next_decision();
        Self {
            gateway,
            snapshot,
            route,
            requested_model,
            candidates,
            bound,
            needs,
            headers,
            body,
            form,
            peek,
            caller,
            id,
            started,
            patience,
            begin_by,
            deadline,
            decision,
            asked,
            priority,
            facts,
            _held: held,
        }
    }

    /// The request's route.
    pub fn route(&self) -> &RouteState {
        &self.snapshot.routes[self.route]
    }

    /// Whether a part of the body has gone to an upstream that nothing can bring back.
    pub fn is_spent(&self) -> bool {
        self.rest().is_some_and(Upload::has_begun)
    }

    /// What of the body is not in memory.
    pub fn rest(&self) -> Option<&Upload> {
        self.form.as_ref()?.rest.as_ref()
    }

    /// A deployment's id.
    pub fn deployment_id(&self, number: u32) -> Arc<str> {
        let entry = self.snapshot.fleet.deployments().get(number as usize);
        entry.map_or_else(|| Arc::from(""), |entry| Arc::clone(&entry.spec.id))
    }

    /// What is left of the time until the answer must have begun.
    pub fn remaining(&self) -> Duration {
        self.begin_by.saturating_duration_since(Instant::now())
    }

    /// Tokens that an attempt is counted with until the truth is known.
    pub fn estimated_tokens(&self) -> u32 {
        let output = self.peek.max_output_tokens.unwrap_or(EXPECTED_OUTPUT).min(EXPECTED_OUTPUT);
        self.peek.prompt_tokens.saturating_add(output)
    }

    /// Attempts that the host still allows after so many failures.
    pub fn attempts_left(&self, failures: usize) -> usize {
        (self.snapshot.config.server.max_attempts.get() as usize).saturating_sub(failures)
    }

    /// The question to the policies, with the clock and the randomness of this moment.
    pub fn offer(&self, attempt: u32, candidates: &[u32]) -> Offer {
        let mut facts = self.facts.clone();
        let (route, now) = (self.route(), clock::monotonic());
        facts.set(Fact::DeadlineMs, self.remaining().as_secs_f64() * 1000.0);
        facts.set(Fact::AttemptsLeft, self.attempts_left(attempt as usize) as f64);
        facts.set(Fact::Idempotent, f64::from(u8::from(route.idempotent)));
        if attempt > 0 {
            facts.set(Fact::RetriesLeft, route.budgets.left(now));
        }
        let content = route.wants_content.then(|| Arc::new(RequestContent::of(self)) as Arc<dyn Content>);
        Offer {
            stamp: Stamp {
                decision: self.decision,
                attempt,
                seed: fastrand::u32(..INTEGER_LIMIT),
                now_ms: clock::wall_ms(),
            },
            now,
            candidates: candidates.to_vec(),
            facts,
            content,
            readings: None,
        }
    }
}

/// Headers and prompt for policies that were granted them; the prompt is read when the first one asks.
struct RequestContent {
    headers: HeaderMap,
    body: Bytes,
    peek: Peek,
    prompt: std::sync::OnceLock<String>,
}

impl RequestContent {
    fn of(context: &Context) -> Self {
        Self {
            headers: context.headers.clone(),
            body: context.body.clone(),
            peek: context.peek.clone(),
            prompt: std::sync::OnceLock::new(),
        }
    }
}

impl Content for RequestContent {
    fn header(&self, name: &str) -> Option<&str> {
        // Credentials stay here whatever was granted.
        if CREDENTIALS.iter().any(|secret| secret.eq_ignore_ascii_case(name)) {
            return None;
        }
        self.headers.get(name)?.to_str().ok()
    }

    fn prompt(&self) -> &str {
        self.prompt.get_or_init(|| prompt_text(&self.body, &self.peek))
    }
}

fn facts(asked: &Asked, peek: &Peek, body_bytes: u64) -> Facts {
    let mut facts = Facts::default();
    facts.set(Fact::PromptTokens, f64::from(peek.prompt_tokens));
    facts.set(Fact::MaxOutputTokens, f64::from(peek.max_output_tokens.unwrap_or(0)));
    facts.set(Fact::Streaming, f64::from(u8::from(peek.stream)));
    facts.set(Fact::Endpoint, f64::from(peek.endpoint.index()));
    facts.set(Fact::Tenant, f64::from(asked.tenant));
    facts.set(Fact::Route, f64::from(asked.route));
    facts.set(Fact::Model, f64::from(asked.model));
    facts.set(Fact::Affinity, f64::from(asked.affinity));
    facts.set(Fact::BodyBytes, body_bytes as f64);
    facts.set(Fact::Messages, f64::from(peek.messages));
    facts.set(Fact::Tools, f64::from(peek.tools));
    facts.set(Fact::Images, f64::from(peek.images));
    facts.set(Fact::Audio, f64::from(peek.audio));
    facts.set(Fact::JsonSchema, f64::from(u8::from(peek.json_schema)));
    facts.set(Fact::Choices, f64::from(peek.choices));
    facts
}

/// The same for requests that belong together, on every gateway and after a restart; 0 when nothing says so.
fn affinity(headers: &HeaderMap, peek: &Peek) -> u32 {
    let session = headers.get("x-session-id").map(http::HeaderValue::as_bytes);
    let Some(key) = session.or_else(|| peek.session.as_deref().map(str::as_bytes)) else { return 0 };
    // FNV-1a, 32 bits, folded below 2^31.
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    ((hash >> 31) ^ (hash & (INTEGER_LIMIT - 1))).max(1)
}

const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];
/// Output tokens that a request is expected to give when it does not say: the mean of public chat traces is near it.
const EXPECTED_OUTPUT: u32 = 256;
