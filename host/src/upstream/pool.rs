//! Unused connections of one provider, the last one first.
//!
//! The last one used is the least likely to have been closed by the other side, and those that a peak needed grow old
//! and go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connection::Connection;

/// The connections that nobody uses.
pub(super) struct Pool {
    idle: Mutex<VecDeque<Box<Connection>>>,
    longest: Duration,
    most: usize,
}

impl Pool {
    /// A pool that keeps `most` connections for at most `longest`.
    pub(super) fn new(longest: Duration, most: usize) -> Self {
        Self { idle: Mutex::default(), longest, most }
    }

    /// One that is still open, as far as can be known.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        let now = Instant::now();
        loop {
            let mut connection = self.idle.lock().pop_back()?;
            if now.duration_since(connection.idle_since) < self.longest && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    /// Puts one aside.
    pub(super) fn put(&self, mut connection: Box<Connection>) {
        connection.idle_since = Instant::now();
        let dropped = {
            let mut idle = self.idle.lock();
            idle.push_back(connection);
            if idle.len() > self.most { idle.pop_front() } else { None }
        };
        // Closing a socket is a system call: not under the lock.
        drop(dropped);
    }

    /// Closes those that have been unused for too long.
    pub(super) fn close_old(&self, now: Instant) {
        let old: Vec<_> = {
            let mut idle = self.idle.lock();
            let old = idle.partition_point(|connection| now.duration_since(connection.idle_since) >= self.longest);
            idle.drain(..old).collect()
        };
        drop(old);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.idle.lock().len()
    }
}
