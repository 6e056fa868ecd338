//! Who runs, who waits and who is turned away, before something that only so many requests may use at once.
//!
//! More urgent requests go first, and of equally urgent ones the one that came first. When the line is full, a more
//! urgent request takes the place of the least urgent one that came last. Pure: the line is told the time, and keeps of
//! a request that waits only what it was handed (`T`), which it gives back when the request's turn has come.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::live::Millis;

/// How urgent a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Can wait: batches.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Somebody is waiting.
    High,
}

impl Priority {
    /// All of them, the least urgent first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }
}

/// What a request finds when it comes. Each request brings its own, so that a reload needs no change in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests that may run at once.
    pub running: NonZeroU32,
    /// Requests that may wait.
    pub waiting: u32,
}

/// The line.
#[derive(Debug)]
pub struct Line<T> {
    running: u32,
    /// By priority, each in the order of coming.
    waiting: [VecDeque<Waiting<T>>; Priority::ALL.len()],
    next: u64,
    pace: Pace,
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    limit: NonZeroU32,
    handed: T,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    priority: Priority,
    number: u64,
}

/// What becomes of a request that comes.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<T> {
    /// It runs.
    Runs,
    /// It waits.
    Waits {
        /// For [`Line::give_up`].
        ticket: Ticket,
        /// What the one had handed in that lost its place for this one.
        displaced: Option<T>,
    },
    /// It is turned away.
    Full,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { running: 0, waiting: Default::default(), next: 0, pace: Pace::default() }
    }
}

impl<T> Line<T> {
    /// A request comes; `hand` is called only if it has to wait.
    pub fn enter(&mut self, priority: Priority, bounds: Bounds, now: Millis, hand: impl FnOnce() -> T) -> Entry<T> {
        let depth = self.depth();
        if depth == 0 && self.running < bounds.running.get() {
            self.running += 1;
            return Entry::Runs;
        }
        if depth == 0 {
            self.pace = Pace::from(now);
        }
        let mut displaced = None;
        if depth >= bounds.waiting {
            displaced = self.waiting[..priority as usize].iter_mut().find_map(VecDeque::pop_back);
            if displaced.is_none() {
                return Entry::Full;
            }
        }
        let ticket = Ticket { priority, number: self.next };
        self.next += 1;
        self.waiting[priority as usize].push_back(Waiting {
            number: ticket.number,
            limit: bounds.running,
            handed: hand(),
        });
        Entry::Waits { ticket, displaced: displaced.map(|waiting| waiting.handed) }
    }

    /// A request that ran has ended. Gives what those had handed in who run now in its place: one, unless the limit
    /// has been raised.
    pub fn leave(&mut self, now: Millis) -> Vec<T> {
        self.running = self.running.saturating_sub(1);
        if self.depth() == 0 {
            return Vec::new();
        }
        self.pace.count(now);
        let mut called = Vec::with_capacity(1);
        while let Some(line) = self.waiting.iter_mut().rev().find(|line| !line.is_empty())
            && let Some(next) = line.pop_front_if(|next| self.running < next.limit.get())
        {
            self.running += 1;
            called.push(next.handed);
        }
        called
    }

    /// A request waits no more. `false` when it has been called or displaced already.
    pub fn give_up(&mut self, ticket: Ticket) -> bool {
        let line = &mut self.waiting[ticket.priority as usize];
        let place = line.binary_search_by_key(&ticket.number, |waiting| waiting.number);
        place.is_ok_and(|place| line.remove(place).is_some())
    }

    /// Requests that run.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Requests that wait.
    pub fn depth(&self) -> u32 {
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// How long a request that came now would wait behind those that are as urgent or more, at the pace of the last
    /// ends.
    pub fn expected_wait(&self, priority: Priority, now: Millis) -> Duration {
        let ahead: usize = self.waiting[priority as usize..].iter().map(VecDeque::len).sum();
        self.pace.each(now) * u32::try_from(ahead + 1).unwrap_or(u32::MAX)
    }
}

/// How fast places become free, measured over the last ends since requests have had to wait: an end while nobody waits
/// says nothing about how fast the line moves.
#[derive(Debug, Default)]
struct Pace {
    since: Millis,
    ends: VecDeque<Millis>,
}

impl Pace {
    fn from(since: Millis) -> Self {
        Self { since, ends: VecDeque::with_capacity(REMEMBERED) }
    }

    fn count(&mut self, now: Millis) {
        if self.ends.len() == REMEMBERED {
            self.since = self.ends.pop_front().unwrap_or(self.since);
        }
        self.ends.push_back(now);
    }

    /// Time from one end to the next; before the first, it is at least what has passed.
    fn each(&self, now: Millis) -> Duration {
        let passed = Duration::from_millis(now.0.saturating_sub(self.since.0));
        passed / u32::try_from(self.ends.len().max(1)).unwrap_or(1)
    }
}

/// Enough to be steady, few enough to follow a change.
const REMEMBERED: usize = 32;

#[cfg(test)]
#[expect(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn bounds(running: u32, waiting: u32) -> Bounds {
        Bounds { running: NonZeroU32::MIN.saturating_add(running - 1), waiting }
    }

    fn enter(line: &mut Line<u32>, priority: Priority, bounds: Bounds, name: u32) -> Entry<u32> {
        line.enter(priority, bounds, Millis(0), || name)
    }

    /// The ticket of one that must wait and displaces nobody.
    fn waits(entry: &Entry<u32>) -> Ticket {
        match entry {
            Entry::Waits { ticket, displaced: None } => *ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn as_many_run_as_may_and_as_many_wait_as_may() {
        let mut line = Line::default();
        let bounds = bounds(2, 2);
        assert_eq!(enter(&mut line, Priority::Normal, bounds, 1), Entry::Runs);
        assert_eq!(enter(&mut line, Priority::Normal, bounds, 2), Entry::Runs);
        waits(&enter(&mut line, Priority::Normal, bounds, 3));
        waits(&enter(&mut line, Priority::Normal, bounds, 4));
        assert_eq!(enter(&mut line, Priority::Normal, bounds, 5), Entry::Full);
        assert_eq!((line.running(), line.depth()), (2, 2));
        assert_eq!(line.leave(Millis(0)), [3]);
        assert_eq!(line.leave(Millis(0)), [4]);
        assert!(line.leave(Millis(0)).is_empty());
        assert!(line.leave(Millis(0)).is_empty());
        assert_eq!((line.running(), line.depth()), (0, 0));
    }

    #[test]
    fn without_places_to_wait_everybody_else_is_turned_away() {
        let mut line = Line::default();
        assert_eq!(enter(&mut line, Priority::Low, bounds(1, 0), 1), Entry::Runs);
        assert_eq!(enter(&mut line, Priority::High, bounds(1, 0), 2), Entry::Full);
    }

    #[test]
    fn the_more_urgent_goes_first_and_then_the_first() {
        let mut line = Line::default();
        let bounds = bounds(1, 9);
        enter(&mut line, Priority::Low, bounds, 0);
        let order = [(Priority::Low, 1), (Priority::Normal, 2), (Priority::High, 3), (Priority::Normal, 4)];
        for (priority, name) in order {
            waits(&enter(&mut line, priority, bounds, name));
        }
        let called: Vec<u32> = (0..4).flat_map(|_| line.leave(Millis(0))).collect();
        assert_eq!(called, [3, 2, 4, 1]);
    }

    #[test]
    fn nobody_overtakes_who_waits() {
        let mut line = Line::default();
        enter(&mut line, Priority::Normal, bounds(1, 9), 0);
        waits(&enter(&mut line, Priority::Normal, bounds(1, 9), 1));
        // a reload has raised the limit, but somebody waits
        waits(&enter(&mut line, Priority::Normal, bounds(5, 9), 2));
        // and with the next end all go that may
        assert_eq!(line.leave(Millis(0)), [1, 2]);
        assert_eq!(line.running(), 2);
    }

    #[test]
    fn a_limit_that_was_lowered_holds_for_who_comes_then() {
        let mut line = Line::default();
        for name in 0..3 {
            enter(&mut line, Priority::Normal, bounds(3, 9), name);
        }
        waits(&enter(&mut line, Priority::Normal, bounds(1, 9), 9));
        assert_eq!((line.leave(Millis(0)), line.leave(Millis(0))), (vec![], vec![]));
        assert_eq!(line.leave(Millis(0)), [9]);
    }

    #[test]
    fn when_the_line_is_full_the_least_urgent_that_came_last_makes_room() {
        let mut line = Line::default();
        let bounds = bounds(1, 3);
        enter(&mut line, Priority::Normal, bounds, 0);
        waits(&enter(&mut line, Priority::Low, bounds, 1));
        waits(&enter(&mut line, Priority::Low, bounds, 2));
        waits(&enter(&mut line, Priority::Normal, bounds, 3));
        assert_eq!(enter(&mut line, Priority::Low, bounds, 4), Entry::Full);
        for (name, lost) in [(5, 2), (6, 1), (7, 3)] {
            match enter(&mut line, Priority::High, bounds, name) {
                Entry::Waits { displaced, .. } => assert_eq!(displaced, Some(lost)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(enter(&mut line, Priority::High, bounds, 8), Entry::Full);
        assert_eq!(line.depth(), 3);
    }

    #[test]
    fn who_gives_up_is_not_called() {
        let mut line = Line::default();
        let bounds = bounds(1, 9);
        enter(&mut line, Priority::Normal, bounds, 0);
        let tickets: Vec<Ticket> =
            (1..=3).map(|name| waits(&enter(&mut line, Priority::Normal, bounds, name))).collect();
        assert!(line.give_up(tickets[1]));
        assert!(!line.give_up(tickets[1]));
        assert_eq!((line.leave(Millis(0)), line.leave(Millis(0))), (vec![1], vec![3]));
        assert!(!line.give_up(tickets[0]), "it has been called");
        assert_eq!(line.depth(), 0);
    }

    #[test]
    fn the_wait_is_told_from_how_fast_the_line_moves() {
        let mut line = Line::default();
        let bounds = bounds(2, 99);
        enter(&mut line, Priority::Normal, bounds, 0);
        enter(&mut line, Priority::Normal, bounds, 0);
        // hours without a queue do not count
        let start = 10_000_000;
        for name in 0..10 {
            line.enter(Priority::Normal, bounds, Millis(start), || name);
        }
        // nothing has ended: at least as long as it has been
        assert_eq!(line.expected_wait(Priority::Normal, Millis(start + 500)), Duration::from_millis(500 * 11));
        for end in 1..=4 {
            assert_eq!(line.leave(Millis(start + end * 1000)).len(), 1);
        }
        // one end a second, six wait
        assert_eq!(line.expected_wait(Priority::Normal, Millis(start + 4000)), Duration::from_secs(7));
        // those that are less urgent are not waited for
        assert_eq!(line.expected_wait(Priority::High, Millis(start + 4000)), Duration::from_secs(1));
        // and when nothing moves any more, that shows
        assert_eq!(line.expected_wait(Priority::High, Millis(start + 12_000)), Duration::from_secs(3));
    }

    #[test]
    fn the_pace_follows_the_last_ends() {
        let mut pace = Pace::from(Millis(0));
        for second in 1..=100 {
            pace.count(Millis(second * 1000));
        }
        for tenth in 1..=32 {
            pace.count(Millis(100_000 + tenth * 100));
        }
        assert_eq!(pace.each(Millis(103_200)), Duration::from_millis(100));
    }

    #[test]
    fn priorities_are_ordered_and_named() {
        assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
        for priority in Priority::ALL {
            assert_eq!(Priority::from_name(priority.name()), Some(priority));
        }
        assert_eq!(Priority::from_name("urgent"), None);
    }
}
