//! One situation that a policy is asked about, and its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use witgate_core::decision::{Content, Facts, FailedAttempt, Offer, Readings, Stamp};
use witgate_core::live::Millis;
use witgate_core::outcome::OutcomeRow;
use witgate_core::plan::Decision;
use witgate_wasm::{FailureCause, Hook, Hooks, Policy};

/// Everything that a policy can be told about one request.
#[derive(Clone)]
pub struct Situation {
    /// Clock and randomness.
    pub stamp: Stamp,
    /// Who may be chosen.
    pub candidates: Vec<u32>,
    /// Their numbers, as far as they are not neutral.
    pub readings: Arc<Readings>,
    /// Numbers about the request.
    pub facts: Facts,
    /// Headers and prompt.
    pub texts: Arc<Texts>,
    /// What failed before; then `fallback` is asked instead of `router`.
    pub failures: Vec<FailedAttempt>,
    /// What `observer` is told before anything is asked.
    pub outcomes: Vec<OutcomeRow>,
}

/// Headers and prompt of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// By name.
    pub headers: Vec<(String, String)>,
    /// As one text.
    pub prompt: String,
}

impl Content for Texts {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn prompt(&self) -> &str {
        &self.prompt
    }
}

/// What a hook was asked and answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Which hook.
    pub hook: Hook,
    /// With the host's part.
    pub elapsed: Duration,
    /// What came of it.
    pub answer: Result<Answer, FailureCause>,
}

/// A checked answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of a filter.
    Kept(Vec<u32>),
    /// Of a scorer, one for each candidate.
    Scores(Vec<f64>),
    /// Of a router or a fallback.
    Decision(Decision),
    /// An observer has nothing to say.
    Told,
}

impl Situation {
    /// As a gateway would put it.
    pub fn offer(&self) -> Offer {
        Offer {
            stamp: self.stamp,
            now: Millis(0),
            candidates: self.candidates.clone(),
            facts: self.facts.clone(),
            content: Some(Arc::clone(&self.texts) as _),
            readings: Some(Arc::clone(&self.readings)),
        }
    }

    /// The hooks that it is a question to, in the order of a chain.
    pub fn hooks(&self, exported: Hooks) -> Vec<Hook> {
        let decides = if self.failures.is_empty() { Hook::Router } else { Hook::Fallback };
        let mut hooks = vec![Hook::Filter, Hook::Scorer, decides];
        if !self.outcomes.is_empty() {
            hooks.insert(0, Hook::Observer);
        }
        hooks.retain(|hook| exported.has(*hook));
        hooks
    }

    /// Asks every hook that the policy exports and the situation is about, as a chain of this one policy would, up to
    /// the first that fails.
    pub fn ask(&self, policy: &Policy) -> Vec<Reply> {
        let offer = self.offer();
        let mut candidates = self.candidates.clone();
        let mut scores: Option<Vec<f64>> = None;
        let mut replies = Vec::new();
        for hook in self.hooks(policy.hooks()) {
            let started = Instant::now();
            let answer = match hook {
                Hook::Observer => policy.observe(&self.outcomes).map(|()| Answer::Told),
                Hook::Filter => policy.keep(&offer, &candidates).map(Answer::Kept),
                Hook::Scorer => policy.score(&offer, &candidates).map(Answer::Scores),
                Hook::Router => policy.route(&offer, &candidates, scores.as_deref()).map(Answer::Decision),
                Hook::Fallback => {
                    policy.after_failure(&offer, &candidates, scores.as_deref(), &self.failures).map(Answer::Decision)
                }
            };
            let elapsed = started.elapsed();
            match &answer {
                Ok(Answer::Kept(kept)) => candidates.clone_from(kept),
                Ok(Answer::Scores(given)) => scores = Some(given.clone()),
                Ok(Answer::Decision(_) | Answer::Told) | Err(_) => {}
            }
            let failed = answer.is_err();
            replies.push(Reply { hook, elapsed, answer: answer.map_err(|failure| failure.cause) });
            if failed {
                break;
            }
        }
        replies
    }
}

/// Who was chosen: the first attempt's target; where nobody decides, those that a filter kept, or the best by score.
pub fn chosen(replies: &[Reply], candidates: &[u32]) -> Vec<u32> {
    let mut offered = candidates.to_vec();
    let mut chosen = Vec::new();
    for reply in replies {
        match &reply.answer {
            Ok(Answer::Kept(kept)) => {
                offered.clone_from(kept);
                chosen.clone_from(kept);
            }
            Ok(Answer::Scores(scores)) => {
                let best = offered.iter().zip(scores).max_by(|(_, a), (_, b)| a.total_cmp(b));
                chosen = best.map(|(target, _)| *target).into_iter().collect();
            }
            Ok(Answer::Decision(Decision::Run(plan))) => {
                chosen = plan.attempts.first().map(|attempt| attempt.target).into_iter().collect();
            }
            Ok(Answer::Decision(Decision::Reject(_) | Decision::Abstain)) | Err(_) => chosen.clear(),
            Ok(Answer::Told) => {}
        }
    }
    chosen
}
