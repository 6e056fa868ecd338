//! Unit tests of policies without WebAssembly: a host in memory, and questions in a line.
//!
//! ```
//! # use witgate_sdk::*;
//! # struct LeastBusy { load: Signal }
//! # impl Policy for LeastBusy {
//! #     const ABOUT: About = About::new("least-busy", "1.0.0", "");
//! #     fn configure(setup: &mut Setup) -> Result<Self, String> { Ok(Self { load: setup.signal("in-flight") }) }
//! # }
//! # impl Router for LeastBusy {
//! #     fn route(&self, ask: &Ask) -> Result<Verdict, String> { Ok(ask.pick_lowest(|row| ask.signal(self.load)[row])) }
//! # }
//! let policy = testing::load::<LeastBusy>("{}", &["gpt@here", "gpt@there"]).unwrap();
//! assert_eq!(policy.ask().signal("in-flight", &[3.0, 1.0]).route(), Ok(Verdict::Pick(1)));
//! ```
//!
//! The host is the thread's own. Cells, which outlive an instance, are kept from one [`load`] to the next until
//! [`reset`].

pub(crate) mod host;

use crate::bindings::imports::types::{Catalogue, Subscription};
use crate::{Ask, Deployment, FailedAttempt, Fallback, Filter, Observer, Outcomes, Policy, Request, Router, Scorer};
use crate::{Setup, Verdict};

/// What `catalogue.signals` holds.
pub const SIGNALS: [&str; 38] = [
    "in-flight",
    "tokens-in-flight",
    "ttft-ewma-ms",
    "ttft-peak-ewma-ms",
    "ttft-p50-ms",
    "ttft-p90-ms",
    "ttft-p99-ms",
    "latency-ewma-ms",
    "latency-p50-ms",
    "latency-p90-ms",
    "latency-p99-ms",
    "tokens-per-second",
    "error-rate",
    "consecutive-failures",
    "samples",
    "rpm-used",
    "tpm-used",
    "rpm-headroom",
    "tpm-headroom",
    "cooldown-ms",
    "usd-per-mtok-in",
    "usd-per-mtok-out",
    "weight",
    "context-tokens",
    "max-output-tokens",
    "score",
    "breaker-state",
    "breaker-open-ms",
    "warm-up",
    "ready-keys",
    "free-slots",
    "queue-depth",
    "upstream-queue",
    "upstream-running",
    "upstream-free-slots",
    "kv-used",
    "model-loaded",
    "usd-per-mtok-cached",
];

/// What `catalogue.facts` holds.
pub const FACTS: [&str; 19] = [
    "prompt-tokens",
    "max-output-tokens",
    "streaming",
    "endpoint",
    "tenant",
    "route",
    "model",
    "affinity",
    "deadline-ms",
    "body-bytes",
    "messages",
    "tools",
    "images",
    "audio",
    "json-schema",
    "choices",
    "attempts-left",
    "retries-left",
    "idempotent",
];

/// What `catalogue.outcomes` holds.
pub const OUTCOMES: [&str; 20] = [
    "decision",
    "attempt",
    "target",
    "tag",
    "ending",
    "failure",
    "status",
    "ttft-ms",
    "latency-ms",
    "tokens-in",
    "tokens-out",
    "cached-tokens",
    "usd",
    "tenant",
    "route",
    "model",
    "affinity",
    "streaming",
    "cache-write-tokens",
    "reasoning-tokens",
];

/// What `catalogue.failures` holds.
pub const FAILURES: [&str; 21] = [
    "connect",
    "connect-timeout",
    "reset",
    "first-byte-timeout",
    "deadline",
    "stalled",
    "cut",
    "rate-limited",
    "overloaded",
    "server-error",
    "unauthorised",
    "model-not-found",
    "context-length",
    "bad-request",
    "malformed",
    "error-in-stream",
    "first-token-timeout",
    "quota-exhausted",
    "content-policy",
    "unsupported",
    "queue-full",
];

/// What `catalogue.endings` holds.
pub const ENDINGS: [&str; 4] = ["served", "failed", "cancelled", "hedge-lost"];

/// Signals and facts whose unknown value is not 0.
const NEUTRAL: [(&str, f64); 10] = [
    ("rpm-headroom", 1.0),
    ("tpm-headroom", 1.0),
    ("weight", 1.0),
    ("warm-up", 1.0),
    ("ready-keys", 1.0),
    ("free-slots", 1e6),
    ("upstream-free-slots", 1e6),
    ("model-loaded", 1.0),
    ("choices", 1.0),
    ("idempotent", 1.0),
];

/// A deployment with nothing but an id.
pub fn deployment(id: &str) -> Deployment {
    let (model, provider) = id.split_once('@').unwrap_or((id, "test"));
    Deployment {
        id: id.to_owned(),
        provider: provider.to_owned(),
        model: model.to_owned(),
        region: String::new(),
        capabilities: Vec::new(),
        labels: Vec::new(),
    }
}

/// Configures a policy for deployments of these ids. All of them are candidates of its questions.
///
/// # Errors
/// What the policy says when it refuses.
///
/// # Panics
/// When it subscribes to a name that is not in the vocabulary, which a gateway refuses.
#[track_caller]
pub fn load<P: Policy>(settings: &str, ids: &[&str]) -> Result<Loaded<P>, String> {
    load_with(settings, ids.iter().map(|id| deployment(id)).collect())
}

/// The same for deployments with capabilities and labels.
///
/// # Errors
/// What the policy says when it refuses.
///
/// # Panics
/// When it subscribes to a name that is not in the vocabulary, which a gateway refuses.
#[track_caller]
pub fn load_with<P: Policy>(settings: &str, deployments: Vec<Deployment>) -> Result<Loaded<P>, String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let candidates = (0..deployments.len() as u32).collect();
    let routes: Vec<String> = owned(&["test"]);
    host::with(|host| host.routes.clone_from(&routes));
    let mut setup = Setup::new(Catalogue {
        deployments,
        routes,
        signals: owned(&SIGNALS),
        facts: owned(&FACTS),
        failures: owned(&FAILURES),
        outcomes: owned(&OUTCOMES),
        endings: owned(&ENDINGS),
        settings: settings.to_owned(),
    });
    let policy = P::configure(&mut setup)?;
    let subscription = setup.into_subscription();
    subscription.signals.iter().for_each(|name| known("signal", &SIGNALS, name));
    subscription.facts.iter().for_each(|name| known("fact", &FACTS, name));
    subscription.outcomes.iter().for_each(|name| known("outcome field", &OUTCOMES, name));
    Ok(Loaded { policy, subscription, candidates })
}

/// Forgets cells, log lines, prompt, headers and names of this thread's host.
pub fn reset() {
    host::reset();
}

/// What the policy has logged.
pub fn logged() -> Vec<String> {
    host::logged()
}

/// Sets the prompt.
pub fn set_prompt(text: &str) {
    host::with(|host| host.prompt = text.to_owned());
}

/// Sets a request header.
pub fn set_header(name: &str, value: &str) {
    host::with(|host| host.headers.insert(name.to_lowercase(), value.to_owned()));
}

/// Sets the name of a tenant.
pub fn set_tenant(id: u32, name: &str) {
    host::with(|host| host.tenants.insert(id, name.to_owned()));
}

/// Sets a label of a tenant.
pub fn set_tenant_label(id: u32, key: &str, value: &str) {
    host::with(|host| host.tenant_labels.insert((id, key.to_owned()), value.to_owned()));
}

/// Sets the name of a model.
pub fn set_model(id: u32, name: &str) {
    host::with(|host| host.models.insert(id, name.to_owned()));
}

/// A configured policy.
#[derive(Debug)]
pub struct Loaded<P> {
    policy: P,
    subscription: Subscription,
    candidates: Vec<u32>,
}

impl<P> Loaded<P> {
    /// The policy itself.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// Names of the signals that it subscribed to.
    pub fn signals(&self) -> &[String] {
        &self.subscription.signals
    }

    /// The texts that it declared.
    pub fn reasons(&self) -> &[String] {
        &self.subscription.reasons
    }

    /// A question with all deployments as candidates and nothing known about them.
    pub fn ask(&self) -> Question<'_, P> {
        Question {
            loaded: self,
            request: Request { decision: 1, attempt: 0, seed: 1, now_ms: 1.7e12 },
            candidates: self.candidates.clone(),
            signals: Vec::new(),
            facts: Vec::new(),
        }
    }
}

impl<P: Observer> Loaded<P> {
    /// Tells of one outcome; fields that are not given are 0.
    ///
    /// # Errors
    /// What the policy declares.
    ///
    /// # Panics
    /// When there is no outcome field of such a name.
    #[track_caller]
    pub fn observe(&self, fields: &[(&str, f64)]) -> Result<(), String> {
        fields.iter().for_each(|(name, _)| known("outcome field", &OUTCOMES, name));
        let value = |name: &String| fields.iter().find(|(given, _)| given == name).map_or(0.0, |(_, value)| *value);
        let columns: Vec<f64> = self.subscription.outcomes.iter().map(value).collect();
        self.policy.observe(&Outcomes::new(1, &columns))
    }
}

/// One question to a policy, as it is put together.
#[derive(Debug)]
pub struct Question<'a, P> {
    loaded: &'a Loaded<P>,
    request: Request,
    candidates: Vec<u32>,
    signals: Vec<(&'a str, Vec<f64>)>,
    facts: Vec<(&'a str, f64)>,
}

// Not derived, because the policy itself need not be `Clone`.
impl<P> Clone for Question<'_, P> {
    fn clone(&self) -> Self {
        Self {
            loaded: self.loaded,
            request: self.request,
            candidates: self.candidates.clone(),
            signals: self.signals.clone(),
            facts: self.facts.clone(),
        }
    }
}

impl<'a, P> Question<'a, P> {
    /// Offers these deployments only.
    #[must_use]
    pub fn candidates(self, candidates: &[u32]) -> Self {
        Self { candidates: candidates.to_vec(), ..self }
    }

    /// Sets a signal, one value for each candidate. Where the policy has not subscribed to it, it is not fed.
    ///
    /// # Panics
    /// When there is no signal of this name.
    #[must_use]
    #[track_caller]
    pub fn signal(mut self, name: &'a str, values: &[f64]) -> Self {
        known("signal", &SIGNALS, name);
        self.signals.push((name, values.to_vec()));
        self
    }

    /// Sets a fact.
    ///
    /// # Panics
    /// When there is no fact of this name.
    #[must_use]
    #[track_caller]
    pub fn fact(mut self, name: &'a str, value: f64) -> Self {
        known("fact", &FACTS, name);
        self.facts.push((name, value));
        self
    }

    /// Sets the clock, in milliseconds.
    #[must_use]
    pub fn at(mut self, now_ms: f64) -> Self {
        self.request.now_ms = now_ms;
        self
    }

    /// Sets the randomness.
    #[must_use]
    pub fn seed(mut self, seed: u32) -> Self {
        self.request.seed = seed;
        self
    }

    fn put<T>(&self, to: impl FnOnce(&P, &Ask) -> Result<T, String>) -> Result<T, String> {
        let rows = self.candidates.len();
        let subscription = &self.loaded.subscription;
        let column = |name: &String| {
            let given = self.signals.iter().rev().find(|(given, _)| given == name);
            let values = given.map_or_else(|| vec![neutral(name); rows], |(_, values)| values.clone());
            assert_eq!(values.len(), rows, "the signal `{name}` needs one value for each candidate");
            values
        };
        let fact = |name: &String| {
            let given = self.facts.iter().rev().find(|(given, _)| given == name);
            given.map_or_else(|| neutral(name), |(_, value)| *value)
        };
        let signals: Vec<f64> = subscription.signals.iter().flat_map(column).collect();
        let facts: Vec<f64> = subscription.facts.iter().map(fact).collect();
        to(&self.loaded.policy, &Ask::new(self.request, &self.candidates, &signals, &facts))
    }
}

impl<P: Router> Question<'_, P> {
    /// Puts it.
    ///
    /// # Errors
    /// What the policy declares.
    pub fn route(&self) -> Result<Verdict, String> {
        self.put(P::route)
    }
}

impl<P: Filter> Question<'_, P> {
    /// Puts it.
    ///
    /// # Errors
    /// What the policy declares.
    pub fn keep(&self) -> Result<Vec<u32>, String> {
        self.put(P::keep)
    }
}

impl<P: Scorer> Question<'_, P> {
    /// Puts it.
    ///
    /// # Errors
    /// What the policy declares.
    pub fn score(&self) -> Result<Vec<f64>, String> {
        self.put(P::score)
    }
}

impl<P: Fallback> Question<'_, P> {
    /// Puts it.
    ///
    /// # Errors
    /// What the policy declares.
    pub fn after_failure(&self, failures: &[FailedAttempt]) -> Result<Verdict, String> {
        self.put(|policy, ask| policy.after_failure(failures, ask))
    }
}

/// A typing mistake must not make a test pass.
#[track_caller]
fn known(what: &str, all: &[&str], name: &str) {
    assert!(all.contains(&name), "there is no {what} `{name}`; wit/vocabulary.md lists them: {}", all.join(", "));
}

/// A failed attempt of this kind, one of [`FAILURES`].
pub fn failure(target: u32, kind: &str) -> FailedAttempt {
    let place = FAILURES.iter().position(|known| *known == kind);
    assert!(place.is_some(), "`{kind}` is no kind of failure");
    let kind = place.unwrap_or_default() as u32;
    FailedAttempt { target, kind, status: 0, retry_after_ms: 0.0, elapsed_ms: 100.0, tokens_sent: 0 }
}

/// The value of a signal or a fact that is not given: what the host says where nothing is known.
pub fn neutral(name: &str) -> f64 {
    NEUTRAL.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value)
}
