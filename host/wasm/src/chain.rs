//! Several policies as one: all filters narrow the candidates, all scorers rate them, the first router that has an
//! opinion decides. What happens when a policy fails is the route's choice, and never a surprise: it is written down
//! in what comes out.

use std::sync::Arc;

use smallvec::SmallVec;
use witgate_core::config::FailureMode;
use witgate_core::decision::{FailedAttempt, INTEGER_LIMIT, Offer};
use witgate_core::outcome::OutcomeRow;
use witgate_core::plan::{Decision, Plan, Rejection};
use witgate_core::vocabulary::Signal;

use crate::failure::Failure;
use crate::hooks::Hook;
use crate::instance::Question;
use crate::policy::Policy;

/// Who decided when no policy did.
pub const CONFIGURED_ORDER: &str = "configured-order";

/// One policy of a chain.
#[derive(Clone, Debug)]
pub struct ChainStage {
    /// Bound to this configuration.
    pub policy: Arc<Policy>,
    /// Its share in the mean of the scorers.
    pub weight: f64,
}

/// The policies of one route.
#[derive(Clone, Debug)]
pub struct Chain {
    stages: Vec<ChainStage>,
    mode: FailureMode,
    /// The shipped policy that decides when the chain fails.
    in_order: Option<Arc<Policy>>,
    configured_order: Arc<str>,
}

/// Why policies do not make a chain.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ChainError {
    /// No policy at all.
    #[error("the chain is empty; name at least one policy")]
    Empty,
    /// A scorer that counts for less than nothing.
    #[error("policy `{policy}` has the weight {weight}; a weight is a number, 0 or more")]
    Weight {
        /// The policy.
        policy: Arc<str>,
        /// As configured.
        weight: String,
    },
    /// The policy for failures does not route.
    #[error("policy `{policy}` cannot stand in for a chain that failed, because it exports no `router`")]
    StandIn {
        /// The policy.
        policy: Arc<str>,
    },
}

/// What a chain came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// What to do.
    pub choice: Choice,
    /// Who decided; [`CONFIGURED_ORDER`] when no policy did.
    pub policy: Arc<str>,
    /// Which build of it; empty when no policy decided.
    pub revision: Arc<str>,
    /// What failed on the way.
    pub failures: Vec<Failure>,
    /// What the filters left, when there were any.
    pub kept: Option<Vec<u32>>,
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Carry out this plan.
    Run(Plan),
    /// Answer the client with an error in the policy's words.
    Reject(Rejection),
    /// Only after a failure: leave it at what the last attempt gave.
    GiveUp,
    /// A policy failed, and the route wants the request refused then.
    Refused(Failure),
}

impl Chain {
    /// Puts policies together. A chain without a router is one whose routers all abstain: the first candidate in
    /// configured order is used.
    ///
    /// # Errors
    /// When there is no stage, a weight is not a number from 0 up, or `in_order` does not route.
    pub fn new(stages: Vec<ChainStage>, mode: FailureMode, in_order: Option<Arc<Policy>>) -> Result<Self, ChainError> {
        if stages.is_empty() {
            return Err(ChainError::Empty);
        }
        for ChainStage { policy, weight } in &stages {
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(ChainError::Weight { policy: Arc::clone(policy.name()), weight: weight.to_string() });
            }
        }
        if let Some(policy) = in_order.as_ref().filter(|policy| !policy.hooks().has(Hook::Router)) {
            return Err(ChainError::StandIn { policy: Arc::clone(policy.name()) });
        }
        Ok(Self { stages, mode, in_order, configured_order: CONFIGURED_ORDER.into() })
    }

    /// Its policies, in order.
    pub fn stages(&self) -> &[ChainStage] {
        &self.stages
    }

    /// A scorer whose scores change nothing, because no stage that chooses is fed them.
    pub fn idle_scorer(&self) -> Option<&Policy> {
        let chooses = |policy: &Policy| policy.hooks().has(Hook::Router) || policy.hooks().has(Hook::Fallback);
        let is_fed = |stage: &ChainStage| chooses(&stage.policy) && stage.policy.signals().contains(&Signal::Score);
        let (_, scorer) = self.exporting(Hook::Scorer).next()?;
        (!self.stages.iter().any(is_fed)).then_some(scorer)
    }

    /// The router that is asked first.
    pub fn first_router(&self) -> Option<&Policy> {
        self.exporting(Hook::Router).next().map(|(_, policy)| policy)
    }

    /// Whether some policy is slow or was late just now: then call the chain where it may block.
    pub fn off_worker(&self) -> bool {
        self.stages.iter().any(|stage| stage.policy.is_slow())
    }

    /// Decides about a request.
    pub fn decide(&self, offer: &Offer) -> Chosen {
        let mut run = Run::new(self, offer);
        match run.narrow_and_rate() {
            Next::Stage => {}
            Next::StandIn => return run.stand_in(),
            Next::Refuse(failure) => return run.refuse(failure),
        }
        for (number, policy) in self.exporting(Hook::Router) {
            match policy.choose(run.question(number)) {
                Ok(Decision::Run(plan)) => return run.decided(policy, Choice::Run(plan)),
                Ok(Decision::Reject(rejection)) => return run.decided(policy, Choice::Reject(rejection)),
                Ok(Decision::Abstain) => {}
                Err(failure) => match run.failed(failure) {
                    Next::Stage => {}
                    Next::StandIn => break,
                    Next::Refuse(failure) => return run.refuse(failure),
                },
            }
        }
        run.stand_in()
    }

    /// Decides what happens after a failed attempt: the first stage that exports `fallback` does, on what the filters
    /// leave of the candidates. `None` when no stage exports it.
    pub fn after_failure(&self, offer: &Offer, failures: &[FailedAttempt]) -> Option<Chosen> {
        self.exporting(Hook::Fallback).next()?;
        let mut run = Run::new(self, offer);
        match run.narrow_and_rate() {
            Next::Stage => {}
            Next::StandIn => return Some(run.stand_in_after(failures)),
            Next::Refuse(failure) => return Some(run.refuse(failure)),
        }
        for (number, policy) in self.exporting(Hook::Fallback) {
            match policy.choose_again(run.question(number), failures) {
                Ok(decision) => return Some(run.decided(policy, after(decision))),
                Err(failure) => match run.failed(failure) {
                    Next::Stage => {}
                    Next::StandIn => break,
                    Next::Refuse(failure) => return Some(run.refuse(failure)),
                },
            }
        }
        Some(run.stand_in_after(failures))
    }

    /// Tells every stage that wants to know. What fails is counted and logged under the policy's name.
    pub fn observe(&self, outcomes: &[OutcomeRow]) {
        for (_, policy) in self.exporting(Hook::Observer) {
            if let Err(Failure { policy, revision, hook, cause }) = policy.observe(outcomes) {
                tracing::debug!(%policy, %revision, %hook, %cause, "policy failed");
            }
        }
    }

    fn exporting(&self, hook: Hook) -> impl Iterator<Item = (usize, &Policy)> {
        let policies = self.stages.iter().map(|stage| &*stage.policy).enumerate();
        policies.filter(move |(_, policy)| policy.hooks().has(hook))
    }
}

/// One question on its way through a chain.
struct Run<'a> {
    chain: &'a Chain,
    offer: &'a Offer,
    kept: Option<Vec<u32>>,
    scores: Option<SmallVec<[f64; 16]>>,
    failures: Vec<Failure>,
}

/// Where a request goes on after a failure.
enum Next {
    Stage,
    StandIn,
    Refuse(Failure),
}

impl<'a> Run<'a> {
    fn new(chain: &'a Chain, offer: &'a Offer) -> Self {
        Self { chain, offer, kept: None, scores: None, failures: Vec::new() }
    }

    /// All filters, then all scorers.
    fn narrow_and_rate(&mut self) -> Next {
        for (number, policy) in self.chain.exporting(Hook::Filter) {
            match policy.filter(self.question(number)) {
                Ok(kept) => self.kept = Some(kept),
                Err(failure) => match self.failed(failure) {
                    Next::Stage => {}
                    elsewhere => return elsewhere,
                },
            }
        }
        let mut total = 0.0;
        let mut sums: SmallVec<[f64; 16]> = SmallVec::new();
        for (number, policy) in self.chain.exporting(Hook::Scorer) {
            match policy.rate(self.question(number)) {
                Ok(scores) => {
                    let weight = self.chain.stages[number].weight;
                    total += weight;
                    sums.resize(scores.len(), 0.0);
                    sums.iter_mut().zip(&scores).for_each(|(sum, score)| *sum += weight * score);
                }
                Err(failure) => match self.failed(failure) {
                    Next::Stage => {}
                    elsewhere => return elsewhere,
                },
            }
        }
        if total > 0.0 {
            sums.iter_mut().for_each(|sum| *sum /= total);
            self.scores = Some(sums);
        }
        Next::Stage
    }

    fn candidates(&self) -> &[u32] {
        self.kept.as_deref().unwrap_or(&self.offer.candidates)
    }

    /// Each stage gets a seed of its own, or two of them that draw would draw alike.
    fn question(&self, stage: usize) -> Question<'_> {
        Question {
            offer: self.offer,
            candidates: self.candidates(),
            scores: self.scores.as_deref(),
            seed: seed(self.offer.stamp.seed, stage),
        }
    }

    fn failed(&mut self, failure: Failure) -> Next {
        match self.chain.mode {
            FailureMode::Refuse => Next::Refuse(failure),
            FailureMode::Skip => {
                self.failures.push(failure);
                Next::Stage
            }
            FailureMode::InOrder => {
                self.failures.push(failure);
                Next::StandIn
            }
        }
    }

    /// Nobody decided. Where that is because something failed, the stand-in does; else, and when it fails too, the
    /// configured order.
    fn stand_in(mut self) -> Chosen {
        if !self.failures.is_empty()
            && let Some(policy) = &self.chain.in_order
        {
            match policy.choose(self.question(self.chain.stages.len())) {
                Ok(Decision::Run(plan)) => return self.decided(policy, Choice::Run(plan)),
                Ok(Decision::Reject(rejection)) => return self.decided(policy, Choice::Reject(rejection)),
                Ok(Decision::Abstain) => {}
                Err(failure) => self.failures.push(failure),
            }
        }
        let first = self.candidates().first().copied();
        self.undecided(first)
    }

    /// The same after a failed attempt: the next in configured order is one that was not tried yet.
    fn stand_in_after(mut self, failures: &[FailedAttempt]) -> Chosen {
        if let Some(policy) = self.chain.in_order.as_ref().filter(|policy| policy.hooks().has(Hook::Fallback)) {
            match policy.choose_again(self.question(self.chain.stages.len()), failures) {
                Ok(decision) => return self.decided(policy, after(decision)),
                Err(failure) => self.failures.push(failure),
            }
        }
        let tried = |candidate: &u32| failures.iter().any(|failure| failure.target == *candidate);
        let next = self.candidates().iter().copied().find(|candidate| !tried(candidate));
        self.undecided(next)
    }

    fn decided(self, policy: &Policy, choice: Choice) -> Chosen {
        let (policy, revision) = (Arc::clone(policy.name()), Arc::clone(policy.revision()));
        Chosen { choice, policy, revision, failures: self.failures, kept: self.kept }
    }

    fn undecided(self, target: Option<u32>) -> Chosen {
        let choice = target.map_or(Choice::GiveUp, |target| Choice::Run(Plan::single(target)));
        let policy = Arc::clone(&self.chain.configured_order);
        Chosen { choice, policy, revision: "".into(), failures: self.failures, kept: self.kept }
    }

    fn refuse(self, failure: Failure) -> Chosen {
        let (policy, revision) = (Arc::clone(&failure.policy), Arc::clone(&failure.revision));
        Chosen { choice: Choice::Refused(failure), policy, revision, failures: self.failures, kept: self.kept }
    }
}

fn after(decision: Decision) -> Choice {
    match decision {
        Decision::Run(plan) => Choice::Run(plan),
        Decision::Reject(rejection) => Choice::Reject(rejection),
        Decision::Abstain => Choice::GiveUp,
    }
}

/// The first stage gets the request's seed, so that a chain of one is what the offer says.
fn seed(request: u32, stage: usize) -> u32 {
    let mixed = (stage as u32).wrapping_mul(0x9e37_79b9);
    (request ^ mixed ^ (mixed >> 15)) % INTEGER_LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_between_stages_and_stay_in_range() {
        assert_eq!(seed(5, 0), 5);
        let seeds: std::collections::HashSet<u32> = (0..100).map(|stage| seed(INTEGER_LIMIT - 1, stage)).collect();
        assert_eq!(seeds.len(), 100);
        assert!(seeds.iter().all(|seed| *seed < INTEGER_LIMIT));
    }
}
