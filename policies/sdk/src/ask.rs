//! One question: who may be chosen, and the numbers that the policy subscribed to.

use std::ops::Range;

use crate::{Fact, Random, Request, Signal, Verdict, choose};

/// A question to a policy. Candidates are numbered twice: a *row* is a place in this question, from 0; a *target* is
/// the deployment's number in the catalogue, which verdicts name. There is always at least one candidate, and no
/// number is NaN or infinite.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Decision number, attempt, clock and seed.
    pub request: Request,
    candidates: &'a [u32],
    signals: &'a [f64],
    facts: &'a [f64],
}

impl<'a> Ask<'a> {
    pub(crate) fn new(request: Request, candidates: &'a [u32], signals: &'a [f64], facts: &'a [f64]) -> Self {
        Self { request, candidates, signals, facts }
    }

    /// The targets, in configured order.
    pub fn candidates(&self) -> &'a [u32] {
        self.candidates
    }

    /// All rows.
    pub fn rows(&self) -> Range<usize> {
        0..self.candidates.len()
    }

    /// A signal of every candidate, by row.
    pub fn signal(&self, signal: Signal) -> &'a [f64] {
        let rows = self.candidates.len();
        &self.signals[signal.0 * rows..][..rows]
    }

    /// A fact about the request.
    pub fn fact(&self, fact: Fact) -> f64 {
        self.facts[fact.0]
    }

    /// Picks the candidate of a row.
    pub fn pick(&self, row: usize) -> Verdict {
        Verdict::Pick(self.candidates[row])
    }

    /// Picks the candidate of least cost; of equals the first.
    pub fn pick_lowest<K: PartialOrd>(&self, cost: impl Fn(usize) -> K) -> Verdict {
        self.pick(choose::lowest(self.candidates.len(), cost))
    }

    /// Picks the candidate of least cost; of equals any, as the seed has it.
    pub fn pick_any_lowest<K: PartialOrd>(&self, cost: impl Fn(usize) -> K) -> Verdict {
        self.pick(choose::any_lowest(self.candidates.len(), &mut self.random(), cost))
    }

    /// Random numbers that are the same whenever the same question is asked.
    pub fn random(&self) -> Random {
        Random::new(self.request.seed)
    }
}
