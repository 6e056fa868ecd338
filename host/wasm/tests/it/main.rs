//! The engine against policies that are right, wrong and hostile.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod bind;
mod calls;
mod chain;
mod crash;
mod growth;
mod guest;
mod limits;
mod load;
mod preview1;
mod reference;
mod tier;
mod world;
