//! The gateway as its clients and operators meet it: real sockets, fake upstreams, the real policies.
//!
//! One binary, so that it is linked once.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod able;
mod admin;
mod auth;
mod bad_input;
mod bad_policies;
mod busy_compiler;
mod cache;
mod cancel;
mod chat;
mod cli;
mod cors;
mod cost;
mod crashes;
mod drain;
mod embedding_batch;
mod endpoints;
mod failover;
mod faults;
mod fleet_cells;
mod fuzz;
mod hedge;
mod limits;
mod messages;
mod models;
mod ollama;
mod operations;
mod overload;
mod passthrough;
mod policy;
mod program;
mod reload;
mod resilience;
mod responses;
mod resume;
mod routes;
mod sandbox;
mod scores;
mod stream;
mod supply;
mod supply_rollback;
mod swaps;
mod tiers;
mod timeouts;
mod wire;
