//! What a policy writes for people: lines cut, escaped and counted, so that no policy can flood or forge the log.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longest text of a policy in a log line or an error, bytes.
pub(crate) const MAX_LINE: usize = 1024;

/// How urgent a line is, in the contract's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Problem,
}

/// Where one policy's lines go, shared by all its instances.
#[derive(Debug)]
pub(crate) struct Logbook {
    policy: Arc<str>,
    revision: Arc<str>,
    bucket: Mutex<Bucket>,
    /// Everything is written as [`Level::Debug`].
    quiet: bool,
}

impl Logbook {
    pub(crate) fn new(policy: Arc<str>, revision: Arc<str>, lines_a_second: u32) -> Self {
        Self { policy, revision, bucket: Mutex::new(Bucket::new(lines_a_second, Instant::now())), quiet: false }
    }

    /// For trials, whose lines are about requests that never were.
    pub(crate) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Whose lines they are.
    pub(crate) fn policy(&self) -> &str {
        &self.policy
    }

    /// Writes a line unless the policy has used up its rate. The line after a gap says how many were dropped.
    pub(crate) fn write(&self, level: Level, text: &str) {
        let Some(dropped) = self.bucket.lock().take(Instant::now()) else { return };
        let (policy, revision, text) = (&*self.policy, &*self.revision, printable(text));
        match if self.quiet { Level::Debug } else { level } {
            Level::Debug => tracing::debug!(target: "witgate::policy", policy, revision, dropped, "{text}"),
            Level::Info => tracing::info!(target: "witgate::policy", policy, revision, dropped, "{text}"),
            Level::Warn => tracing::warn!(target: "witgate::policy", policy, revision, dropped, "{text}"),
            Level::Problem => tracing::error!(target: "witgate::policy", policy, revision, dropped, "{text}"),
        }
    }
}

/// Cuts a text at [`MAX_LINE`] and escapes control characters, so that it stays one line and cannot steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(MAX_LINE)];
    let mut out = String::with_capacity(cut.len());
    for character in cut.chars() {
        if character.is_control() || is_invisible(character) {
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    if cut.len() < text.len() {
        out.push('…');
    }
    out
}

/// Separators that some viewers break lines at, and marks that turn the direction of what follows.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A token bucket that holds one second's lines.
#[derive(Debug)]
struct Bucket {
    rate: u32,
    left: f64,
    at: Instant,
    dropped: u64,
}

impl Bucket {
    fn new(rate: u32, now: Instant) -> Self {
        Self { rate, left: f64::from(rate), at: now, dropped: 0 }
    }

    /// `Some(lines dropped since the last one that was let through)` when this line may be written.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let rate = f64::from(self.rate);
        let since = now.saturating_duration_since(self.at).min(Duration::from_secs(1));
        self.left = (self.left + since.as_secs_f64() * rate).min(rate);
        self.at = now;
        if self.left < 1.0 {
            self.dropped += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_dropped_and_counted() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, start);
        assert_eq!([bucket.take(start), bucket.take(start), bucket.take(start)], [Some(0), Some(0), None]);
        assert_eq!(bucket.take(start), None);
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Some(2));
        assert_eq!(bucket.take(start + Duration::from_millis(501)), None);
        // a long silence gives one second's lines, not more
        let later = start + Duration::from_secs(60);
        assert_eq!([bucket.take(later), bucket.take(later), bucket.take(later)], [Some(1), Some(0), None]);
    }

    #[test]
    fn no_lines_means_none() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0, start);
        assert_eq!(bucket.take(start + Duration::from_secs(5)), None);
    }

    #[test]
    fn a_text_stays_one_harmless_line() {
        assert_eq!(printable("a\nb\u{1b}[31m\u{202e}ü"), "a\\nb\\u{1b}[31m\\u{202e}ü");
        assert_eq!(printable(&"x".repeat(1024)), "x".repeat(1024));
        assert_eq!(printable(&"x".repeat(1025)), format!("{}…", "x".repeat(1024)));
        assert_eq!(printable(&"ü".repeat(513)), format!("{}…", "ü".repeat(512)));
    }
}
