//! What a policy implements: [`Policy`], and the trait of each hook that it names in [`register!`](crate::register).
//!
//! Every hook takes `&self`: there may be several instances at once, and any of them may be gone at the next call, so
//! what must last goes into [`cells`](crate::cells). An `Err` is a declared error: it is counted and logged under the
//! policy's name, the route's failure mode applies to this one request, and the instance lives on. A panic costs the
//! instance.

use crate::{About, Ask, FailedAttempt, Outcomes, Setup, Verdict};

/// What every policy has.
pub trait Policy: Sized + 'static {
    /// What the policy says about itself.
    const ABOUT: About;

    /// Called once in each instance, before any hook: read the settings, name the signals and facts to be fed.
    ///
    /// # Errors
    /// Refuses: the file is not put into service, and the text is shown to the operator.
    fn configure(setup: &mut Setup) -> Result<Self, String>;
}

/// Chooses.
pub trait Router: Policy {
    /// Called once for each request, in the order of the route's chain, until a router does not abstain.
    ///
    /// # Errors
    /// See the [module](self).
    fn route(&self, ask: &Ask) -> Result<Verdict, String>;
}

/// Decides what happens after a failure that the plan has no answer for.
pub trait Fallback: Policy {
    /// `failures` holds every failed attempt of this request, oldest first, at least one. The candidates of `ask` are
    /// those of the request and, after them, those of the route's fallback routes.
    ///
    /// # Errors
    /// See the [module](self).
    fn after_failure(&self, failures: &[FailedAttempt], ask: &Ask) -> Result<Verdict, String>;
}

/// Narrows the candidates.
pub trait Filter: Policy {
    /// The candidates to keep, at least one, in the order that later stages shall see.
    ///
    /// # Errors
    /// See the [module](self).
    fn keep(&self, ask: &Ask) -> Result<Vec<u32>, String>;
}

/// Rates the candidates.
pub trait Scorer: Policy {
    /// One number from 0 (worst) to 1 (best) for each candidate, in their order.
    ///
    /// # Errors
    /// See the [module](self).
    fn score(&self, ask: &Ask) -> Result<Vec<f64>, String>;
}

/// Learns what became of the attempts.
pub trait Observer: Policy {
    /// Off the request path, in batches; each outcome is observed once for each gateway, by one instance.
    ///
    /// # Errors
    /// See the [module](self).
    fn observe(&self, outcomes: &Outcomes) -> Result<(), String>;
}
