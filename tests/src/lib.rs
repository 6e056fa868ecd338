//! What the tests of the whole gateway share: a fake upstream, a gateway, and a client that sees every byte.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod client;
pub mod gateway;
pub mod redis;
pub mod registry;
pub mod reply;
pub mod upstream;
mod wire;

use std::time::Duration;

pub use client::{Answer, Begun, EventStream, Request};
pub use gateway::{CHAT, Folder, Gateway, gateway};
pub use reply::{DONE, Reply, chat_body, chat_events, error_body, upstream};
pub use upstream::{Received, Upstream};
pub use wire::Head;
pub use witgate_guests as guests;

/// Waits until something holds. Tests run on busy machines: the patience is for those, not for the gateway.
///
/// # Panics
/// When it does not hold in the end.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}: not within {PATIENCE:?}");
}

/// Waits for something that must come to an end.
///
/// # Panics
/// When it does not.
pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, what).await;
    waited.unwrap_or_else(|_| panic!("nothing happened for {PATIENCE:?}"))
}

/// A machine that is busy compiling is slow; a gateway that hangs is slower.
const PATIENCE: Duration = Duration::from_secs(30);
