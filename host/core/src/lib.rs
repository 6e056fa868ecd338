//! The vocabulary and the pure logic of Witgate.
//!
//! Nothing here reads a clock, opens a socket, spawns a task or runs Wasm: time, files and environment variables
//! come in as arguments, so that everything can be tested as a plain function. The crate's modules, in the order in
//! which they build on each other:
//!
//! - [`vocabulary`]: the names that a policy may use
//! - [`facts`]: what model servers say of themselves
//! - [`ability`], [`catalogue`]: what models can do, cost and hold, as far as that is known
//! - [`deployment`], [`live`], [`fleet`]: what may be chosen, and how it is doing
//! - [`told`]: what model servers tell of their models
//! - [`needs`]: who is able to carry a request out, and what is said when nobody is
//! - [`decision`], [`plan`], [`outcome`]: what a policy is asked, what it may answer, what is made of the answer, and
//!   what came of it
//! - [`admission`]: who runs, who waits, who is turned away
//! - [`breaker`], [`budget`]: when to leave a deployment alone, and how often to try again
//! - [`failure`]: from what an upstream answered to a kind of failure
//! - [`openai`], [`sse`]: the wire format, as far as the gateway has to understand it
//! - [`dialect`]: translation between OpenAI's shape and others
//! - [`resume`]: going on with a stream that broke
//! - [`config`]: the configuration, from YAML to checked values
//! - [`routes`]: from a model name to a route
//! - [`survey`]: who answers at an address, and the configuration that is made of it

pub mod ability;
pub mod admission;
pub mod breaker;
pub mod budget;
pub mod catalogue;
pub mod config;
pub mod decision;
pub mod deployment;
pub mod dialect;
#[cfg(test)]
mod dice;
pub mod facts;
pub mod failure;
pub mod fleet;
#[cfg(test)]
#[expect(clippy::panic, reason = "a test fails by panicking")]
mod golden;
pub mod live;
pub mod needs;
pub mod openai;
pub mod outcome;
pub mod plan;
pub mod resume;
pub mod routes;
pub mod sse;
pub mod survey;
pub mod told;
pub mod vocabulary;
