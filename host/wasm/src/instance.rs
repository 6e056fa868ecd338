//! One live instance of a policy: a store of its own, the typed exports, and scratch space for what it is fed.
//!
//! After any error of the engine the store is poisoned (every later call would fail), so whoever gets a cause that
//! [`FailureCause::loses_instance`] drops the instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::InstancePre;
use witgate_core::decision::{Content, FailedAttempt, Offer, Stamp, Verdict};
use witgate_core::fleet::Fleet;
use witgate_core::outcome::OutcomeRow;
use witgate_core::vocabulary::Signal;

use crate::bindings;
use crate::bindings::exports::{fallback, filter, lifecycle, observer, router, scorer};
use crate::bindings::imports::types;
use crate::deadline::{Deadline, FIRST_LOOK};
use crate::failure::FailureCause;
use crate::hooks::{Hook, Hooks};
use crate::logbook::printable;
use crate::state::State;
use crate::subscription::Subscription;
use crate::tier::{Program, Tier};

/// Bytes that a policy may hand to the host in one call: its verdict, its subscription, a log line.
const HOSTCALL_BYTES: usize = 64 * 1024;

/// Where the exports of a component are, looked up once.
pub(crate) struct Exports {
    lifecycle: lifecycle::GuestIndices,
    filter: Option<filter::GuestIndices>,
    scorer: Option<scorer::GuestIndices>,
    router: Option<router::GuestIndices>,
    fallback: Option<fallback::GuestIndices>,
    observer: Option<observer::GuestIndices>,
}

impl Exports {
    pub(crate) fn find(pre: &InstancePre<State>, hooks: Hooks) -> wasmtime::Result<Self> {
        let wants = |hook| hooks.has(hook).then_some(pre);
        Ok(Self {
            lifecycle: named("lifecycle", lifecycle::GuestIndices::new(pre))?,
            filter: optional(Hook::Filter, wants(Hook::Filter).map(filter::GuestIndices::new))?,
            scorer: optional(Hook::Scorer, wants(Hook::Scorer).map(scorer::GuestIndices::new))?,
            router: optional(Hook::Router, wants(Hook::Router).map(router::GuestIndices::new))?,
            fallback: optional(Hook::Fallback, wants(Hook::Fallback).map(fallback::GuestIndices::new))?,
            observer: optional(Hook::Observer, wants(Hook::Observer).map(observer::GuestIndices::new))?,
        })
    }
}

/// The typed exports of one instance.
struct Guest {
    lifecycle: lifecycle::Guest,
    filter: Option<filter::Guest>,
    scorer: Option<scorer::Guest>,
    router: Option<router::Guest>,
    fallback: Option<fallback::Guest>,
    observer: Option<observer::Guest>,
}

/// One live instance.
pub(crate) struct Instance {
    store: Store<State>,
    guest: Guest,
    /// Signals or outcome fields, column after column.
    pub(crate) columns: Vec<f64>,
    pub(crate) facts: Vec<f64>,
    calls: u32,
    /// Bytes of linear memory when it was new.
    memory_at_start: usize,
    /// A replacement is on its way.
    pub(crate) retiring: bool,
    /// How its code was compiled.
    pub(crate) tier: Tier,
    _counted: Counted,
}

/// One of the instances in memory.
struct Counted;

impl Counted {
    fn one() -> Self {
        IN_MEMORY.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        IN_MEMORY.fetch_sub(1, Relaxed);
    }
}

/// Instances of all policies that are in memory in this process, those of revisions that are no longer in service
/// included: after a swap it comes back to what it was.
pub fn instances_in_memory() -> usize {
    IN_MEMORY.load(Relaxed)
}

static IN_MEMORY: AtomicUsize = AtomicUsize::new(0);

impl Instance {
    /// Instantiates; type mismatches between the component and the contract show here.
    pub(crate) fn new(program: &Program, state: State, limit: Duration) -> wasmtime::Result<Self> {
        let Program { tier, pre, exports } = program;
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().deadline.look()));
        store.data_mut().deadline = Deadline::new(limit);
        store.set_epoch_deadline(FIRST_LOOK);
        let instance = pre.instantiate(&mut store)?;
        let guest = Guest {
            lifecycle: named("lifecycle", exports.lifecycle.load(&mut store, &instance))?,
            filter: optional(Hook::Filter, exports.filter.as_ref().map(|found| found.load(&mut store, &instance)))?,
            scorer: optional(Hook::Scorer, exports.scorer.as_ref().map(|found| found.load(&mut store, &instance)))?,
            router: optional(Hook::Router, exports.router.as_ref().map(|found| found.load(&mut store, &instance)))?,
            fallback: optional(
                Hook::Fallback,
                exports.fallback.as_ref().map(|found| found.load(&mut store, &instance)),
            )?,
            observer: optional(
                Hook::Observer,
                exports.observer.as_ref().map(|found| found.load(&mut store, &instance)),
            )?,
        };
        let memory_at_start = store.data().limits.used();
        Ok(Self {
            store,
            guest,
            columns: Vec::new(),
            facts: Vec::new(),
            calls: 0,
            memory_at_start,
            retiring: false,
            tier: *tier,
            _counted: Counted::one(),
        })
    }

    /// `lifecycle.describe`.
    pub(crate) fn describe(&mut self, limit: Duration) -> Result<types::PolicyInfo, FailureCause> {
        self.call(limit, None, |store, guest, _| guest.lifecycle.call_describe(store).map(Ok))
    }

    /// `lifecycle.configure`; a refusal comes as [`FailureCause::Declared`].
    pub(crate) fn configure(
        &mut self,
        limit: Duration,
        catalogue: &types::Catalogue,
    ) -> Result<types::Subscription, FailureCause> {
        let asked = self.call(limit, None, |store, guest, _| guest.lifecycle.call_configure(store, catalogue))?;
        self.memory_at_start = self.store.data().limits.used();
        Ok(asked)
    }

    /// Fills the columns with the subscribed signals and facts.
    pub(crate) fn gather(&mut self, subscription: &Subscription, fleet: &Fleet, question: &Question<'_>) {
        let Question { offer, candidates, scores, .. } = question;
        self.columns.clear();
        for signal in &subscription.signals {
            let start = self.columns.len();
            match (signal, scores) {
                (Signal::Score, Some(scores)) => self.columns.extend_from_slice(scores),
                _ => fleet.column(*signal, candidates, offer.now, &mut self.columns),
            }
            if let Some(readings) = &offer.readings {
                readings.lay_over(*signal, candidates, &mut self.columns[start..]);
            }
        }
        self.facts.clear();
        self.facts.extend(subscription.facts.iter().map(|fact| offer.facts.value(*fact)));
    }

    /// Fills the columns with the subscribed outcome fields.
    pub(crate) fn gather_outcomes(&mut self, subscription: &Subscription, rows: &[OutcomeRow]) {
        self.columns.clear();
        for field in &subscription.outcomes {
            self.columns.extend(rows.iter().map(|row| row.0[*field as usize]));
        }
    }

    /// `filter.keep`, of what was gathered.
    pub(crate) fn keep(&mut self, call: &Call<'_>) -> Result<Vec<u32>, FailureCause> {
        self.call(call.limit, call.content, |store, guest, fed| {
            let Some(filter) = &guest.filter else { return Err(not_exported(Hook::Filter)) };
            filter.call_keep(store, call.request(), call.candidates, fed.columns, fed.facts)
        })
    }

    /// `scorer.score`, of what was gathered.
    pub(crate) fn score(&mut self, call: &Call<'_>) -> Result<Vec<f64>, FailureCause> {
        self.call(call.limit, call.content, |store, guest, fed| {
            let Some(scorer) = &guest.scorer else { return Err(not_exported(Hook::Scorer)) };
            scorer.call_score(store, call.request(), call.candidates, fed.columns, fed.facts)
        })
    }

    /// `router.route`, of what was gathered.
    pub(crate) fn route(&mut self, call: &Call<'_>) -> Result<Verdict, FailureCause> {
        self.call(call.limit, call.content, |store, guest, fed| {
            let Some(router) = &guest.router else { return Err(not_exported(Hook::Router)) };
            router.call_route(store, call.request(), call.candidates, fed.columns, fed.facts)
        })
        .map(bindings::verdict)
    }

    /// `fallback.after-failure`, of what was gathered.
    pub(crate) fn after_failure(
        &mut self,
        call: &Call<'_>,
        failures: &[FailedAttempt],
    ) -> Result<Verdict, FailureCause> {
        let failures: Vec<_> = failures.iter().map(bindings::failed_attempt).collect();
        self.call(call.limit, call.content, |store, guest, fed| {
            let Some(fallback) = &guest.fallback else { return Err(not_exported(Hook::Fallback)) };
            fallback.call_after_failure(store, call.request(), &failures, call.candidates, fed.columns, fed.facts)
        })
        .map(bindings::verdict)
    }

    /// `observer.observe`, of the outcomes that were gathered.
    pub(crate) fn observe(&mut self, limit: Duration, rows: u32) -> Result<(), FailureCause> {
        self.call(limit, None, |store, guest, fed| {
            let Some(observer) = &guest.observer else { return Err(not_exported(Hook::Observer)) };
            observer.call_observe(store, rows, fed.columns)
        })
    }

    /// Bytes of its linear memory.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().limits.used()
    }

    /// Calls so far.
    pub(crate) const fn calls(&self) -> u32 {
        self.calls
    }

    /// Whether three quarters of the memory that it may still claim are claimed. Linear memory never shrinks.
    pub(crate) fn has_grown_past(&self, allowed: usize) -> bool {
        let room = allowed.saturating_sub(self.memory_at_start);
        self.store.data().limits.used() > self.memory_at_start + room / 4 * 3
    }

    /// Every call into the guest comes through here: the deadline is armed anew, and the request's texts are reachable
    /// for as long as the call lasts.
    fn call<R>(
        &mut self,
        limit: Duration,
        content: Option<&Arc<dyn Content>>,
        run: impl FnOnce(&mut Store<State>, &Guest, Fed<'_>) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, FailureCause> {
        self.calls = self.calls.saturating_add(1);
        self.store.set_epoch_deadline(FIRST_LOOK);
        let state = self.store.data_mut();
        state.deadline = Deadline::new(self.tier.allows(limit));
        state.random = 0;
        state.content = content.cloned();
        let answer = run(&mut self.store, &self.guest, Fed { columns: &self.columns, facts: &self.facts });
        if content.is_some() {
            self.store.data_mut().content = None;
        }
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(text)) => Err(FailureCause::Declared(printable(&text))),
            Err(error) => Err(FailureCause::from_engine(&error, limit, self.tier)),
        }
    }
}

/// A question to one policy of a chain.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) offer: &'a Offer,
    /// As the filters left them.
    pub(crate) candidates: &'a [u32],
    /// The scorers' mean for each candidate.
    pub(crate) scores: Option<&'a [f64]>,
    /// Randomness for this call.
    pub(crate) seed: u32,
}

/// What is passed beside the columns.
pub(crate) struct Call<'a> {
    pub(crate) limit: Duration,
    pub(crate) stamp: Stamp,
    pub(crate) candidates: &'a [u32],
    /// Only for a policy that imports it and was granted it.
    pub(crate) content: Option<&'a Arc<dyn Content>>,
}

impl Call<'_> {
    fn request(&self) -> types::Request {
        bindings::request(self.stamp)
    }
}

struct Fed<'a> {
    columns: &'a [f64],
    facts: &'a [f64],
}

/// Says which interface an error is about.
fn named<T>(interface: &str, found: wasmtime::Result<T>) -> wasmtime::Result<T> {
    found.map_err(|error| error.context(format!("export `{interface}`")))
}

fn optional<T>(hook: Hook, found: Option<wasmtime::Result<T>>) -> wasmtime::Result<Option<T>> {
    found.map(|found| named(hook.name(), found)).transpose()
}

/// Chains and policies look before they call; this is for whoever does not.
fn not_exported(hook: Hook) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the policy does not export `{hook}`"))
}
