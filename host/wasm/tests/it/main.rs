//! The engine against policies that are right, wrong and hostile.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod bind;
mod calls;
mod chain;
mod crash;
mod guest;
mod limits;
mod load;
mod reference;
mod world;
