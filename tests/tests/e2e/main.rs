//! The gateway as its clients and operators meet it: real sockets, fake upstreams, the real policies.
//!
//! One binary, so that it is linked once.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod auth;
mod bad_input;
mod cache;
mod chat;
mod cli;
mod cors;
mod failover;
mod fuzz;
mod hedge;
mod models;
mod operations;
mod program;
mod reload;
mod routes;
mod sandbox;
mod stream;
mod supply;
mod swaps;
mod wire;
