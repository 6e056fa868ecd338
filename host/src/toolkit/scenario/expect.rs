//! What a policy must answer, and where its answer differs.

use anyhow::{bail, ensure};
use witgate_core::decision::StartRule;
use witgate_core::plan::{Attempt, Decision, Plan};
use witgate_wasm::{Hook, Hooks};

use super::raw::{Named, RawAttempt, RawExpect, RawStart};
use super::resolve::finite;
use crate::toolkit::scene::Scene;
use crate::toolkit::show;
use crate::toolkit::situation::{Answer, Reply, Situation};

/// What a policy must answer: something at least, so that a case can fail.
pub struct Expect {
    /// Of a router or a fallback.
    pub wanted: Option<Wanted>,
    reason: Option<String>,
    kept: Option<Vec<u32>>,
    scores: Option<Vec<(u32, f64)>>,
    within: f64,
    log: Option<String>,
    /// It is enough that every hook that is asked answers without an error.
    ran: bool,
}

/// What a router or a fallback must decide.
pub enum Wanted {
    /// The first attempt goes there.
    Target(u32),
    /// One after the other, of as many decisions.
    Targets(Vec<u32>),
    /// Exactly these attempts.
    Plan(Vec<Step>),
    /// This status, and the pause if one is given.
    Reject(u16, Option<f64>),
    /// No opinion.
    Abstain,
    /// A failure whose text holds this.
    Error(String),
}

/// One attempt of a plan; what is `None` may be anything.
pub struct Step {
    target: u32,
    start: StartRule,
    delay_ms: Option<f64>,
    timeout_ms: Option<f64>,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
}

pub(super) fn read(raw: RawExpect, scene: &Scene) -> anyhow::Result<Expect> {
    let mut wanted = Vec::new();
    if let Some(id) = &raw.target {
        wanted.push(("target", Wanted::Target(scene.target(id)?)));
    }
    if let Some(ids) = &raw.targets {
        ensure!(!ids.is_empty(), "`targets` is empty");
        wanted.push(("targets", Wanted::Targets(targets(ids, scene)?)));
    }
    if let Some(steps) = raw.plan {
        ensure!(!steps.is_empty(), "`plan` is empty");
        let steps = steps.into_iter().enumerate().map(|(place, raw_step)| step(raw_step.0, place, scene));
        wanted.push(("plan", Wanted::Plan(steps.collect::<anyhow::Result<_>>()?)));
    }
    if let Some(status) = raw.reject {
        ensure!((400..600).contains(&status), "`reject` is {status}; a status is 400 to 599");
        wanted.push(("reject", Wanted::Reject(status, raw.retry_after_ms)));
    } else {
        ensure!(raw.retry_after_ms.is_none(), "`retry-after-ms` is for `reject`");
    }
    match raw.abstain {
        Some(true) => wanted.push(("abstain", Wanted::Abstain)),
        Some(false) => bail!("`abstain: false` says nothing; expect what it shall decide"),
        None => {}
    }
    ensure!(raw.ran != Some(false), "`ran: false` says nothing; expect what it shall decide, or `error`");
    if let Some(text) = raw.error {
        wanted.push(("error", Wanted::Error(text)));
    }
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    ensure!(names.len() < 2, "there can be only one of `{}`", names.join("` and `"));
    let expects = !wanted.is_empty()
        || raw.reason.is_some()
        || raw.kept.is_some()
        || raw.scores.as_ref().is_some_and(|Named(scores)| !scores.is_empty())
        || raw.log.is_some()
        || raw.ran.is_some();
    ensure!(
        expects,
        "it says nothing, so the case could not fail; write what the policy must answer, or `ran: true` where it is \
         enough that it answers without an error"
    );
    let scores = raw.scores.map(|scores| {
        let scores = scores.0.into_iter().map(|(id, score)| Ok((scene.target(&id)?, finite(score, &id)?)));
        scores.collect::<anyhow::Result<Vec<_>>>()
    });
    Ok(Expect {
        wanted: wanted.pop().map(|(_, wanted)| wanted),
        reason: raw.reason,
        kept: raw.kept.map(|ids| targets(&ids, scene)).transpose()?,
        scores: scores.transpose()?,
        within: raw.within.unwrap_or(WITHIN),
        log: raw.log,
        ran: raw.ran.is_some(),
    })
}

fn targets(ids: &[String], scene: &Scene) -> anyhow::Result<Vec<u32>> {
    ids.iter().map(|id| scene.target(id)).collect()
}

fn step(raw: RawAttempt, place: usize, scene: &Scene) -> anyhow::Result<Step> {
    let usual = if place == 0 { StartRule::AtOnce } else { StartRule::OnFailure };
    let start = match raw.start {
        None => usual,
        Some(RawStart::AtOnce) => StartRule::AtOnce,
        Some(RawStart::OnFailure) => StartRule::OnFailure,
        Some(RawStart::Hedge) => StartRule::Hedge,
    };
    Ok(Step { target: scene.target(&raw.target)?, start, delay_ms: raw.delay_ms, timeout_ms: raw.timeout_ms })
}

impl Expect {
    /// How many decisions it is about.
    pub fn decisions(&self) -> usize {
        match &self.wanted {
            Some(Wanted::Targets(targets)) => targets.len(),
            _ => 1,
        }
    }

    /// What is expected of a hook that the policy does not export, or that nobody asks.
    ///
    /// # Errors
    /// Says which hook is missing.
    pub fn check_hooks(&self, situation: &Situation, exported: Hooks) -> anyhow::Result<()> {
        let needs = |hook: Hook, because: &str| {
            ensure!(exported.has(hook), "the case has `{because}`, but the policy exports no `{hook}`");
            Ok(())
        };
        if !situation.failures.is_empty() {
            needs(Hook::Fallback, "failures")?;
        }
        if !situation.outcomes.is_empty() {
            needs(Hook::Observer, "outcomes")?;
        }
        if self.kept.is_some() {
            needs(Hook::Filter, "kept")?;
        }
        if self.scores.is_some() {
            needs(Hook::Scorer, "scores")?;
        }
        ensure!(
            !self.ran || !situation.hooks(exported).is_empty(),
            "the case has `ran`, but asks no hook that the policy exports"
        );
        let word = match &self.wanted {
            Some(Wanted::Target(_)) => "target",
            Some(Wanted::Targets(_)) => "targets",
            Some(Wanted::Plan(_)) => "plan",
            Some(Wanted::Reject(..)) => "reject",
            Some(Wanted::Abstain) => "abstain",
            Some(Wanted::Error(_)) | None => return Ok(()),
        };
        if situation.failures.is_empty() { needs(Hook::Router, word) } else { needs(Hook::Fallback, word) }
    }

    /// Everything in which these answers differ; `decisions` holds the replies of each decision, at least one.
    pub fn differences(&self, decisions: &[Vec<Reply>], situation: &Situation, scene: &Scene) -> Vec<Mismatch> {
        let Some(last) = decisions.last() else { return Vec::new() };
        let got = || show::answers(last, scene, &situation.candidates);
        let mut found = Vec::new();
        if let Some(Wanted::Error(text)) = &self.wanted {
            let failed =
                last.iter().any(|reply| reply.answer.as_ref().is_err_and(|cause| cause.to_string().contains(text)));
            if !failed {
                found.push(Mismatch { expected: format!("an error with {text:?}"), got: got() });
            }
            return found;
        }
        if let Some(failed) = decisions.iter().find(|replies| replies.iter().any(|reply| reply.answer.is_err())) {
            let expected = self.text(scene).unwrap_or_else(|| "any answer".to_owned());
            return vec![Mismatch { expected, got: show::answers(failed, scene, &situation.candidates) }];
        }
        let mut offered = situation.candidates.clone();
        for reply in last {
            match &reply.answer {
                Ok(answer @ Answer::Kept(kept)) => {
                    if self.kept.as_ref().is_some_and(|expected| expected != kept) {
                        let expected = Answer::Kept(self.kept.clone().unwrap_or_default());
                        found.push(differs(&expected, answer, scene, &offered));
                    }
                    offered.clone_from(kept);
                }
                Ok(Answer::Scores(scores)) => found.extend(self.score_differences(scores, &offered, scene)),
                Ok(Answer::Decision(_) | Answer::Told) | Err(_) => {}
            }
        }
        if let Some(Wanted::Targets(expected)) = &self.wanted {
            let got: Vec<Option<u32>> = decisions.iter().map(|replies| first_target(replies)).collect();
            let same = got.iter().copied().eq(expected.iter().map(|target| Some(*target)));
            if !same {
                let got = got
                    .iter()
                    .map(|target| target.map_or_else(|| "none".to_owned(), |target| scene.id(target).to_string()));
                let got = got.collect::<Vec<_>>().join(", ");
                found.push(Mismatch { expected: show::ids(expected, scene), got });
            }
        } else if let Some(wanted) = &self.wanted
            && !last
                .iter()
                .any(|reply| matches!(&reply.answer, Ok(Answer::Decision(decision)) if wanted.fits(decision)))
        {
            found.push(Mismatch { expected: self.text(scene).unwrap_or_default(), got: got() });
        }
        if let Some(expected) = &self.reason {
            let got = show::reason(last);
            if got != Some(expected) {
                let got = got.map_or_else(|| "no reason".to_owned(), |got| format!("reason {got:?}"));
                found.push(Mismatch { expected: format!("reason {expected:?}"), got });
            }
        }
        found
    }

    /// Whether the policy logged what it must.
    pub fn log_difference(&self, heard: &[String]) -> Option<Mismatch> {
        let expected = self.log.as_ref()?;
        if heard.iter().any(|line| line.contains(expected)) {
            return None;
        }
        let got = if heard.is_empty() { "no log line".to_owned() } else { format!("log {heard:?}") };
        Some(Mismatch { expected: format!("a log line with {expected:?}"), got })
    }

    fn score_differences(&self, scores: &[f64], offered: &[u32], scene: &Scene) -> Vec<Mismatch> {
        let wrong = self.scores.iter().flatten().filter_map(|(target, expected)| {
            let place = offered.iter().position(|candidate| candidate == target);
            let got = place.and_then(|place| scores.get(place));
            if got.is_some_and(|got| (got - expected).abs() <= self.within) {
                return None;
            }
            let id = scene.id(*target);
            let got = got.map_or_else(|| "no score".to_owned(), |got| format!("score {}", show::number(*got)));
            Some(Mismatch { expected: format!("{id}: score {}", show::number(*expected)), got: format!("{id}: {got}") })
        });
        wrong.collect()
    }

    fn text(&self, scene: &Scene) -> Option<String> {
        Some(match self.wanted.as_ref()? {
            Wanted::Target(target) => format!("{} first", scene.id(*target)),
            Wanted::Targets(targets) => show::ids(targets, scene),
            Wanted::Plan(steps) => {
                let steps: Vec<String> = steps.iter().map(|step| step.text(scene)).collect();
                steps.join(", ")
            }
            Wanted::Reject(status, None) => format!("rejected with {status}"),
            Wanted::Reject(status, Some(pause)) => {
                format!("rejected with {status}, retry after {} ms", show::number(*pause))
            }
            Wanted::Abstain => "abstained".to_owned(),
            Wanted::Error(text) => format!("an error with {text:?}"),
        })
    }
}

impl Wanted {
    fn fits(&self, decision: &Decision) -> bool {
        match (self, decision) {
            (Self::Target(target), Decision::Run(plan)) => {
                plan.attempts.first().is_some_and(|attempt| attempt.target == *target)
            }
            (Self::Plan(steps), Decision::Run(Plan { attempts, .. })) => {
                steps.len() == attempts.len() && steps.iter().zip(attempts).all(|(step, attempt)| step.fits(attempt))
            }
            (Self::Reject(status, pause), Decision::Reject(rejection)) => {
                let after = rejection.retry_after.map_or(0.0, |after| after.as_secs_f64() * 1000.0);
                *status == rejection.status && pause.is_none_or(|pause| (pause - after).abs() < 1e-3)
            }
            (Self::Abstain, Decision::Abstain) => true,
            _ => false,
        }
    }
}

impl Step {
    fn fits(&self, attempt: &Attempt) -> bool {
        let same = |expected: Option<f64>, got: f64| expected.is_none_or(|expected| (expected - got).abs() < 1e-3);
        self.target == attempt.target
            && self.start == attempt.start
            && same(self.delay_ms, attempt.delay.as_secs_f64() * 1000.0)
            && same(self.timeout_ms, attempt.timeout.map_or(0.0, |timeout| timeout.as_secs_f64() * 1000.0))
    }

    /// As an attempt would be shown.
    fn text(&self, scene: &Scene) -> String {
        let millis = |millis: Option<f64>| std::time::Duration::try_from_secs_f64(millis.unwrap_or(0.0) / 1000.0);
        let attempt = Attempt {
            target: self.target,
            start: self.start,
            delay: millis(self.delay_ms).unwrap_or_default(),
            timeout: millis(self.timeout_ms).ok().filter(|timeout| !timeout.is_zero()),
            overlay: None,
        };
        show::attempt_text(&attempt, &scene.id(self.target))
    }
}

fn differs(expected: &Answer, got: &Answer, scene: &Scene, offered: &[u32]) -> Mismatch {
    Mismatch { expected: show::answer_text(expected, scene, offered), got: show::answer_text(got, scene, offered) }
}

fn first_target(replies: &[Reply]) -> Option<u32> {
    replies.iter().rev().find_map(|reply| match &reply.answer {
        Ok(Answer::Decision(Decision::Run(plan))) => plan.attempts.first().map(|attempt| attempt.target),
        _ => None,
    })
}

/// How far a score may be off.
const WITHIN: f64 = 0.001;
