//! What the operator can see: metrics, the log, and the id that ties one request's traces together.
//!
//! Nothing here ever holds a prompt, an answer or a key, and no text that a client chooses becomes a metric's label.

pub mod access;
pub mod logging;
pub mod metrics;
pub mod request_id;
