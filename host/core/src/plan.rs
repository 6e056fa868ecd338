//! Checks a policy's [`Verdict`] and turns it into a [`Decision`].
//!
//! A [`Plan`] names only candidates that were offered, none more often than [`Bounds`] allow, with finite, clamped
//! times; so the executor need not look again. Pure: no clock, no I/O.

use std::sync::Arc;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::decision::{Draft, DraftAttempt, INTEGER_LIMIT, Refusal, StartRule, Verdict};

/// What a policy declared when it was configured, which its verdicts name by index.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Texts of reasons.
    pub reasons: Vec<Arc<str>>,
    /// JSON merge patches.
    pub overlays: Vec<Arc<serde_json::Value>>,
}

/// What the host allows whatever a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Attempts in one plan.
    pub attempts: usize,
    /// Hedges in one plan.
    pub hedges: usize,
    /// How often one deployment may be named in one plan.
    pub same_target: usize,
    /// The longest delay or timeout.
    pub longest: Duration,
}

impl Default for Bounds {
    /// 8 attempts, 1 hedge, each deployment twice, 10 minutes (the total timeout of the OpenAI SDKs).
    fn default() -> Self {
        Self { attempts: 8, hedges: 1, same_target: 2, longest: Duration::from_secs(600) }
    }
}

/// A checked answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Carry out this plan.
    Run(Plan),
    /// Answer the client with an error.
    Reject(Rejection),
    /// The policy has no opinion.
    Abstain,
}

/// At least one attempt, each at a deployment that was offered.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In order; never empty.
    pub attempts: SmallVec<[Attempt; 1]>,
    /// The text that the policy chose.
    pub reason: Option<Arc<str>>,
    /// The policy's own number.
    pub tag: u32,
}

/// One try at one deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Deployment number.
    pub target: u32,
    /// When it starts.
    pub start: StartRule,
    /// See [`StartRule`].
    pub delay: Duration,
    /// To the first byte; `None` = the deployment's own.
    pub timeout: Option<Duration>,
    /// JSON merge patch over the request body.
    pub overlay: Option<Arc<serde_json::Value>>,
}

impl Attempt {
    /// This deployment, at once, with its own timeout.
    pub fn at_once(target: u32) -> Self {
        Self { target, start: StartRule::AtOnce, delay: Duration::ZERO, timeout: None, overlay: None }
    }
}

impl Plan {
    /// One attempt.
    pub fn single(target: u32) -> Self {
        Self { attempts: smallvec![Attempt::at_once(target)], reason: None, tag: 0 }
    }
}

/// A refusal in the policy's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// 400 to 599.
    pub status: u16,
    /// When the client may come again.
    pub retry_after: Option<Duration>,
    /// The error's message.
    pub reason: Option<Arc<str>>,
}

/// Why a verdict cannot be carried out. The policy's name is added by whoever knows it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A number that is no candidate of this decision.
    #[error("it names deployment number {target}, which was not offered for this request")]
    NotOffered {
        /// The number.
        target: u32,
    },
    /// A plan without attempts.
    #[error("its plan has no attempts")]
    Empty,
    /// Too many attempts.
    #[error("its plan has {got} attempts, {allowed} are allowed")]
    TooManyAttempts {
        /// In the plan.
        got: usize,
        /// By [`Bounds`].
        allowed: usize,
    },
    /// Too many hedges.
    #[error("its plan has {got} hedges, {allowed} are allowed")]
    TooManyHedges {
        /// In the plan.
        got: usize,
        /// By [`Bounds`].
        allowed: usize,
    },
    /// The same deployment too often.
    #[error("its plan names deployment number {target} {got} times, {allowed} are allowed")]
    TooOften {
        /// The deployment.
        target: u32,
        /// In the plan.
        got: usize,
        /// By [`Bounds`].
        allowed: usize,
    },
    /// NaN, infinite or negative.
    #[error("its {field} is {value}, which is not a time")]
    NotATime {
        /// Which field.
        field: &'static str,
        /// As printed.
        value: String,
    },
    /// An index into a list that the policy declared.
    #[error("it names {list} number {index}, but it declared {declared}")]
    NotDeclared {
        /// Which list.
        list: &'static str,
        /// The index.
        index: u32,
        /// Length of the list.
        declared: usize,
    },
    /// At or above 2^31.
    #[error("its tag {tag} is not below 2^31")]
    TagTooLarge {
        /// The tag.
        tag: u32,
    },
    /// A filter that keeps nothing.
    #[error("it kept none of the candidates")]
    KeptNone,
    /// A filter that names a candidate twice.
    #[error("it kept deployment number {target} twice")]
    KeptTwice {
        /// The deployment.
        target: u32,
    },
    /// A scorer whose list has the wrong length.
    #[error("it gave {got} scores for {expected} candidates")]
    ScoreCount {
        /// Scores.
        got: usize,
        /// Candidates.
        expected: usize,
    },
    /// A score that is not a number.
    #[error("its score for deployment number {target} is not a finite number")]
    ScoreNotFinite {
        /// The deployment.
        target: u32,
    },
}

/// Checks a verdict against what was offered and declared.
///
/// # Errors
/// What makes the verdict impossible; nothing of it is used then.
pub fn check(verdict: Verdict, offered: &[u32], declared: &Declared, bounds: &Bounds) -> Result<Decision, PlanError> {
    match verdict {
        Verdict::Pick(target) => {
            check_target(target, offered)?;
            Ok(Decision::Run(Plan::single(target)))
        }
        Verdict::Follow(draft) => check_draft(&draft, offered, declared, bounds).map(Decision::Run),
        Verdict::Reject(refusal) => check_refusal(refusal, declared, bounds).map(Decision::Reject),
        Verdict::Abstain => Ok(Decision::Abstain),
    }
}

/// Checks what a filter kept: at least one, all offered, none twice.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_kept(kept: &[u32], offered: &[u32]) -> Result<(), PlanError> {
    if kept.is_empty() {
        return Err(PlanError::KeptNone);
    }
    // As a rule the order is kept, and one walk along the candidates shows all three.
    let mut rest = offered.iter();
    if kept.iter().all(|target| rest.any(|candidate| candidate == target)) {
        return Ok(());
    }
    for (place, target) in kept.iter().enumerate() {
        check_target(*target, offered)?;
        if kept[..place].contains(target) {
            return Err(PlanError::KeptTwice { target: *target });
        }
    }
    Ok(())
}

/// Checks a scorer's list and clamps it to 0..=1.
///
/// # Errors
/// When the length is wrong or a score is not finite.
pub fn check_scores(scores: &mut [f64], offered: &[u32]) -> Result<(), PlanError> {
    if scores.len() != offered.len() {
        return Err(PlanError::ScoreCount { got: scores.len(), expected: offered.len() });
    }
    for (score, target) in scores.iter_mut().zip(offered) {
        if !score.is_finite() {
            return Err(PlanError::ScoreNotFinite { target: *target });
        }
        *score = score.clamp(0.0, 1.0);
    }
    Ok(())
}

fn check_draft(draft: &Draft, offered: &[u32], declared: &Declared, bounds: &Bounds) -> Result<Plan, PlanError> {
    let drafts = &draft.attempts;
    if drafts.is_empty() {
        return Err(PlanError::Empty);
    }
    if drafts.len() > bounds.attempts {
        return Err(PlanError::TooManyAttempts { got: drafts.len(), allowed: bounds.attempts });
    }
    let hedges = drafts.iter().filter(|attempt| attempt.start == StartRule::Hedge).count();
    if hedges > bounds.hedges {
        return Err(PlanError::TooManyHedges { got: hedges, allowed: bounds.hedges });
    }
    if draft.tag >= INTEGER_LIMIT {
        return Err(PlanError::TagTooLarge { tag: draft.tag });
    }
    let reason = declared_reason(draft.reason, declared)?;
    let mut attempts = SmallVec::with_capacity(drafts.len());
    for attempt in drafts {
        check_target(attempt.target, offered)?;
        let got = drafts.iter().filter(|other| other.target == attempt.target).count();
        if got > bounds.same_target {
            return Err(PlanError::TooOften { target: attempt.target, got, allowed: bounds.same_target });
        }
        attempts.push(check_attempt(attempt, declared, bounds)?);
    }
    Ok(Plan { attempts, reason, tag: draft.tag })
}

fn check_attempt(draft: &DraftAttempt, declared: &Declared, bounds: &Bounds) -> Result<Attempt, PlanError> {
    let delay = check_time("delay", draft.delay_ms, bounds)?;
    let timeout = check_time("timeout", draft.timeout_ms, bounds)?;
    let overlay = match draft.overlay {
        None => None,
        Some(index) => Some(declared.overlays.get(index as usize).cloned().ok_or(PlanError::NotDeclared {
            list: "overlay",
            index,
            declared: declared.overlays.len(),
        })?),
    };
    Ok(Attempt {
        target: draft.target,
        start: draft.start,
        delay,
        timeout: (!timeout.is_zero()).then_some(timeout),
        overlay,
    })
}

fn check_refusal(refusal: Refusal, declared: &Declared, bounds: &Bounds) -> Result<Rejection, PlanError> {
    let retry_after = check_time("retry-after", refusal.retry_after_ms, bounds)?;
    Ok(Rejection {
        status: u16::try_from(refusal.status.clamp(400, 599)).unwrap_or(500),
        retry_after: (!retry_after.is_zero()).then_some(retry_after),
        reason: declared_reason(refusal.reason, declared)?,
    })
}

fn check_target(target: u32, offered: &[u32]) -> Result<(), PlanError> {
    if offered.contains(&target) { Ok(()) } else { Err(PlanError::NotOffered { target }) }
}

fn check_time(field: &'static str, millis: f64, bounds: &Bounds) -> Result<Duration, PlanError> {
    if !millis.is_finite() || millis < 0.0 {
        return Err(PlanError::NotATime { field, value: millis.to_string() });
    }
    let longest = bounds.longest.as_secs_f64() * 1000.0;
    Ok(Duration::from_secs_f64(millis.min(longest) / 1000.0))
}

fn declared_reason(index: u32, declared: &Declared) -> Result<Option<Arc<str>>, PlanError> {
    if declared.reasons.is_empty() {
        return Ok(None);
    }
    match declared.reasons.get(index as usize) {
        Some(reason) => Ok(Some(Arc::clone(reason))),
        None => Err(PlanError::NotDeclared { list: "reason", index, declared: declared.reasons.len() }),
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn declared() -> Declared {
        Declared {
            reasons: vec![Arc::from("because")],
            overlays: vec![Arc::new(serde_json::json!({"temperature": 0}))],
        }
    }

    fn attempt(target: u32) -> DraftAttempt {
        DraftAttempt { target, start: StartRule::OnFailure, delay_ms: 0.0, timeout_ms: 0.0, overlay: None }
    }

    fn follow(attempts: Vec<DraftAttempt>) -> Result<Decision, PlanError> {
        let draft = Draft { attempts, reason: 0, tag: 7 };
        check(Verdict::Follow(draft), &[3, 5], &declared(), &Bounds::default())
    }

    #[test]
    fn a_pick_must_have_been_offered() {
        let pick = |target| check(Verdict::Pick(target), &[3, 5], &declared(), &Bounds::default());
        assert_eq!(pick(5), Ok(Decision::Run(Plan::single(5))));
        assert_eq!(pick(4), Err(PlanError::NotOffered { target: 4 }));
        assert_eq!(
            PlanError::NotOffered { target: 4 }.to_string(),
            "it names deployment number 4, which was not offered for this request"
        );
    }

    #[test]
    fn a_plan_keeps_to_both_sides_of_every_bound() {
        assert_eq!(follow(vec![]), Err(PlanError::Empty));
        assert!(follow(vec![attempt(3), attempt(3)]).is_ok());
        assert_eq!(
            follow(vec![attempt(3), attempt(3), attempt(3)]),
            Err(PlanError::TooOften { target: 3, got: 3, allowed: 2 })
        );
        let offered: Vec<u32> = (0..9).collect();
        let many = |count: u32| {
            let draft = Draft { attempts: (0..count).map(attempt).collect(), reason: 0, tag: 0 };
            check(Verdict::Follow(draft), &offered, &declared(), &Bounds::default())
        };
        assert!(many(8).is_ok());
        assert_eq!(many(9), Err(PlanError::TooManyAttempts { got: 9, allowed: 8 }));
        let hedge = |target| DraftAttempt { start: StartRule::Hedge, ..attempt(target) };
        assert!(follow(vec![attempt(3), hedge(5)]).is_ok());
        assert_eq!(follow(vec![attempt(3), hedge(5), hedge(3)]), Err(PlanError::TooManyHedges { got: 2, allowed: 1 }));
    }

    #[test]
    fn times_are_clamped_and_never_nan_or_negative() {
        let with = |delay_ms, timeout_ms| follow(vec![DraftAttempt { delay_ms, timeout_ms, ..attempt(3) }]);
        let Ok(Decision::Run(plan)) = with(1e12, 250.0) else { panic!("a long delay is clamped") };
        assert_eq!(plan.attempts[0].delay, Duration::from_secs(600));
        assert_eq!(plan.attempts[0].timeout, Some(Duration::from_millis(250)));
        assert_eq!(with(f64::NAN, 0.0), Err(PlanError::NotATime { field: "delay", value: "NaN".into() }));
        assert_eq!(with(0.0, -1.0), Err(PlanError::NotATime { field: "timeout", value: "-1".into() }));
    }

    #[test]
    fn indices_must_have_been_declared() {
        let with = |overlay| follow(vec![DraftAttempt { overlay: Some(overlay), ..attempt(3) }]);
        assert!(with(0).is_ok());
        assert_eq!(with(1), Err(PlanError::NotDeclared { list: "overlay", index: 1, declared: 1 }));
        let reject = |status, reason| {
            let refusal = Refusal { status, retry_after_ms: 1500.0, reason };
            check(Verdict::Reject(refusal), &[3], &declared(), &Bounds::default())
        };
        assert_eq!(reject(429, 2), Err(PlanError::NotDeclared { list: "reason", index: 2, declared: 1 }));
        let Ok(Decision::Reject(rejection)) = reject(99, 0) else { panic!("a low status is clamped") };
        assert_eq!((rejection.status, rejection.retry_after), (400, Some(Duration::from_millis(1500))));
        let Ok(Decision::Reject(rejection)) = reject(4_000_000_000, 0) else { panic!("a high status is clamped") };
        assert_eq!((rejection.status, rejection.reason.as_deref()), (599, Some("because")));
    }

    #[test]
    fn a_tag_stays_below_two_to_the_thirty_first() {
        let with = |tag| {
            let draft = Draft { attempts: vec![attempt(3)], reason: 0, tag };
            check(Verdict::Follow(draft), &[3], &declared(), &Bounds::default())
        };
        assert!(with(INTEGER_LIMIT - 1).is_ok());
        assert_eq!(with(INTEGER_LIMIT), Err(PlanError::TagTooLarge { tag: INTEGER_LIMIT }));
    }

    #[test]
    fn a_filter_keeps_some_of_what_was_offered_once_each() {
        assert_eq!(check_kept(&[5], &[3, 5]), Ok(()));
        assert_eq!(check_kept(&[], &[3, 5]), Err(PlanError::KeptNone));
        assert_eq!(check_kept(&[9], &[3, 5]), Err(PlanError::NotOffered { target: 9 }));
        assert_eq!(check_kept(&[3, 3], &[3, 5]), Err(PlanError::KeptTwice { target: 3 }));
        assert_eq!(check_kept(&[5, 3], &[3, 5]), Ok(()));
        assert_eq!(check_kept(&[5, 3, 5], &[3, 5]), Err(PlanError::KeptTwice { target: 5 }));
        assert_eq!(check_kept(&[5, 9], &[3, 5]), Err(PlanError::NotOffered { target: 9 }));
    }

    #[test]
    fn scores_are_one_a_candidate_finite_and_clamped() {
        let mut scores = [-0.5, 1.5];
        assert_eq!(check_scores(&mut scores, &[3, 5]), Ok(()));
        assert_eq!(scores, [0.0, 1.0]);
        assert_eq!(check_scores(&mut [0.1], &[3, 5]), Err(PlanError::ScoreCount { got: 1, expected: 2 }));
        assert_eq!(check_scores(&mut [0.1, f64::NAN], &[3, 5]), Err(PlanError::ScoreNotFinite { target: 5 }));
    }
}
