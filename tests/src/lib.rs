//! What the tests of the whole gateway share: a fake upstream, a gateway, and a client that sees every byte.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod chaos;
pub mod client;
pub mod fault;
pub mod gateway;
pub mod redis;
pub mod registry;
pub mod reply;
pub mod speech;
pub mod upstream;
mod wire;

use std::path::Path;
use std::time::Duration;

pub use client::{Answer, Begun, EventStream, Request};
pub use fault::Fault;
pub use gateway::{CHAT, Folder, Gateway, gateway};
pub use reply::{DONE, Reply, chat_body, chat_events, error_body, upstream};
pub use speech::{Speech, Understood};
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

/// Fails when the file, named from the top of the repository, does not hold this text. `make docs` writes it anew.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn hold(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("WITGATE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }
    let held = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    assert_eq!(held, text, "{path} is out of date: `make docs` writes it anew");
}

/// A machine that is busy compiling is slow; a gateway that hangs is slower.
const PATIENCE: Duration = Duration::from_secs(30);
