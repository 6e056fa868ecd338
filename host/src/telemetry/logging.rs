//! The log: lines on standard error, JSON for machines or plain for people.
//!
//! A slow reader of standard error stalls nobody: lines go through a queue to a thread of their own. When
//! [`QUEUED_LINES`] are waiting, further lines are dropped and counted ([`lines_dropped`]).

use std::io::{self, BufWriter, IsTerminal};
use std::sync::{Arc, OnceLock};

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};
use witgate_core::config::{Log, LogFormat};

/// Keeps the log going. The last clone to be dropped writes out what is queued (for at most a second).
#[derive(Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    format: LogFormat,
    _writer: Arc<WorkerGuard>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The configured filter.
    #[error(
        "`log.filter` is `{filter}`, which is not a filter: {problem}. Write a level (`info`), or \
         `target=level` pairs (`info,witgate=debug`)"
    )]
    Filter {
        /// As configured.
        filter: String,
        /// What the parser says.
        problem: ParseError,
    },
    /// The environment's filter.
    #[error(
        "the environment variable RUST_LOG is `{filter}`, which is not a filter: {problem}. Unset it, or write a \
         level (`info`), or `target=level` pairs (`info,witgate=debug`)"
    )]
    Environment {
        /// As set.
        filter: String,
        /// What the parser says.
        problem: ParseError,
    },
    /// Somebody else was first.
    #[error("the log was already started in this process")]
    Twice(#[source] TryInitError),
}

/// Starts the log of this process. `RUST_LOG`, where it is set, overrides the configured filter.
///
/// # Errors
/// When a filter cannot be read, or there is a log already.
pub fn init(config: &Log) -> Result<Logging, LogError> {
    let (filter, handle) = reload::Layer::new(filter(config, rust_log().as_deref())?);
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUED_LINES)
        .thread_name("witgate-log")
        .finish(BufWriter::new(io::stderr()));
    // Set once: a second log is refused below.
    let _ = DROPPED.set(writer.error_counter());
    let lines = if writes_json(config.format) { json(writer) } else { pretty(writer, io::stderr().is_terminal()) };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(LogError::Twice)?;
    Ok(Logging { filter: handle, format: config.format, _writer: Arc::new(guard) })
}

impl Logging {
    /// Puts a changed filter into force; a changed format waits for the next start, and the log says so.
    pub fn reload(&self, config: &Log) {
        if config.format != self.format {
            tracing::warn!(setting = "log.format", "takes effect at the next start");
        }
        let result = filter(config, rust_log().as_deref());
        match result.map(|filter| self.filter.reload(filter)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the log's filter was not changed"),
            Err(error) => tracing::error!(%error, "the log's filter was not changed"),
        }
    }
}

/// Lines that were dropped since the start because the queue was full.
pub fn lines_dropped() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

fn rust_log() -> Option<String> {
    std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty())
}

fn filter(config: &Log, environment: Option<&str>) -> Result<EnvFilter, LogError> {
    match environment {
        Some(text) => EnvFilter::builder()
            .parse(text)
            .map_err(|problem| LogError::Environment { filter: text.to_owned(), problem }),
        None => EnvFilter::builder()
            .parse(&config.filter)
            .map_err(|problem| LogError::Filter { filter: config.filter.clone(), problem }),
    }
}

fn writes_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    }
}

/// One object a line, its fields beside `timestamp`, `level` and `target`.
fn json<S, W>(writer: W) -> Lines<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    layer.with_writer(writer).boxed()
}

fn pretty<S, W>(writer: W, colours: bool) -> Lines<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().with_ansi(colours).with_writer(writer).boxed()
}

type Lines<S> = Box<dyn Layer<S> + Send + Sync>;

/// Lines that may wait for standard error: some seconds of a busy gateway's requests, a few megabytes.
pub const QUEUED_LINES: usize = 16 << 10;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
pub(super) mod tests {
    use std::io::Write;

    use parking_lot::Mutex;
    use serde_json::Value;

    use super::*;

    /// Collects lines in memory.
    #[derive(Clone, Default)]
    pub(in super::super) struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Memory {
        pub(in super::super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    /// The JSON lines that are logged while `act` runs.
    pub(in super::super) fn logged(directives: &str, act: impl FnOnce()) -> Vec<Value> {
        let memory = Memory::default();
        let writer = memory.clone();
        let filter = EnvFilter::builder().parse(directives).unwrap();
        let subscriber = tracing_subscriber::registry().with(filter).with(json(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, act);
        memory.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn config(filter: &str) -> Log {
        Log { format: LogFormat::Auto, filter: filter.to_owned(), requests: true }
    }

    #[test]
    fn a_line_is_one_flat_object_with_an_rfc_3339_timestamp() {
        let lines = logged("info", || tracing::info!(deployment = "m@p", attempt = 2, "line\nbreak \u{1b}[31m"));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "line\nbreak \u{1b}[31m");
        assert_eq!((&line["deployment"], &line["attempt"]), (&Value::from("m@p"), &Value::from(2)));
        let timestamp = line["timestamp"].as_str().unwrap();
        let shape: String = timestamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    }

    #[test]
    fn the_filter_decides_what_is_written() {
        let act = || {
            tracing::info!(target: "witgate::a", "a");
            tracing::debug!(target: "witgate::b", "b");
        };
        assert_eq!(logged("warn", act).len(), 0);
        assert_eq!(logged("info", act).len(), 1);
        assert_eq!(logged("info,witgate::b=debug", act).len(), 2);
    }

    #[test]
    fn the_environment_overrides_the_configured_filter() {
        let shown = |environment| filter(&config("info"), environment).map(|filter| filter.to_string()).unwrap();
        assert_eq!(shown(None), "info");
        assert_eq!(shown(Some("witgate=debug")), "witgate=debug");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_told_with_its_source() {
        let told = |configured: &str, environment| filter(&config(configured), environment).unwrap_err().to_string();
        let problem = "error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \
                       \"trace\", or a number 0-5";
        assert_eq!(
            told("info,witgate=loud", None),
            format!(
                "`log.filter` is `info,witgate=loud`, which is not a filter: {problem}. Write a level (`info`), or \
                 `target=level` pairs (`info,witgate=debug`)"
            )
        );
        assert_eq!(
            told("info", Some("witgate=loud")),
            format!(
                "the environment variable RUST_LOG is `witgate=loud`, which is not a filter: {problem}. Unset it, or \
                 write a level (`info`), or `target=level` pairs (`info,witgate=debug`)"
            )
        );
    }

    #[test]
    fn a_reader_that_does_not_read_stalls_nobody() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                // Until the other side is dropped.
                let _ = self.0.recv();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = std::sync::mpsc::channel();
        let (writer, _guard) = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(4).finish(Stuck(stuck));
        let dropped = writer.error_counter();
        let subscriber = tracing_subscriber::registry().with(pretty(writer, false));
        tracing::subscriber::with_default(subscriber, || {
            for line in 0..100 {
                tracing::info!(line);
            }
        });
        // Four are queued, and one is being written.
        assert!((95..=96).contains(&dropped.dropped_lines()), "{} lines dropped", dropped.dropped_lines());
        drop(release);
    }
}
