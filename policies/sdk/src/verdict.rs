//! Plans and rejections in a line.

use crate::{Attempt, Overlay, Plan, Reason, Rejection, StartRule, Verdict};

impl Attempt {
    /// When the plan starts.
    pub const fn at_once(target: u32) -> Self {
        Self::new(target, StartRule::AtOnce, 0.0)
    }

    /// When the attempt before it has failed.
    pub const fn on_failure(target: u32) -> Self {
        Self::new(target, StartRule::OnFailure, 0.0)
    }

    /// When the attempt before it has run so long without a first byte, or has failed.
    pub const fn hedge(target: u32, delay_ms: f64) -> Self {
        Self::new(target, StartRule::Hedge, delay_ms)
    }

    const fn new(target: u32, start: StartRule, delay_ms: f64) -> Self {
        Self { target, start, delay_ms, timeout_ms: 0.0, overlay: None }
    }

    /// After a further delay.
    #[must_use]
    pub const fn delayed(self, delay_ms: f64) -> Self {
        Self { delay_ms, ..self }
    }

    /// With its own time to the first byte.
    #[must_use]
    pub const fn within(self, timeout_ms: f64) -> Self {
        Self { timeout_ms, ..self }
    }

    /// With parameters laid over the request's body.
    #[must_use]
    pub const fn overlaid(self, overlay: Overlay) -> Self {
        Self { overlay: Some(overlay.0), ..self }
    }
}

impl Plan {
    /// These attempts, in order.
    pub fn of(attempts: Vec<Attempt>) -> Self {
        Self { attempts, reason: 0, tag: 0 }
    }

    /// One attempt, at once.
    pub fn to(target: u32) -> Self {
        Self::of(vec![Attempt::at_once(target)])
    }

    /// And then this one.
    #[must_use]
    pub fn then(mut self, attempt: Attempt) -> Self {
        self.attempts.push(attempt);
        self
    }

    /// With a reason for the receipt.
    #[must_use]
    pub fn because(self, reason: Reason) -> Self {
        Self { reason: reason.0, ..self }
    }

    /// With a number below 2^31 that comes back with the outcome.
    #[must_use]
    pub fn tagged(self, tag: u32) -> Self {
        Self { tag, ..self }
    }
}

impl From<Plan> for Verdict {
    fn from(plan: Plan) -> Self {
        Self::Follow(plan)
    }
}

impl Rejection {
    /// Answer with this status (400 to 599) and the reason as message.
    pub const fn new(status: u32, reason: Reason) -> Self {
        Self { status, retry_after_ms: 0.0, reason: reason.0 }
    }

    /// And ask the client to come again then.
    #[must_use]
    pub const fn retry_after(self, retry_after_ms: f64) -> Self {
        Self { retry_after_ms, ..self }
    }
}

impl From<Rejection> for Verdict {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}
