//! Tries a policy out before it serves: a hundred made-up calls of each hook that it exports.
//!
//! The first call of each is what a gateway sees that has just started; the others range over numbers of candidates and
//! over values that signals and facts may have. A declared error is the policy's right; a trap, a deadline missed three
//! times over or an impossible verdict shows that it does not work. The values are always the same ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use witgate_core::decision::{Content, FailedAttempt, INTEGER_LIMIT, Stamp};
use witgate_core::plan;
use witgate_core::vocabulary::{Ending, Fact, FailureKind, OutcomeField, Signal};

use crate::bind_error::BindProblem;
use crate::blueprint::Blueprint;
use crate::failure::FailureCause;
use crate::hooks::Hook;
use crate::instance::{Call, Instance};
use crate::policy::Terms;

/// Calls of each hook.
const CALLS: u32 = 100;
/// Numbers of candidates, as far as there are so many deployments.
const CANDIDATES: [usize; 9] = [1, 2, 3, 4, 8, 16, 5, 33, 64];
/// What a machine's other guests take may count as ours, so one miss says nothing.
const MISSES: u32 = 3;
/// For making an instance anew after a miss.
const SETUP: Duration = Duration::from_secs(2);
/// The wall clock of the trial: 2026-01-01.
const NOW_MS: f64 = 1_767_225_600_000.0;

/// Calls every hook; gives the median time of a call.
pub(crate) fn run(blueprint: &Blueprint, instance: Instance, terms: &Terms) -> Result<Duration, BindProblem> {
    let mut trial = Trial { blueprint, terms, instance, random: Random(0), times: Vec::new() };
    for hook in blueprint.component.hooks.iter() {
        for number in 0..CALLS {
            trial.call(hook, number)?;
        }
    }
    let mut times = trial.times;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

struct Trial<'a> {
    blueprint: &'a Blueprint,
    terms: &'a Terms,
    instance: Instance,
    random: Random,
    times: Vec<Duration>,
}

impl Trial<'_> {
    fn call(&mut self, hook: Hook, number: u32) -> Result<(), BindProblem> {
        let deployments = self.terms.fleet.deployments().len();
        let wanted = CANDIDATES[number as usize % CANDIDATES.len()];
        let candidates = self.random.candidates(wanted, deployments);
        if candidates.is_empty() {
            return Ok(());
        }
        let attempt = if hook == Hook::Fallback { 1 + self.random.below(3) } else { 0 };
        let failures: Vec<_> = (0..attempt).map(|_| self.random.failed_attempt(&candidates)).collect();
        let stamp = Stamp { decision: number, attempt, seed: self.random.below(INTEGER_LIMIT), now_ms: NOW_MS };
        let (columns, facts) = if hook == Hook::Observer {
            (self.outcomes(candidates.len()), Vec::new())
        } else {
            self.numbers(candidates.len(), number == 0)
        };
        let mut misses = 0;
        loop {
            self.instance.columns.clone_from(&columns);
            self.instance.facts.clone_from(&facts);
            let started = Instant::now();
            let cause = match self.ask(hook, stamp, &candidates, &failures) {
                Ok(()) | Err(FailureCause::Declared(_)) => {
                    self.times.push(started.elapsed());
                    return Ok(());
                }
                Err(cause) => cause,
            };
            misses += 1;
            if !matches!(cause, FailureCause::Deadline { .. }) || misses == MISSES {
                let unit = if hook == Hook::Observer { "outcomes" } else { "candidates" };
                let fed = format!(
                    "{} {}",
                    candidates.len(),
                    if candidates.len() == 1 { &unit[..unit.len() - 1] } else { unit }
                );
                return Err(BindProblem::Trial { hook, fed, cause });
            }
            self.instance = self.blueprint.build(SETUP).map_err(BindProblem::Configure)?;
        }
    }

    fn ask(
        &mut self,
        hook: Hook,
        stamp: Stamp,
        candidates: &[u32],
        failures: &[FailedAttempt],
    ) -> Result<(), FailureCause> {
        let content: Arc<dyn Content> = Arc::new(Example);
        let imports = &self.blueprint.component.imports;
        let content = (imports.headers || imports.prompt).then_some(&content);
        let Terms { subscription, bounds, .. } = self.terms;
        let limit = self.terms.limit();
        let call = Call { limit, stamp, candidates, content };
        let verdict = match hook {
            Hook::Filter => {
                let kept = self.instance.keep(&call)?;
                return plan::check_kept(&kept, candidates).map_err(FailureCause::Impossible);
            }
            Hook::Scorer => {
                let mut scores = self.instance.score(&call)?;
                return plan::check_scores(&mut scores, candidates).map_err(FailureCause::Impossible);
            }
            Hook::Observer => return self.instance.observe(limit, candidates.len() as u32),
            Hook::Router => self.instance.route(&call)?,
            Hook::Fallback => self.instance.after_failure(&call, failures)?,
        };
        plan::check(verdict, candidates, &subscription.declared, bounds).map_err(FailureCause::Impossible).map(drop)
    }

    fn numbers(&mut self, candidates: usize, neutral: bool) -> (Vec<f64>, Vec<f64>) {
        let Terms { subscription, fleet, .. } = self.terms;
        let mut columns = Vec::with_capacity(candidates * subscription.signals.len());
        for signal in &subscription.signals {
            for _ in 0..candidates {
                columns.push(if neutral { signal.neutral() } else { self.random.signal(*signal) });
            }
        }
        let routes = fleet.routes().len();
        let random = &mut self.random;
        let fact = |fact: &Fact| if neutral { fact.neutral() } else { random.fact(*fact, routes) };
        (columns, subscription.facts.iter().map(fact).collect())
    }

    fn outcomes(&mut self, rows: usize) -> Vec<f64> {
        let Terms { subscription, fleet, .. } = self.terms;
        let (deployments, routes) = (fleet.deployments().len(), fleet.routes().len());
        let mut columns = Vec::with_capacity(rows * subscription.outcomes.len());
        for field in &subscription.outcomes {
            for _ in 0..rows {
                columns.push(self.random.outcome(*field, deployments, routes));
            }
        }
        columns
    }
}

/// SplitMix64, from a fixed start: a trial can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u32) -> u32 {
        (((self.next() >> 32) * u64::from(limit.max(1))) >> 32) as u32
    }

    fn place(&mut self, length: usize) -> f64 {
        f64::from(self.below(u32::try_from(length).unwrap_or(u32::MAX)))
    }

    fn share(&mut self) -> f64 {
        match self.below(4) {
            0 => 0.0,
            1 => 1.0,
            _ => f64::from(self.below(1000)) / 1000.0,
        }
    }

    fn amount(&mut self) -> f64 {
        match self.below(4) {
            0 => 0.0,
            1 => f64::from(self.below(10)),
            2 => f64::from(self.below(100_000)) / 16.0,
            _ => f64::from(self.below(INTEGER_LIMIT)),
        }
    }

    /// Some neighbours on the ring of all deployments, in configured order.
    fn candidates(&mut self, wanted: usize, deployments: usize) -> Vec<u32> {
        let first = self.place(deployments) as usize;
        let mut chosen: Vec<u32> =
            (first..first + wanted.min(deployments)).map(|number| (number % deployments) as u32).collect();
        chosen.sort_unstable();
        chosen
    }

    fn signal(&mut self, signal: Signal) -> f64 {
        match signal.unit() {
            "0 to 1" => self.share(),
            "above 0" => 0.001 + self.amount(),
            "0, 1, 2" => self.place(3),
            _ => self.amount(),
        }
    }

    fn fact(&mut self, fact: Fact, routes: usize) -> f64 {
        match fact {
            Fact::Streaming | Fact::JsonSchema | Fact::Idempotent => self.place(2),
            Fact::Endpoint => self.place(3),
            Fact::Route => self.place(routes),
            Fact::Tenant | Fact::Model | Fact::Affinity => f64::from(self.below(INTEGER_LIMIT)),
            Fact::Choices => 1.0 + self.place(4),
            Fact::PromptTokens
            | Fact::MaxOutputTokens
            | Fact::DeadlineMs
            | Fact::BodyBytes
            | Fact::Messages
            | Fact::Tools
            | Fact::Images
            | Fact::Audio
            | Fact::AttemptsLeft
            | Fact::RetriesLeft => self.amount().trunc(),
        }
    }

    fn outcome(&mut self, field: OutcomeField, deployments: usize, routes: usize) -> f64 {
        match field {
            OutcomeField::Target => self.place(deployments),
            OutcomeField::Route => self.place(routes),
            OutcomeField::Ending => self.place(Ending::COUNT),
            OutcomeField::Failure => self.place(FailureKind::COUNT + 1) - 1.0,
            OutcomeField::Status => [0.0, 200.0, 429.0, 500.0][self.below(4) as usize],
            OutcomeField::Streaming => self.place(2),
            OutcomeField::Attempt => self.place(4),
            OutcomeField::Decision
            | OutcomeField::Tag
            | OutcomeField::Tenant
            | OutcomeField::Model
            | OutcomeField::Affinity => f64::from(self.below(INTEGER_LIMIT)),
            OutcomeField::TtftMs | OutcomeField::LatencyMs | OutcomeField::Usd => self.amount(),
            OutcomeField::TokensIn
            | OutcomeField::TokensOut
            | OutcomeField::CachedTokens
            | OutcomeField::CacheWriteTokens
            | OutcomeField::ReasoningTokens => self.amount().trunc(),
        }
    }

    fn failed_attempt(&mut self, candidates: &[u32]) -> FailedAttempt {
        FailedAttempt {
            target: candidates[self.place(candidates.len()) as usize],
            kind: FailureKind::ALL[self.place(FailureKind::COUNT) as usize],
            status: [0, 429, 500, 503][self.below(4) as usize],
            retry_after_ms: self.amount(),
            elapsed_ms: self.amount(),
            tokens_sent: self.below(1000),
        }
    }
}

/// A request's texts, for policies that were granted them.
struct Example;

impl Content for Example {
    fn header(&self, name: &str) -> Option<&str> {
        name.eq_ignore_ascii_case("user-agent").then_some("witgate-trial")
    }

    fn prompt(&self) -> &str {
        "You are a helpful assistant.\nWhat is the capital of France? – Ça va?"
    }
}
