//! Catches the lines that a policy logs.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Runs something on this thread and gives what policies logged meanwhile, as `level: text`.
pub fn listen<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Arc::default();
    let subscriber = tracing_subscriber::registry().with(Ear(Arc::clone(&lines)));
    let value = tracing::subscriber::with_default(subscriber, run);
    let heard = std::mem::take(&mut *lines.lock());
    (value, heard)
}

struct Ear(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != POLICIES {
            return;
        }
        let mut line = Line { level: event.metadata().level().as_str().to_lowercase(), text: String::new() };
        event.record(&mut line);
        self.0.lock().push(format!("{}: {}", line.level, line.text));
    }
}

struct Line {
    level: String,
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
        }
    }
}

/// Where the engine writes what policies log.
const POLICIES: &str = "witgate::policy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_are_heard() {
        let (value, heard) = listen(|| {
            tracing::info!(target: "witgate::policy", policy = "p", "hello \"you\"");
            tracing::error!("something else");
            tracing::debug!(target: "witgate::policy", "there");
            7
        });
        assert_eq!((value, heard), (7, vec!["info: hello \"you\"".to_owned(), "debug: there".to_owned()]));
    }
}
