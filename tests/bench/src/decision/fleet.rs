//! A fleet that has been in use for a while, and questions about it.

use std::sync::Arc;
use std::time::Duration;

use witgate_core::decision::{Content, Facts, FailedAttempt, INTEGER_LIMIT, Names, Offer, Stamp};
use witgate_core::deployment::{Deployment, Price, UpstreamModel};
use witgate_core::fleet::Fleet;
use witgate_core::live::{InFlight, Millis};
use witgate_core::outcome::{Asked, Outcome};
use witgate_core::vocabulary::{Ending, Fact, FailureKind};

/// Deployments with a history, some of them busy for as long as this lives.
pub(crate) struct Busy {
    pub(crate) fleet: Arc<Fleet>,
    _in_flight: Vec<InFlight>,
}

/// The moment of all questions.
const NOW: Millis = Millis(120_000);

impl Busy {
    /// So many deployments; the same numbers in every run.
    pub(crate) fn new(deployments: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let specs = (0..deployments).map(|number| Arc::new(deployment(number, &mut random))).collect();
        let fleet = Arc::new(Fleet::new(specs, vec!["bench".into()], None));
        let mut in_flight = Vec::new();
        for (number, entry) in fleet.deployments().iter().enumerate() {
            for past in 0..20 {
                let running = entry.live.begin(100, Millis(NOW.0 - 20_000 + past * 900));
                let latency = Duration::from_millis(random.u64(200..2000));
                running.finish(&served(number as u32, latency), Millis(NOW.0 - 19_000 + past * 900));
            }
            in_flight.extend((0..random.u32(0..4)).map(|_| entry.live.begin(500, NOW)));
        }
        Self { fleet, _in_flight: in_flight }
    }
}

/// A question with the first `candidates` deployments.
pub(crate) fn offer(candidates: usize) -> Offer {
    let mut facts = Facts::default();
    facts.set(Fact::PromptTokens, 400.0);
    facts.set(Fact::MaxOutputTokens, 256.0);
    facts.set(Fact::DeadlineMs, 60_000.0);
    facts.set(Fact::Affinity, 77.0);
    Offer {
        stamp: Stamp { decision: 0, attempt: 0, seed: 0, now_ms: 1.7e12 },
        now: NOW,
        candidates: (0..candidates as u32).collect(),
        facts,
        content: None,
        readings: None,
    }
}

/// What failed before `fallback` is asked.
pub(super) const FAILED: FailedAttempt = FailedAttempt {
    target: 0,
    kind: FailureKind::ServerError,
    status: 500,
    retry_after_ms: 0.0,
    elapsed_ms: 300.0,
    tokens_sent: 0,
};

/// The next question: another number and other randomness, as in service.
pub(super) fn next(offer: &mut Offer) {
    let stamp = &mut offer.stamp;
    stamp.decision = (stamp.decision + 1) % INTEGER_LIMIT;
    stamp.seed = fastrand::u32(..INTEGER_LIMIT);
}

fn deployment(number: usize, random: &mut fastrand::Rng) -> Deployment {
    Deployment {
        id: format!("model-{number}@provider-{}", number % 8).into(),
        provider: format!("provider-{}", number % 8).into(),
        model: UpstreamModel::Named(format!("model-{number}").into()),
        region: "eu-central".into(),
        capabilities: vec!["chat".into(), "tools".into()],
        // For the policies that go by labels.
        labels: vec![
            ("arm".into(), if number.is_multiple_of(2) { "control" } else { "candidate" }.into()),
            ("languages".into(), if number.is_multiple_of(2) { "de en" } else { "fr" }.into()),
            ("tariff".into(), if number.is_multiple_of(2) { "night" } else { "flat" }.into()),
        ],
        weight: f64::from(random.u32(1..5)),
        price: Some(Price { input: random.f64(), output: 4.0 * random.f64(), ..Price::default() }),
        rpm: Some(100_000),
        tpm: Some(100_000_000),
        context_tokens: Some(128_000),
        max_output_tokens: Some(16_000),
        ..Deployment::default()
    }
}

fn served(target: u32, latency: Duration) -> Outcome {
    Outcome {
        decision: 0,
        attempt: 0,
        target,
        tag: 0,
        ending: Ending::Served,
        failure: None,
        status: 200,
        retry_after: None,
        ttft: Some(latency / 4),
        latency,
        tokens_in: 100,
        tokens_out: 50,
        cached_tokens: 0,
        cache_write_tokens: 0,
        reasoning_tokens: 0,
        usd: 0.0,
        asked: Asked::default(),
    }
}

/// A prompt that is long enough to be looked at.
pub(super) struct Prompt;

impl Content for Prompt {
    fn header(&self, _: &str) -> Option<&str> {
        None
    }
    fn prompt(&self) -> &str {
        "Wie komme ich am schnellsten zum Bahnhof, und ist der Zug nach Hamburg heute pünktlich? Ich habe nur eine Stunde."
    }
}

/// No tenants, routes or models with names.
pub(crate) struct Nobody;

impl Names for Nobody {
    fn tenant(&self, _: u32) -> Arc<str> {
        "".into()
    }
    fn tenant_label(&self, _: u32, _: &str) -> Option<Arc<str>> {
        None
    }
    fn route(&self, _: u32) -> Arc<str> {
        "".into()
    }
    fn model(&self, _: u32) -> Arc<str> {
        "".into()
    }
}
