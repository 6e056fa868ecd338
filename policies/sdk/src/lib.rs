//! Write a Witgate policy in Rust.
//!
//! A policy is a type that implements [`Policy`] and a trait for each hook that it answers; [`register!`] makes a
//! component of it that exports exactly those hooks. This one is complete:
//!
//! ```
//! use witgate_sdk::*;
//! struct LeastBusy { load: Signal }
//! impl Policy for LeastBusy {
//!     const ABOUT: About = About::new("least-busy", "1.0.0", "Fewest requests in flight wins.");
//!     fn configure(setup: &mut Setup) -> Result<Self, String> { Ok(Self { load: setup.signal("in-flight") }) }
//! }
//! impl Router for LeastBusy {
//!     fn route(&self, ask: &Ask) -> Result<Verdict, String> { Ok(ask.pick_lowest(|row| ask.signal(self.load)[row])) }
//! }
//! register!(LeastBusy: router);
//! # let loaded = testing::load::<LeastBusy>("{}", &["a", "b"]).unwrap();
//! # assert_eq!(loaded.ask().signal("in-flight", &[2.0, 1.0]).route(), Ok(Verdict::Pick(1)));
//! ```
//!
//! Everything that a decision depends on is an argument, so the same question always gets the same answer: there is
//! no clock and no randomness here but [`Ask::request`] and [`Ask::random`]. `wit/vocabulary.md` lists the names that
//! [`Setup`] takes; `policies/README.md` tells how to build and load a policy.
//!
//! Built for the host's own machine instead of `wasm32`, the imports ([`cells`], [`log`], [`names`], [`headers`],
//! [`prompt`]) are answered from memory, so that policies have ordinary unit tests: see [`testing`].

// The export macros name this crate by its name, also where they are expanded in its own tests.
extern crate self as witgate_sdk;

mod about;
mod ask;
#[doc(hidden)]
pub mod bindings;
pub mod cells;
pub mod choose;
#[doc(hidden)]
pub mod component;
pub mod headers;
mod host;
pub mod log;
pub mod names;
pub mod order;
mod outcomes;
mod policy;
pub mod prompt;
mod random;
mod setup;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

#[doc(hidden)]
pub use wit_bindgen;

pub use about::About;
pub use ask::Ask;
pub use bindings::imports::types::{Attempt, Deployment, FailedAttempt, Plan, Rejection, Request, StartRule, Verdict};
pub use outcomes::Outcomes;
pub use policy::{Fallback, Filter, Observer, Policy, Router, Scorer};
pub use random::Random;
pub use setup::{Fact, Field, Overlay, Reason, Setup, Signal};
