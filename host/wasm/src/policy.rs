//! A component bound to a configuration, ready to be asked.
//!
//! A call takes an instance without waiting, feeds it, and checks its answer; what comes out can be carried out.
//! Nothing is allocated or shared between threads on the way, but for what the guest itself returns.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use witgate_core::config::{Isolation, PolicyRules};
use witgate_core::decision::{FailedAttempt, Offer, Stamp};
use witgate_core::fleet::Fleet;
use witgate_core::outcome::OutcomeRow;
use witgate_core::plan::{self, Bounds, Decision};
use witgate_core::vocabulary::{Fact, OutcomeField, Signal};

use crate::blueprint::Blueprint;
use crate::component::Component;
use crate::crash::{Crash, Crashes};
use crate::failure::{Failure, FailureCause};
use crate::hooks::{Hook, Hooks};
use crate::instance::{Call, Instance, Question};
use crate::meter::PolicyMeter;
use crate::pool::{Lease, Place, Pool};
use crate::replace::Replacement;
use crate::statistics::{Counters, PolicyStatistics};
use crate::subscription::Subscription;
use crate::watch::{Admission, Crashed, Watch};

/// For making an instance while a request waits, as a multiple of a call's deadline: rare, after a trap under load.
const SETUP_DEADLINES: u32 = 10;
/// For making an instance while nobody waits.
const SETUP: Duration = Duration::from_secs(2);
/// Outcomes in one call of an observer: 64 of them are some 0.2 ms in Python.
const OUTCOME_BATCH: usize = 64;

/// A component bound to a configuration. [`crate::Engine::bind`] makes it; any thread may ask it.
pub struct Policy {
    pub(crate) blueprint: Blueprint,
    pub(crate) terms: Terms,
    pub(crate) pool: Pool,
    pub(crate) watch: Watch,
    pub(crate) counters: Counters,
    pub(crate) meter: Option<Arc<dyn PolicyMeter>>,
    pub(crate) replacements: SyncSender<Replacement>,
    pub(crate) crashes: Crashes,
    pub(crate) me: Weak<Self>,
}

/// What a policy is fed and held to.
pub(crate) struct Terms {
    pub(crate) subscription: Subscription,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) rules: PolicyRules,
    pub(crate) bounds: Bounds,
}

impl Policy {
    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.blueprint.component.name
    }

    /// Which build of it.
    pub fn revision(&self) -> &Arc<str> {
        &self.blueprint.component.revision
    }

    /// What it can be asked.
    pub fn hooks(&self) -> Hooks {
        self.blueprint.component.hooks
    }

    /// The file that it came from.
    pub fn component(&self) -> &Arc<Component> {
        &self.blueprint.component
    }

    /// The signals that it is fed, in its order.
    pub fn signals(&self) -> &[Signal] {
        &self.terms.subscription.signals
    }

    /// The facts that it is fed, in its order.
    pub fn facts(&self) -> &[Fact] {
        &self.terms.subscription.facts
    }

    /// The outcome fields that it is fed, in its order.
    pub fn outcomes(&self) -> &[OutcomeField] {
        &self.terms.subscription.outcomes
    }

    /// Linear memory of each instance that nobody uses right now, in bytes.
    pub fn memory(&self) -> Vec<usize> {
        let idle = self.pool.places().filter_map(Place::try_lock);
        idle.filter_map(|instance| instance.as_deref().map(Instance::memory)).collect()
    }

    /// Whether it belongs off the worker threads: slow on average, or late within the last 30 s.
    pub fn is_slow(&self) -> bool {
        self.watch.is_slow()
    }

    /// Says whether an older revision can take its place. When it fails too often, it is asked no more, wherever it is
    /// bound, and whoever listens to [`crate::Engine::on_crash`] has five seconds to put that one there.
    pub fn set_spare(&self, is_there: bool) {
        self.watch.set_spare(is_there);
    }

    /// To be called once this takes the place of `before`, so that a crash in between is not lost: where both are the
    /// same revision and an older one is awaited, it is awaited here too.
    pub fn takes_over(&self, before: &Self) {
        let same = (self.name(), self.revision()) == (before.name(), before.revision());
        if same && !std::ptr::eq(self, before) && before.watch.awaits_spare() {
            self.watch.await_spare();
        }
    }

    /// `filter.keep`: the candidates to keep; at least one, all of those given, none twice.
    ///
    /// # Errors
    /// See [`FailureCause`].
    pub fn keep(&self, offer: &Offer, candidates: &[u32]) -> Result<Vec<u32>, Failure> {
        self.filter(Question { offer, candidates, scores: None, seed: offer.stamp.seed })
    }

    /// `scorer.score`: one number from 0 to 1 for each candidate.
    ///
    /// # Errors
    /// See [`FailureCause`].
    pub fn score(&self, offer: &Offer, candidates: &[u32]) -> Result<Vec<f64>, Failure> {
        self.rate(Question { offer, candidates, scores: None, seed: offer.stamp.seed })
    }

    /// `router.route`.
    ///
    /// # Errors
    /// See [`FailureCause`].
    pub fn route(&self, offer: &Offer, candidates: &[u32], scores: Option<&[f64]>) -> Result<Decision, Failure> {
        self.choose(Question { offer, candidates, scores, seed: offer.stamp.seed })
    }

    /// `fallback.after-failure`; `failures` holds every failed attempt of this request.
    ///
    /// # Errors
    /// See [`FailureCause`].
    pub fn after_failure(
        &self,
        offer: &Offer,
        candidates: &[u32],
        scores: Option<&[f64]>,
        failures: &[FailedAttempt],
    ) -> Result<Decision, Failure> {
        self.choose_again(Question { offer, candidates, scores, seed: offer.stamp.seed }, failures)
    }

    /// `observer.observe`, in batches; those after a failed one are still told.
    ///
    /// # Errors
    /// The first failure.
    pub fn observe(&self, outcomes: &[OutcomeRow]) -> Result<(), Failure> {
        let mut told = Ok(());
        for rows in outcomes.chunks(OUTCOME_BATCH) {
            let batch = self.call(Hook::Observer, |instance| {
                instance.gather_outcomes(&self.terms.subscription, rows);
                instance.observe(self.terms.limit(), rows.len() as u32)
            });
            told = told.and(batch);
        }
        told
    }

    /// What has happened since it was bound.
    pub fn statistics(&self) -> PolicyStatistics {
        PolicyStatistics::read(&self.counters, &self.pool, &self.watch)
    }

    pub(crate) fn filter(&self, question: Question<'_>) -> Result<Vec<u32>, Failure> {
        self.call(Hook::Filter, |instance| {
            instance.gather(&self.terms.subscription, &self.terms.fleet, &question);
            let kept = instance.keep(&self.terms.put(&question, self.sees_content()))?;
            plan::check_kept(&kept, question.candidates).map_err(FailureCause::Impossible)?;
            Ok(kept)
        })
    }

    pub(crate) fn rate(&self, question: Question<'_>) -> Result<Vec<f64>, Failure> {
        self.call(Hook::Scorer, |instance| {
            instance.gather(&self.terms.subscription, &self.terms.fleet, &question);
            let mut scores = instance.score(&self.terms.put(&question, self.sees_content()))?;
            plan::check_scores(&mut scores, question.candidates).map_err(FailureCause::Impossible)?;
            Ok(scores)
        })
    }

    pub(crate) fn choose(&self, question: Question<'_>) -> Result<Decision, Failure> {
        self.call(Hook::Router, |instance| {
            instance.gather(&self.terms.subscription, &self.terms.fleet, &question);
            let verdict = instance.route(&self.terms.put(&question, self.sees_content()))?;
            self.terms.check(verdict, question.candidates)
        })
    }

    pub(crate) fn choose_again(&self, question: Question<'_>, failures: &[FailedAttempt]) -> Result<Decision, Failure> {
        self.call(Hook::Fallback, |instance| {
            instance.gather(&self.terms.subscription, &self.terms.fleet, &question);
            let verdict = instance.after_failure(&self.terms.put(&question, self.sees_content()), failures)?;
            self.terms.check(verdict, question.candidates)
        })
    }

    /// Puts a new instance into a place, unless somebody was faster.
    pub(crate) fn renew(&self, place: usize) {
        match self.blueprint.build(SETUP) {
            Ok(new) => {
                let mut instance = self.pool.place(place).lock();
                // The component's code may have been replaced while this one was made.
                let is_stale = self.is_stale(&new);
                if instance.as_ref().is_none_or(|old| old.retiring || self.is_stale(old)) {
                    let old = instance.replace(Box::new(new));
                    drop(instance);
                    drop(old);
                    if is_stale {
                        self.renew(place);
                    }
                }
            }
            Err(cause) => {
                tracing::warn!(policy = %self.name(), revision = %self.revision(), %cause, "no new instance");
            }
        }
    }

    /// Replaces every instance whose code is not the component's any more, each as soon as its call is over.
    pub(crate) fn refresh(&self) {
        for number in 0..self.pool.places().count() {
            let is_stale = self.pool.place(number).lock().as_deref().is_some_and(|instance| self.is_stale(instance));
            if is_stale {
                self.renew(number);
            }
        }
    }

    fn is_stale(&self, instance: &Instance) -> bool {
        instance.tier != self.blueprint.component.tier()
    }

    /// Whether the component imports texts of the request; it was granted them, or it would not have been bound.
    fn sees_content(&self) -> bool {
        let imports = &self.blueprint.component.imports;
        imports.headers || imports.prompt
    }

    /// Every call goes through here: admitted, timed, counted, and the instance thrown away when it is lost.
    fn call<T>(&self, hook: Hook, ask: impl FnOnce(&mut Instance) -> Result<T, FailureCause>) -> Result<T, Failure> {
        let (admission, mut lease) = self.admit().map_err(|cause| self.failed(hook, Duration::ZERO, cause))?;
        let started = Instant::now();
        let Some(instance) = lease.instance.as_deref_mut() else {
            self.watch.ended(admission, false);
            return Err(self.failed(hook, Duration::ZERO, FailureCause::Unavailable("its place is empty".to_owned())));
        };
        let answer = ask(instance);
        let rules = &self.terms.rules;
        let worn = instance.calls() >= rules.calls.get() || instance.has_grown_past(rules.memory);
        let retire = worn && !instance.retiring;
        let elapsed = started.elapsed();
        self.watch.pace(lease.count(self.watch.millis(started), elapsed));
        match &answer {
            Err(cause) if cause.loses_instance() => {
                self.counters.lost();
                self.discard(lease);
            }
            _ if rules.isolation == Isolation::Fresh => {
                self.counters.retired();
                self.discard(lease);
            }
            Ok(_) if retire => {
                self.retire(&mut lease);
                drop(lease);
            }
            Ok(_) | Err(_) => drop(lease),
        }
        match answer {
            Ok(value) => {
                self.watch.ended(admission, true);
                if let Some(meter) = &self.meter {
                    meter.called(hook, elapsed, None);
                }
                Ok(value)
            }
            Err(cause) => {
                let crashed = if cause.counts_against() {
                    self.watch.failed(&cause, |now| self.pool.recent_calls(now))
                } else {
                    self.watch.ended(admission, true);
                    None
                };
                let failure = self.failed(hook, elapsed, cause);
                if let Some(crashed) = crashed {
                    self.crashed(crashed, &failure);
                }
                Err(failure)
            }
        }
    }

    #[cold]
    fn crashed(&self, Crashed { failures, calls, suspended }: Crashed, last: &Failure) {
        let crash = Crash { last: last.clone(), failures, calls, window: self.terms.rules.crash.window, suspended };
        let (policy, revision) = (self.name(), self.revision());
        match suspended {
            Some(pause) => {
                // A number in JSON, which one of 128 bits is not.
                let suspended_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(%policy, %revision, suspended_ms, why = %crash, "policy suspended");
            }
            None => {
                tracing::warn!(%policy, %revision, why = %crash, "policy crashes");
                // Not only here: what is rolled back is the revision.
                self.component().bound().iter().for_each(|policy| policy.watch.await_spare());
            }
        }
        self.crashes.tell(&crash);
    }

    /// A permission and an instance.
    fn admit(&self) -> Result<(Admission, Lease<'_>), FailureCause> {
        let admission = self.watch.admit()?;
        match self.pool.ready().map_or_else(|| self.make_ready(), Ok) {
            Ok(lease) => Ok((admission, lease)),
            Err(cause) => {
                self.watch.ended(admission, false);
                Err(cause)
            }
        }
    }

    /// No instance is free: makes one where there is room for it, or waits for one of those in use. Either is bounded,
    /// and rare: there are twice as many places as workers.
    #[cold]
    fn make_ready(&self) -> Result<Lease<'_>, FailureCause> {
        let longest = self.terms.limit();
        let Some(mut lease) = self.pool.empty().or_else(|| self.pool.wait(longest)) else {
            let (places, millis) = (self.pool.places().count(), longest.as_millis());
            return Err(FailureCause::Unavailable(format!("all {places} were busy for {millis} ms")));
        };
        if lease.instance.is_some() {
            return Ok(lease);
        }
        if self.counters.is_dry() {
            return Err(FailureCause::Unavailable("the last attempt to make one failed a moment ago".to_owned()));
        }
        match self.blueprint.build(self.terms.limit() * SETUP_DEADLINES) {
            Ok(instance) => {
                *lease.instance = Some(Box::new(instance));
                Ok(lease)
            }
            Err(cause) => {
                self.counters.went_dry();
                Err(FailureCause::Unavailable(format!("making one failed: {cause}")))
            }
        }
    }

    /// Throws the instance away; its replacement is made off the path.
    fn discard(&self, mut lease: Lease<'_>) {
        let (place, lost) = (lease.number, lease.instance.take());
        drop(lease);
        self.replace(place, lost);
    }

    /// The instance goes on until its replacement is ready.
    fn retire(&self, lease: &mut Lease<'_>) {
        if self.replace(lease.number, None) {
            self.counters.retired();
            if let Some(instance) = lease.instance.as_deref_mut() {
                instance.retiring = true;
            }
        }
    }

    fn replace(&self, place: usize, lost: Option<Box<Instance>>) -> bool {
        match self.replacements.try_send(Replacement { policy: Weak::clone(&self.me), place, lost }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    #[cold]
    fn failed(&self, hook: Hook, elapsed: Duration, cause: FailureCause) -> Failure {
        self.counters.failed(&cause);
        if let Some(meter) = &self.meter {
            meter.called(hook, elapsed, Some(&cause));
        }
        Failure { policy: Arc::clone(self.name()), revision: Arc::clone(self.revision()), hook, cause }
    }
}

impl Terms {
    /// For one call.
    pub(crate) fn limit(&self) -> Duration {
        self.rules.deadline
    }

    fn put<'a>(&self, question: &Question<'a>, content: bool) -> Call<'a> {
        Call {
            limit: self.limit(),
            stamp: Stamp { seed: question.seed, ..question.offer.stamp },
            candidates: question.candidates,
            content: if content { question.offer.content.as_ref() } else { None },
        }
    }

    fn check(&self, verdict: witgate_core::decision::Verdict, candidates: &[u32]) -> Result<Decision, FailureCause> {
        plan::check(verdict, candidates, &self.subscription.declared, &self.bounds).map_err(FailureCause::Impossible)
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("name", self.name())
            .field("revision", self.revision())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
