//! Made-up gateways and situations, the same for the same seed.

use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Map, Value, json};
use witgate_core::decision::{Facts, FailedAttempt, INTEGER_LIMIT, Readings, Stamp};
use witgate_core::openai::Endpoint;
use witgate_core::outcome::OutcomeRow;
use witgate_core::vocabulary::{Ending, Fact, FailureKind, OutcomeField, Signal};
use witgate_wasm::{Hook, Hooks};

use super::scene::{Scene, Script};
use super::situation::{Situation, Texts};

/// How strange the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As a gateway sees them.
    Usual,
    /// And every so often what no gateway has seen yet: the smallest, the largest, negative zero.
    Strange,
}

/// A source of made-up things.
pub struct Draw {
    rng: Rng,
    manner: Manner,
}

impl Draw {
    /// The source for one thing of a series.
    pub fn new(seed: u64, number: u64, manner: Manner) -> Self {
        // Neighbouring seeds must not give neighbouring numbers.
        let mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { rng: Rng::with_seed(mixed ^ (mixed >> 29)), manner }
    }

    /// A gateway with some deployments, routes and tenants.
    pub fn script(&mut self, grants: Vec<String>) -> Script {
        let deployments = *self.pick(&[1, 2, 3, 4, 7, 16, 33, 64]);
        let deployments: Map<String, Value> = (0..deployments)
            .map(|number| {
                let provider = self.pick(&["north", "south", "west"]);
                (format!("m{number}@{provider}"), self.deployment())
            })
            .collect();
        let routes = (0..self.rng.usize(1..4)).map(|number| format!("route-{number}")).collect();
        let tenants = (0..self.rng.usize(..3)).map(|number| {
            let labels: Value = if self.rng.bool() { json!({"tier": "gold", "team": "ü"}) } else { json!({}) };
            (format!("tenant-{number}"), labels)
        });
        Script { deployments, routes, tenants: tenants.collect(), grants }
    }

    fn deployment(&mut self) -> Value {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        let capabilities = CAPABILITIES.iter().filter(|_| self.rng.bool()).copied();
        set("capabilities", capabilities.collect::<Vec<_>>().into());
        if self.rng.bool() {
            set("region", (*self.pick(&["eu", "us-east-1", "Zürich", ""])).into());
        }
        if self.rng.bool() {
            set("labels", json!({"tier": *self.pick(&["gold", "silver", "", "日本"]), "rank": "1"}));
        }
        if self.rng.bool() {
            set("weight", (*self.pick(&[1e-9, 0.5, 1.0, 2.0, 1e6])).into());
        }
        if self.rng.bool() {
            set("price", json!({"input": *self.pick(&[0.0, 0.15, 2.5, 1e6]), "output": *self.pick(&[0.0, 0.6, 10.0])}));
        }
        for limit in ["rpm", "tpm", "context_tokens", "max_output_tokens"] {
            if self.rng.bool() {
                set(limit, (*self.pick(&[1_u32, 60, 8192, 1_000_000, i32::MAX as u32])).into());
            }
        }
        fields.into()
    }

    /// A situation for a policy with these hooks.
    pub fn situation(&mut self, scene: &Scene, hooks: Hooks, number: u32) -> Situation {
        let mut candidates = scene.targets();
        self.rng.shuffle(&mut candidates);
        candidates.truncate(self.rng.usize(1..=candidates.len()));
        if self.rng.bool() {
            candidates.sort_unstable();
        }
        let decides = hooks.has(Hook::Router) || hooks.has(Hook::Filter) || hooks.has(Hook::Scorer);
        let failed = hooks.has(Hook::Fallback) && (!decides || self.rng.bool());
        let failures: Vec<_> =
            (0..if failed { self.rng.usize(1..5) } else { 0 }).map(|_| self.failed(&candidates)).collect();
        let told = hooks.has(Hook::Observer) && (hooks.iter().count() == 1 || self.rng.u8(..4) == 0);
        let outcomes = (0..if told { self.rng.usize(1..80) } else { 0 }).map(|_| self.outcome(scene)).collect();
        Situation {
            stamp: Stamp {
                decision: number % INTEGER_LIMIT,
                attempt: u32::try_from(failures.len()).unwrap_or(0),
                seed: self.integer(),
                now_ms: *self.pick(&[0.0, 1_767_225_600_000.0, 1_767_225_599_999.5, 4e12]),
            },
            readings: Arc::new(self.readings(&candidates, &Readings::default())),
            facts: self.facts(scene),
            texts: Arc::new(self.texts()),
            candidates,
            failures,
            outcomes,
        }
    }

    /// The same situation, with everything about the candidates that was not stated made up.
    pub fn around(&mut self, stated: &Situation, number: u32) -> Situation {
        Situation {
            stamp: Stamp { decision: number % INTEGER_LIMIT, seed: self.rng.u32(..INTEGER_LIMIT), ..stated.stamp },
            readings: Arc::new(self.readings(&stated.candidates, &stated.readings)),
            ..stated.clone()
        }
    }

    /// The same situation, at another moment.
    pub fn again(&mut self, stated: &Situation, number: u32) -> Situation {
        let stamp = Stamp { decision: number % INTEGER_LIMIT, seed: self.rng.u32(..INTEGER_LIMIT), ..stated.stamp };
        Situation { stamp, ..stated.clone() }
    }

    fn readings(&mut self, candidates: &[u32], stated: &Readings) -> Readings {
        let mut readings = stated.clone();
        let strange = self.manner == Manner::Strange;
        let made_up = Signal::ALL.iter().filter(|signal| strange || !is_configured(**signal));
        for signal in made_up {
            // A signal that all have alike is as usual as one that differs.
            let alike = (self.rng.u8(..6) == 0).then(|| self.signal(*signal));
            for target in candidates {
                if stated.value(*target, *signal).is_none() {
                    readings.set(*target, *signal, alike.unwrap_or_else(|| self.signal(*signal)));
                }
            }
        }
        readings
    }

    fn signal(&mut self, signal: Signal) -> f64 {
        match signal.unit() {
            "0 to 1" => self.share(),
            "0, 1, 2" => f64::from(self.rng.u8(..3)),
            "above 0" => self.amount().max(if self.manner == Manner::Strange { f64::from_bits(1) } else { 0.001 }),
            _ => self.amount(),
        }
    }

    fn share(&mut self) -> f64 {
        match self.rng.u8(..8) {
            0 if self.manner == Manner::Strange => *self.pick(&[-0.0, f64::from_bits(1), 1.0 - f64::EPSILON]),
            0..3 => 0.0,
            3 => 1.0,
            _ => self.rng.f64(),
        }
    }

    fn amount(&mut self) -> f64 {
        match self.rng.u8(..8) {
            0 if self.manner == Manner::Strange => *self.pick(&STRANGE),
            0..3 => 0.0,
            3 => f64::from(self.rng.u32(1..10)),
            4 | 5 => self.rng.f64() * 1000.0,
            6 => f64::from(self.rng.u32(..100_000)),
            _ => self.rng.f64() * 1e6,
        }
    }

    fn integer(&mut self) -> u32 {
        match self.rng.u8(..8) {
            0 if self.manner == Manner::Strange => *self.pick(&[0, 1, 4096, 65_536, INTEGER_LIMIT - 1]),
            0 | 1 => self.rng.u32(..10),
            2..5 => self.rng.u32(..100_000),
            _ => self.rng.u32(..INTEGER_LIMIT),
        }
    }

    fn facts(&mut self, scene: &Scene) -> Facts {
        let mut facts = Facts::default();
        let tenants = scene.config.auth.keys.len() + 1;
        let routes = scene.fleet.routes().len();
        for fact in Fact::ALL {
            let value = match fact {
                Fact::Streaming | Fact::JsonSchema | Fact::Idempotent => f64::from(self.rng.u8(..2)),
                Fact::Endpoint => f64::from(self.rng.choice(Endpoint::ALL).map_or(0, Endpoint::index)),
                Fact::Route => self.rng.usize(..routes) as f64,
                Fact::Tenant => self.rng.usize(..tenants) as f64,
                Fact::DeadlineMs => self.amount(),
                Fact::Choices => f64::from(self.integer().max(1)),
                Fact::Affinity
                | Fact::Model
                | Fact::PromptTokens
                | Fact::MaxOutputTokens
                | Fact::BodyBytes
                | Fact::Messages
                | Fact::Tools
                | Fact::Images
                | Fact::AttemptsLeft
                | Fact::RetriesLeft
                | Fact::Audio => f64::from(self.integer()),
            };
            facts.set(*fact, value);
        }
        facts
    }

    fn texts(&mut self) -> Texts {
        let prompt = match self.rng.u8(..6) {
            0 => String::new(),
            1 => "hello".to_owned(),
            2 => "Grüße, 日本語 \u{1f600}\u{0}\n\r\u{202e}end".to_owned(),
            3 => "```rust\nfn main() {}\n```".to_owned(),
            4 => "x".repeat(self.rng.usize(..20_000)),
            _ => "ü".repeat(self.rng.usize(..20_000)),
        };
        let headers = HEADERS.iter().filter(|_| self.rng.bool());
        Texts { headers: headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), prompt }
    }

    fn failed(&mut self, candidates: &[u32]) -> FailedAttempt {
        FailedAttempt {
            target: *self.pick(candidates),
            kind: *self.pick(FailureKind::ALL),
            status: *self.pick(&[0, 400, 429, 500, 503, 599]),
            retry_after_ms: self.amount(),
            elapsed_ms: self.amount(),
            tokens_sent: self.integer(),
        }
    }

    fn outcome(&mut self, scene: &Scene) -> OutcomeRow {
        let mut row = [0.0; OutcomeField::COUNT];
        let failed = self.rng.bool();
        for field in OutcomeField::ALL {
            row[*field as usize] = match field {
                OutcomeField::Target => self.rng.usize(..scene.fleet.deployments().len()) as f64,
                OutcomeField::Route => self.rng.usize(..scene.fleet.routes().len()) as f64,
                OutcomeField::Tenant => self.rng.usize(..=scene.config.auth.keys.len()) as f64,
                OutcomeField::Ending if failed => f64::from(Ending::Failed.index()),
                OutcomeField::Ending => {
                    f64::from(self.pick(&[Ending::Served, Ending::Cancelled, Ending::HedgeLost]).index())
                }
                OutcomeField::Failure if failed => f64::from(self.pick(FailureKind::ALL).index()),
                OutcomeField::Failure => field.neutral(),
                OutcomeField::Status => f64::from(*self.pick(&[0_u16, 200, 429, 500])),
                OutcomeField::Streaming => f64::from(self.rng.u8(..2)),
                OutcomeField::TtftMs | OutcomeField::LatencyMs | OutcomeField::Usd => self.amount(),
                OutcomeField::Decision
                | OutcomeField::Attempt
                | OutcomeField::Tag
                | OutcomeField::Model
                | OutcomeField::Affinity
                | OutcomeField::TokensIn
                | OutcomeField::TokensOut
                | OutcomeField::CachedTokens
                | OutcomeField::CacheWriteTokens
                | OutcomeField::ReasoningTokens => f64::from(self.integer()),
            };
        }
        OutcomeRow(row)
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.rng.usize(..from.len())]
    }
}

/// Signals that only a new configuration changes.
const fn is_configured(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::UsdPerMtokIn | Signal::UsdPerMtokOut | Signal::Weight | Signal::ContextTokens | Signal::MaxOutputTokens
    )
}

const CAPABILITIES: [&str; 7] = ["chat", "tools", "vision", "audio", "json-schema", "embeddings", "code_generation"];
const HEADERS: [(&str, &str); 4] =
    [("user-agent", "witgate-fuzz"), ("x-session-id", "ü\u{1f600}"), ("x-tier", "gold"), ("x-empty", "")];
/// Finite, not below zero, and hard to get right: a sum or a product of them is not finite, a quotient neither.
const STRANGE: [f64; 9] =
    [-0.0, 5e-324, f64::MIN_POSITIVE, 1e-300, 2_147_483_647.0, 9_007_199_254_740_992.0, 1e15, 1e308, f64::MAX];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_gateway_and_everything_in_it_is_allowed() {
        let all: Hooks = Hook::ALL.into_iter().collect();
        for seed in 0..20 {
            let scene = |seed| Scene::new(&Draw::new(seed, 0, Manner::Strange).script(Vec::new())).expect("a gateway");
            let (one, other) = (scene(seed), scene(seed));
            assert_eq!(one.fleet.deployments().len(), other.fleet.deployments().len());
            let situation = |number| Draw::new(seed, number, Manner::Strange).situation(&one, all, number as u32);
            let (first, again) = (situation(3), situation(3));
            assert_eq!((first.readings, first.facts), (again.readings, again.facts));
            let other = situation(4);
            assert!(!other.candidates.is_empty());
            assert!(other.readings.iter().all(|(_, _, value)| value >= 0.0));
        }
    }
}
