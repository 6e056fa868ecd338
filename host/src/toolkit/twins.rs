//! The same questions to two instances of a policy, to see whether it decides on its arguments alone.
//!
//! A policy that keeps no cells must answer a question alike whatever it was asked before, so the second instance is
//! given another past: it is asked the question before once more. Cells are a state that lasts, so with them both
//! instances get the same questions.

use std::sync::Arc;

use witgate_wasm::{FailureCause, Policy};

use super::situation::{Reply, Situation};

/// Two instances of a policy, each with cells of its own.
pub struct Twins {
    first: Arc<Policy>,
    second: Arc<Policy>,
    before: Option<Situation>,
}

/// Two answers to one question.
pub struct Differ {
    /// Of the first instance.
    pub first: Vec<Reply>,
    /// Of the second.
    pub second: Vec<Reply>,
    /// Whether their pasts were different.
    pub pasts: bool,
}

impl Twins {
    /// Of one policy, bound twice.
    pub fn new(first: Arc<Policy>, second: Arc<Policy>) -> Self {
        Self { first, second, before: None }
    }

    /// One of the two.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.first
    }

    /// Asks both; gives the first one's answers, and the difference if there is one.
    pub fn ask(&mut self, situation: &Situation) -> (Vec<Reply>, Option<Differ>) {
        let pasts = !self.first.component().imports().cells;
        if let Some(before) = self.before.take().filter(|_| pasts) {
            before.ask(&self.second);
        }
        let (first, second) = (situation.ask(&self.first), situation.ask(&self.second));
        self.before = Some(situation.clone());
        let same = first.len() == second.len() && first.iter().zip(&second).all(|(one, other)| alike(one, other));
        let differ = (!same).then(|| Differ { first: first.clone(), second, pasts });
        (first, differ)
    }
}

/// What the machine's load decides says nothing about the policy.
fn alike(one: &Reply, other: &Reply) -> bool {
    let by_load = |reply: &Reply| {
        let cause = reply.answer.as_ref().err();
        cause.is_some_and(|cause| match cause {
            FailureCause::Deadline { .. } | FailureCause::Suspended { .. } | FailureCause::Unavailable(_) => true,
            FailureCause::Declared(_) | FailureCause::Trap(_) | FailureCause::Impossible(_) => false,
        })
    };
    by_load(one) || by_load(other) || one.answer == other.answer
}
