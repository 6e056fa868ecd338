//! The shipped policies without WebAssembly: the very same code, called through the very same entry.
//!
//! Signals are gathered and the answer is checked by the code that the gateway uses, so what remains between this and
//! the component is the sandbox.

use std::cell::OnceCell;
use std::thread::LocalKey;

use witgate_core::decision::{Draft, DraftAttempt, Offer, Refusal, StartRule, Verdict};
use witgate_core::deployment::UpstreamModel;
use witgate_core::fleet::Fleet;
use witgate_core::plan::{self, Bounds, Declared};
use witgate_core::vocabulary::{Ending, Fact, FailureKind, OutcomeField, Signal};
use witgate_sdk::bindings::imports::types as sdk;
use witgate_sdk::bindings::{fallback, filter, lifecycle, router};
use witgate_sdk::component::Component;

use super::fleet::FAILED;

/// A policy that is compiled into this program.
pub(super) struct Native {
    signals: Vec<Signal>,
    facts: Vec<Fact>,
    declared: Declared,
    decide: Decide,
}

type Decide = fn(&Native, &Fleet, &Offer) -> Result<(), String>;

/// Declares which policies there are, and which of their hooks is measured.
macro_rules! natives {
    ($($name:literal: $policy:ty, $hook:ident;)+) => {
        /// The policy of this name, configured for `fleet`; `None` when it is not compiled in. Once in a thread.
        pub(super) fn find(name: &str, fleet: &Fleet, settings: &str) -> Option<Result<Native, String>> {
            match name {
                $($name => {
                    struct Registered;
                    thread_local! {
                        static POLICY: OnceCell<$policy> = const { OnceCell::new() };
                    }
                    impl Component for Registered {
                        type Policy = $policy;
                        fn place() -> &'static LocalKey<OnceCell<$policy>> {
                            &POLICY
                        }
                    }
                    Some(Native::new::<Registered>(fleet, settings, $hook::<Registered>))
                })+
                _ => None,
            }
        }
    };
}

natives! {
    "best-score": witgate_policy_best_score::BestScore, route;
    "capability": witgate_policy_capability::Capability, keep;
    "cheapest": witgate_policy_cheapest::Cheapest, route;
    "fallback-chain": witgate_policy_fallback_chain::FallbackChain, after_failure;
    "health": witgate_policy_health::HealthFilter, keep;
    "hedge": witgate_policy_hedge::Hedge, route;
    "in-order": witgate_policy_in_order::InOrder, route;
    "latency": witgate_policy_latency::Latency, route;
    "least-loaded": witgate_policy_least_loaded::LeastLoaded, route;
    "peak-ewma": witgate_policy_peak_ewma::PeakEwma, route;
    "resilient": witgate_policy_resilient::Resilient, after_failure;
    "round-robin": witgate_policy_round_robin::RoundRobin, route;
    "usage-based": witgate_policy_usage_based::UsageBased, route;
}

impl Native {
    fn new<C: Component>(fleet: &Fleet, settings: &str, decide: Decide) -> Result<Self, String> {
        let asked = <C as lifecycle::Guest>::configure(catalogue(fleet, settings))?;
        let signals = asked.signals.iter().map(|name| Signal::from_name(name).ok_or_else(|| unknown(name)));
        let facts = asked.facts.iter().map(|name| Fact::from_name(name).ok_or_else(|| unknown(name)));
        Ok(Self {
            signals: signals.collect::<Result<_, _>>()?,
            facts: facts.collect::<Result<_, _>>()?,
            declared: Declared { reasons: asked.reasons.into_iter().map(Into::into).collect(), overlays: Vec::new() },
            decide,
        })
    }

    /// Gathers, asks and checks.
    ///
    /// # Errors
    /// What the policy declares, or what is wrong with its answer.
    pub(super) fn decide(&self, fleet: &Fleet, offer: &Offer) -> Result<(), String> {
        (self.decide)(self, fleet, offer)
    }

    fn gather(&self, fleet: &Fleet, offer: &Offer) -> (sdk::Request, Vec<f64>, Vec<f64>) {
        let mut columns = Vec::with_capacity(self.signals.len() * offer.candidates.len());
        for signal in &self.signals {
            fleet.column(*signal, &offer.candidates, offer.now, &mut columns);
        }
        let facts = self.facts.iter().map(|fact| offer.facts.value(*fact)).collect();
        let stamp = offer.stamp;
        let request =
            sdk::Request { decision: stamp.decision, attempt: stamp.attempt, seed: stamp.seed, now_ms: stamp.now_ms };
        (request, columns, facts)
    }
}

fn route<C: Component<Policy: witgate_sdk::Router>>(
    native: &Native,
    fleet: &Fleet,
    offer: &Offer,
) -> Result<(), String> {
    let (request, columns, facts) = native.gather(fleet, offer);
    let verdict = <C as router::Guest>::route(request, offer.candidates.clone(), columns, facts)?;
    let decision = plan::check(unchecked(verdict), &offer.candidates, &native.declared, &Bounds::default());
    std::hint::black_box(decision).map(drop).map_err(|error| error.to_string())
}

fn keep<C: Component<Policy: witgate_sdk::Filter>>(
    native: &Native,
    fleet: &Fleet,
    offer: &Offer,
) -> Result<(), String> {
    let (request, columns, facts) = native.gather(fleet, offer);
    let kept = <C as filter::Guest>::keep(request, offer.candidates.clone(), columns, facts)?;
    plan::check_kept(std::hint::black_box(&kept), &offer.candidates).map_err(|error| error.to_string())
}

fn after_failure<C: Component<Policy: witgate_sdk::Fallback>>(
    native: &Native,
    fleet: &Fleet,
    offer: &Offer,
) -> Result<(), String> {
    let (request, columns, facts) = native.gather(fleet, offer);
    let failures = vec![sdk::FailedAttempt {
        target: FAILED.target,
        kind: FAILED.kind.index(),
        status: u32::from(FAILED.status),
        retry_after_ms: FAILED.retry_after_ms,
        elapsed_ms: FAILED.elapsed_ms,
        tokens_sent: FAILED.tokens_sent,
    }];
    let verdict = <C as fallback::Guest>::after_failure(request, failures, offer.candidates.clone(), columns, facts)?;
    let decision = plan::check(unchecked(verdict), &offer.candidates, &native.declared, &Bounds::default());
    std::hint::black_box(decision).map(drop).map_err(|error| error.to_string())
}

fn unchecked(verdict: sdk::Verdict) -> Verdict {
    match verdict {
        sdk::Verdict::Pick(target) => Verdict::Pick(target),
        sdk::Verdict::Follow(plan) => Verdict::Follow(Draft {
            attempts: plan.attempts.iter().map(attempt).collect(),
            reason: plan.reason,
            tag: plan.tag,
        }),
        sdk::Verdict::Reject(refusal) => Verdict::Reject(Refusal {
            status: refusal.status,
            retry_after_ms: refusal.retry_after_ms,
            reason: refusal.reason,
        }),
        sdk::Verdict::Abstain => Verdict::Abstain,
    }
}

fn attempt(attempt: &sdk::Attempt) -> DraftAttempt {
    DraftAttempt {
        target: attempt.target,
        start: match attempt.start {
            sdk::StartRule::AtOnce => StartRule::AtOnce,
            sdk::StartRule::OnFailure => StartRule::OnFailure,
            sdk::StartRule::Hedge => StartRule::Hedge,
        },
        delay_ms: attempt.delay_ms,
        timeout_ms: attempt.timeout_ms,
        overlay: attempt.overlay,
    }
}

fn catalogue(fleet: &Fleet, settings: &str) -> sdk::Catalogue {
    let deployments = fleet.deployments().iter().map(|entry| &entry.spec).map(|spec| sdk::Deployment {
        id: spec.id.to_string(),
        provider: spec.provider.to_string(),
        model: match &spec.model {
            UpstreamModel::Named(name) => name.to_string(),
            UpstreamModel::AsRequested => "*".to_owned(),
        },
        region: spec.region.to_string(),
        capabilities: spec.capabilities.iter().map(ToString::to_string).collect(),
        labels: spec.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    });
    sdk::Catalogue {
        deployments: deployments.collect(),
        routes: fleet.routes().iter().map(ToString::to_string).collect(),
        signals: names(Signal::ALL, Signal::name),
        facts: names(Fact::ALL, Fact::name),
        failures: names(FailureKind::ALL, FailureKind::name),
        outcomes: names(OutcomeField::ALL, OutcomeField::name),
        endings: names(Ending::ALL, Ending::name),
        settings: settings.to_owned(),
    }
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<String> {
    all.iter().map(|entry| name(*entry).to_owned()).collect()
}

fn unknown(name: &str) -> String {
    format!("it subscribes to `{name}`, which is not in the vocabulary")
}
