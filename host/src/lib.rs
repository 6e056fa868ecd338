//! Witgate: an OpenAI-compatible gateway whose routing is pluggable WebAssembly.
//!
//! The life of a request, by module: [`server`] accepts the connection; [`api`] authenticates, reads the body and
//! finds the route; [`cache`] may have the answer; [`pipeline`] asks the route's policies, tries deployments through
//! [`upstream`] until one answers, and relays the answer; [`upload`] is a body that is too large to be held. All of it
//! works on one [`snapshot`], which [`reload`] swaps when configuration or policies change; [`supply`] brings policies
//! from registries and proves them; [`fleet_cells`] shares with other gateways what policies count. [`telemetry`]
//! measures and logs, [`admin`] tells the operator, [`app`] wires everything, [`cli`] is the program; [`toolkit`] looks
//! at policies without a gateway, for those who write them.

#![cfg_attr(test, expect(clippy::expect_used, reason = "a test fails by panicking"))]

pub mod admin;
pub mod admission;
pub mod api;
pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config_files;
pub mod drain;
pub mod facts;
pub mod fleet_cells;
pub mod gateway;
pub mod kept;
pub mod learning;
pub mod names;
pub mod pace;
pub mod pipeline;
pub mod probing;
pub mod refusal;
pub mod reload;
pub mod server;
pub mod snapshot;
pub mod supply;
pub mod survey;
pub mod telemetry;
pub mod toolkit;
pub mod upload;
pub mod upstream;
pub mod watching;
