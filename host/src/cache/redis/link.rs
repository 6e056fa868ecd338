//! Whether Redis is to be asked: a state machine without clock or socket.
//!
//! While the link is down nobody waits: requests are told to skip, and one of them, when the back-off is over, to have
//! a connection made in the background.

use std::time::{Duration, Instant};

/// The connection and how it has done.
pub(super) struct Link<C> {
    state: State<C>,
    /// In a row.
    failures: u32,
    /// Of connections: what went wrong with an older one says nothing about this one.
    epoch: u64,
}

enum State<C> {
    Up(C),
    Connecting,
    Down { until: Option<Instant> },
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<C> {
    /// Ask over this connection, and say how it went.
    Ask(C, u64),
    /// Do without.
    Skip,
    /// Do without, and have a connection made.
    Connect,
}

impl<C: Clone> Link<C> {
    /// No connection yet.
    pub(super) fn new() -> Self {
        Self { state: State::Down { until: None }, failures: 0, epoch: 0 }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step<C> {
        match &self.state {
            State::Up(connection) => Step::Ask(connection.clone(), self.epoch),
            State::Connecting => Step::Skip,
            State::Down { until } if until.is_some_and(|until| now < until) => Step::Skip,
            State::Down { .. } => {
                self.state = State::Connecting;
                Step::Connect
            }
        }
    }

    /// A connection was made.
    pub(super) fn connected(&mut self, connection: C) {
        self.epoch += 1;
        self.state = State::Up(connection);
    }

    /// No connection could be made. Gives the time to the next try.
    pub(super) fn not_connected(&mut self, now: Instant) -> Duration {
        self.go_down(now)
    }

    /// A command was answered.
    pub(super) fn worked(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.failures = 0;
        }
    }

    /// A command was not answered. Gives the time to the next try, unless the connection was given up before.
    pub(super) fn failed(&mut self, epoch: u64, now: Instant) -> Option<Duration> {
        let current = epoch == self.epoch && matches!(self.state, State::Up(_));
        current.then(|| self.go_down(now))
    }

    fn go_down(&mut self, now: Instant) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.failures += 1;
        self.state = State::Down { until: Some(now + wait) };
        wait
    }
}

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn up(name: &'static str) -> Link<&'static str> {
        let mut link = Link::new();
        assert_eq!(link.step(Instant::now()), Step::Connect);
        link.connected(name);
        link
    }

    #[test]
    fn only_one_request_has_the_connection_made() {
        let mut link = Link::new();
        let now = Instant::now();
        assert_eq!(link.step(now), Step::Connect);
        assert_eq!(link.step(now), Step::Skip);
        link.connected("a");
        assert_eq!(link.step(now), Step::Ask("a", 1));
    }

    #[test]
    fn after_a_failure_nobody_asks_until_the_wait_is_over() {
        let mut link = up("a");
        let now = Instant::now();
        assert_eq!(link.failed(1, now), Some(FIRST_WAIT));
        assert_eq!(link.step(now + FIRST_WAIT - Duration::from_nanos(1)), Step::Skip);
        assert_eq!(link.step(now + FIRST_WAIT), Step::Connect);
    }

    #[test]
    fn the_wait_doubles_up_to_a_limit_and_starts_anew_after_a_success() {
        let mut link = up("a");
        let now = Instant::now();
        let mut waits = vec![link.failed(1, now)];
        for _ in 0..6 {
            waits.push(Some(link.not_connected(now)));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30].map(|seconds| Some(Duration::from_secs(seconds))));
        // A connection alone is no success: a server that hangs accepts connections.
        link.connected("b");
        assert_eq!(link.failed(2, now), Some(LONGEST_WAIT));
        link.connected("c");
        link.worked(3);
        assert_eq!(link.failed(3, now), Some(FIRST_WAIT));
    }

    #[test]
    fn a_late_failure_of_an_older_connection_changes_nothing() {
        let mut link = up("a");
        let now = Instant::now();
        assert!(link.failed(1, now).is_some());
        assert_eq!(link.failed(1, now), None);
        link.connected("b");
        assert_eq!(link.failed(1, now), None);
        assert_eq!(link.step(now), Step::Ask("b", 2));
    }
}
