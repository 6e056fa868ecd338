//! What a policy is told once, and what it asks for in return.

use serde::de::DeserializeOwned;

use crate::Deployment;
use crate::bindings::imports::types::{Catalogue, Subscription};

macro_rules! handles {
    ($($(#[$about:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub(crate) $inner);
    )*};
}

handles! {
    /// A subscribed signal, read with [`Ask::signal`](crate::Ask::signal).
    Signal(usize);
    /// A subscribed fact, read with [`Ask::fact`](crate::Ask::fact).
    Fact(usize);
    /// A subscribed outcome field, read with [`Outcomes::field`](crate::Outcomes::field).
    Field(usize);
    /// A declared text, given with [`Plan::because`](crate::Plan::because).
    Reason(u32);
    /// A declared JSON merge patch, laid over a request with [`Attempt::overlaid`](crate::Attempt::overlaid).
    Overlay(u32);
}

/// The catalogue, and the subscription as it grows. Each name gives a handle; asking for the same name again gives
/// the same handle. A name that the host does not know refuses the configuration, with a message that says which.
#[derive(Debug)]
pub struct Setup {
    catalogue: Catalogue,
    subscription: Subscription,
}

impl Setup {
    pub(crate) fn new(catalogue: Catalogue) -> Self {
        let subscription = Subscription {
            signals: Vec::new(),
            facts: Vec::new(),
            outcomes: Vec::new(),
            reasons: Vec::new(),
            overlays: Vec::new(),
        };
        Self { catalogue, subscription }
    }

    pub(crate) fn into_subscription(self) -> Subscription {
        self.subscription
    }

    /// Subscribes to a signal.
    pub fn signal(&mut self, name: &str) -> Signal {
        Signal(place(&mut self.subscription.signals, name))
    }

    /// Subscribes to a fact.
    pub fn fact(&mut self, name: &str) -> Fact {
        Fact(place(&mut self.subscription.facts, name))
    }

    /// Subscribes to a field of outcomes; only observers are fed them.
    pub fn outcome(&mut self, name: &str) -> Field {
        Field(place(&mut self.subscription.outcomes, name))
    }

    /// Declares a text of at most 200 bytes for plans and rejections; at most 64.
    pub fn reason(&mut self, text: &str) -> Reason {
        Reason(place(&mut self.subscription.reasons, text) as u32)
    }

    /// Declares a JSON merge patch (RFC 7396) for attempts; at most 64.
    pub fn overlay(&mut self, patch: &str) -> Overlay {
        Overlay(place(&mut self.subscription.overlays, patch) as u32)
    }

    /// The policy's settings. The host has already checked them against the schema.
    ///
    /// # Errors
    /// When the schema allows what the type does not.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.catalogue.settings).map_err(|error| format!("settings: {error}"))
    }

    /// The settings as JSON text, for policies that read them in their own way.
    pub fn settings_text(&self) -> &str {
        &self.catalogue.settings
    }

    /// All deployments of the gateway; a target is a place in this list.
    pub fn deployments(&self) -> &[Deployment] {
        &self.catalogue.deployments
    }

    /// All routes; the fact `route` is a place in this list.
    pub fn routes(&self) -> &[String] {
        &self.catalogue.routes
    }

    /// Kinds of failure; [`FailedAttempt::kind`](crate::FailedAttempt::kind) is a place in this list.
    pub fn failures(&self) -> &[String] {
        &self.catalogue.failures
    }

    /// How an attempt can end; the outcome field `ending` is a place in this list.
    pub fn endings(&self) -> &[String] {
        &self.catalogue.endings
    }

    /// Whether this host can feed a signal, for policies that can do without it.
    pub fn knows_signal(&self, name: &str) -> bool {
        self.catalogue.signals.iter().any(|known| known == name)
    }

    /// Whether this host can feed a fact, for policies that can do without it.
    pub fn knows_fact(&self, name: &str) -> bool {
        self.catalogue.facts.iter().any(|known| known == name)
    }
}

fn place(list: &mut Vec<String>, text: &str) -> usize {
    list.iter().position(|known| known == text).unwrap_or_else(|| {
        list.push(text.to_owned());
        list.len() - 1
    })
}
