//! The waiting lines of [`witgate_core::admission`] with requests in them, and the memory that their bodies take.
//!
//! A place is a value: a request that ends, fails or goes away leaves it, wherever it stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use witgate_core::admission::{Bounds, Entry, Line, Priority, Ticket};

use crate::clock;

/// The entrance to something that only so many requests may use at once.
#[derive(Default)]
pub struct Gate {
    line: Mutex<Line<oneshot::Sender<Permit>>>,
}

/// The right to be inside; left when it is dropped.
pub struct Permit {
    gate: Arc<Gate>,
}

/// Who wants in.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// How urgently.
    pub priority: Priority,
    /// What it finds.
    pub bounds: Bounds,
    /// How long it waits at most.
    pub patience: Duration,
}

/// A request that was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Why.
    pub away: Away,
    /// When it is worth while to come again, at the pace at which the line moves.
    pub retry_after: Duration,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// As many wait as may.
    Full,
    /// Its turn did not come in time.
    TimedOut,
    /// A more urgent request took its place.
    Displaced,
}

impl Gate {
    /// Waits for its turn.
    ///
    /// # Errors
    /// When there is no place in the line, or the turn does not come.
    pub async fn enter(self: &Arc<Self>, visit: Visit) -> Result<Permit, Turned> {
        let Visit { priority, bounds, patience } = visit;
        let mut called = None;
        let entry = self.line.lock().enter(priority, bounds, clock::monotonic(), || {
            let (sender, receiver) = oneshot::channel();
            called = Some(receiver);
            sender
        });
        let (mut place, called) = match (entry, called) {
            (Entry::Runs, _) => return Ok(Permit { gate: Arc::clone(self) }),
            (Entry::Waits { ticket, displaced }, Some(called)) => {
                // Dropping it tells the other one.
                drop(displaced);
                (Place { gate: self, ticket: Some(ticket) }, called)
            }
            (Entry::Full | Entry::Waits { .. }, _) => return Err(self.turn(Away::Full, priority)),
        };
        match tokio::time::timeout(patience, called).await {
            Ok(Ok(permit)) => {
                place.ticket = None;
                Ok(permit)
            }
            Ok(Err(_)) => {
                place.ticket = None;
                Err(self.turn(Away::Displaced, priority))
            }
            Err(_) => Err(self.turn(Away::TimedOut, priority)),
        }
    }

    /// Requests that wait.
    pub fn depth(&self) -> u32 {
        self.line.lock().depth()
    }

    /// Requests that are inside.
    pub fn running(&self) -> u32 {
        self.line.lock().running()
    }

    fn turn(&self, away: Away, priority: Priority) -> Turned {
        let wait = self.line.lock().expected_wait(priority, clock::monotonic());
        Turned { away, retry_after: wait.clamp(SOONEST, LATEST) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let called = self.gate.line.lock().leave(clock::monotonic());
        for next in called {
            // Where nobody waits any more, the permit comes back, is dropped, and calls the one after.
            drop(next.send(Self { gate: Arc::clone(&self.gate) }));
        }
    }
}

/// A place in the line.
struct Place<'a> {
    gate: &'a Gate,
    ticket: Option<Ticket>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.gate.line.lock().give_up(ticket);
        }
    }
}

/// The bytes of all request bodies that are in memory.
#[derive(Default)]
pub struct Bodies {
    bytes: AtomicUsize,
}

impl Bodies {
    /// How many there are.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

/// The part of one request; given back when it is dropped.
pub struct Held {
    bodies: Arc<Bodies>,
    bytes: usize,
    limit: usize,
}

impl Held {
    /// Nothing yet, of `limit` bytes for all requests together.
    pub fn new(bodies: &Arc<Bodies>, limit: usize) -> Self {
        Self { bodies: Arc::clone(bodies), bytes: 0, limit }
    }

    /// So many bytes more. `false` when they are too many; then nothing more may be read.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> bool {
        let before = self.bodies.bytes.fetch_add(bytes, Relaxed);
        self.bytes += bytes;
        before.saturating_add(bytes) <= self.limit
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Coming sooner would only make the line longer.
const SOONEST: Duration = Duration::from_secs(1);
/// A line that hardly moves says nothing about later than this.
const LATEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn visit(priority: Priority, waiting: u32, patience: Duration) -> Visit {
        Visit { priority, bounds: Bounds { running: NonZeroU32::MIN, waiting }, patience }
    }

    fn normal() -> Visit {
        visit(Priority::Normal, 2, LONG)
    }

    async fn spawned(gate: &Arc<Gate>, visit: Visit) -> tokio::task::JoinHandle<Result<Permit, Turned>> {
        let task = tokio::spawn({
            let gate = Arc::clone(gate);
            async move { gate.enter(visit).await }
        });
        let before = gate.depth();
        // it stands in the line before the next one comes
        for _ in 0..100 {
            tokio::task::yield_now().await;
            if gate.depth() != before {
                break;
            }
        }
        task
    }

    #[tokio::test]
    async fn a_place_that_is_left_goes_to_the_first_who_waits() {
        let gate = Arc::new(Gate::default());
        let inside = gate.enter(normal()).await.map_err(|turned| turned.away);
        let first = spawned(&gate, normal()).await;
        let second = spawned(&gate, normal()).await;
        assert_eq!(gate.enter(normal()).await.err().map(|turned| turned.away), Some(Away::Full));
        drop(inside);
        let first = first.await.expect("no panic");
        assert!(first.is_ok() && !second.is_finished());
        drop(first);
        assert!(second.await.expect("no panic").is_ok());
        assert_eq!((gate.running(), gate.depth()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_does_not_come_is_turned_away() {
        let gate = Arc::new(Gate::default());
        let _inside = gate.enter(normal()).await;
        let turned = gate.enter(visit(Priority::Normal, 2, Duration::from_millis(100))).await.err();
        assert_eq!(turned.map(|turned| turned.away), Some(Away::TimedOut));
        assert_eq!(gate.depth(), 0);
    }

    #[tokio::test]
    async fn a_more_urgent_request_takes_the_place_of_a_less_urgent_one() {
        let gate = Arc::new(Gate::default());
        let inside = gate.enter(normal()).await;
        let low = spawned(&gate, visit(Priority::Low, 1, LONG)).await;
        let high = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(visit(Priority::High, 1, LONG)).await }
        });
        let turned = low.await.expect("no panic").err();
        assert_eq!(turned.map(|turned| turned.away), Some(Away::Displaced));
        drop(inside);
        assert!(high.await.expect("no panic").is_ok());
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_line_and_the_place() {
        let gate = Arc::new(Gate::default());
        let inside = gate.enter(normal()).await;
        let first = spawned(&gate, normal()).await;
        first.abort();
        assert!(first.await.is_err());
        assert_eq!(gate.depth(), 0);
        let second = spawned(&gate, normal()).await;
        // called, and gone before it could look
        drop(inside);
        second.abort();
        let _ = second.await;
        assert_eq!((gate.running(), gate.depth()), (0, 0));
    }

    #[test]
    fn bodies_may_take_as_much_as_the_limit_and_give_it_back() {
        let bodies = Arc::new(Bodies::default());
        let (mut one, mut other) = (Held::new(&bodies, 10), Held::new(&bodies, 10));
        assert!(one.take(6) && other.take(4));
        assert!(!other.take(1));
        drop(other);
        assert_eq!(bodies.bytes(), 6);
        assert!(one.take(4));
        drop(one);
        assert_eq!(bodies.bytes(), 0);
    }

    const LONG: Duration = Duration::from_secs(60);
}
