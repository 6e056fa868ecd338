//! Whose turn it is.
//!
//! With weights, each candidate has a time up to which it has been served: a turn takes 1 / weight. The middle of its
//! next turn decides (Webster's method), which spreads the turns of a heavy candidate out. A clock follows the turns,
//! so that a candidate that was away, left out by a filter or new, is owed one turn and not all that it missed.

/// The turn of one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Whose it is.
    pub row: usize,
    /// What to add to the time that it has been served.
    pub share: f64,
    /// The clock from now on.
    pub clock: f64,
    /// Set when the candidate was away: its time is to be moved first.
    pub caught_up: Option<CaughtUp>,
}

/// A time moved up to the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CaughtUp {
    /// The time as it was read.
    pub from: f64,
    /// Where it starts from.
    pub to: f64,
}

/// The next turn. `served` holds the time up to which each row has been served.
pub fn turn(weight: &[f64], served: &[f64], clock: f64) -> Turn {
    let mut next: Option<Turn> = None;
    for (row, (weight, from)) in weight.iter().zip(served.iter().copied()).enumerate() {
        let share = (1.0 / weight).min(LONGEST_SHARE);
        let earliest = clock - share / 2.0;
        let start = from.max(earliest);
        let middle = start + share / 2.0;
        if next.is_none_or(|next| middle < next.clock) {
            let caught_up = (from < earliest).then_some(CaughtUp { from, to: start });
            next = Some(Turn { row, share, clock: middle, caught_up });
        }
    }
    next.unwrap_or(Turn { row: 0, share: 0.0, clock, caught_up: None })
}

/// The row after the one that was last; after one that is no candidate now, the first.
pub fn next_in_turn(candidates: &[u32], last: f64) -> usize {
    let last = candidates.iter().position(|target| mark(*target) == last);
    last.map_or(0, |row| (row + 1) % candidates.len())
}

/// How a target is kept in a cell, in which 0 means nobody.
pub fn mark(target: u32) -> f64 {
    f64::from(target) + 1.0
}

/// Whether nobody has just come back.
pub fn all_warm(warm_up: &[f64]) -> bool {
    warm_up.iter().all(|warm| *warm == 1.0)
}

/// The weights, less for those that have just come back.
pub fn warming(weight: &[f64], warm_up: &[f64]) -> Vec<f64> {
    weight.iter().zip(warm_up).map(|(weight, warm)| weight * warm.max(COLDEST)).collect()
}

/// The share of its weight that one has which has just come back.
const COLDEST: f64 = 0.1;

/// Whether weights make no difference.
pub fn all_equal(weight: &[f64]) -> bool {
    weight.iter().all(|other| *other == weight[0])
}

/// What a turn takes at most: a weight next to nothing must not bring the clock to infinity.
const LONGEST_SHARE: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_come_back_has_a_part_of_its_weight() {
        assert!(all_warm(&[1.0, 1.0]) && !all_warm(&[1.0, 0.9]));
        assert_eq!(warming(&[2.0, 4.0, 1.0], &[1.0, 0.5, 0.0]), [2.0, 2.0, 0.1]);
    }

    /// Turns among rows that are present, with the times kept as the policy keeps them.
    #[derive(Default)]
    struct Turns {
        served: [f64; 4],
        clock: f64,
    }

    impl Turns {
        fn next(&mut self, present: &[usize], weight: &[f64]) -> usize {
            let served: Vec<f64> = present.iter().map(|row| self.served[*row]).collect();
            let turn = turn(weight, &served, self.clock);
            let served = &mut self.served[present[turn.row]];
            *served = turn.caught_up.map_or(*served, |caught_up| caught_up.to) + turn.share;
            self.clock = turn.clock;
            present[turn.row]
        }
    }

    #[test]
    fn shares_are_exact_over_a_round() {
        let weight = [5.0, 3.0, 2.0];
        let mut turns = Turns::default();
        for round in 0..100 {
            let mut counts = [0; 3];
            for _ in 0..10 {
                counts[turns.next(&[0, 1, 2], &weight)] += 1;
            }
            assert_eq!(counts, [5, 3, 2], "round {round}");
        }
    }

    #[test]
    fn a_weight_next_to_nothing_leaves_the_clock_finite() {
        let mut turns = Turns::default();
        for _ in 0..10 {
            turns.next(&[0, 1], &[f64::from_bits(1), f64::from_bits(1)]);
        }
        assert!(turns.clock.is_finite() && turns.served.iter().all(|served| served.is_finite()));
    }

    #[test]
    fn one_that_was_away_is_owed_one_turn() {
        let mut turns = Turns::default();
        for _ in 0..1000 {
            turns.next(&[0, 1], &[2.0, 1.0]);
        }
        let back: Vec<usize> = (0..8).map(|_| turns.next(&[0, 1, 2], &[2.0, 1.0, 1.0])).collect();
        let turns_of_two = back.iter().filter(|row| **row == 2).count();
        assert!((2..=3).contains(&turns_of_two), "{back:?}");
    }

    #[test]
    fn one_that_got_a_turn_twice_at_once_waits_for_the_others() {
        let mut turns = Turns::default();
        turns.served[0] = 2.0;
        let next: Vec<usize> = (0..6).map(|_| turns.next(&[0, 1], &[1.0, 1.0])).collect();
        assert_eq!(next, [1, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn equals_follow_each_other_in_order_and_around() {
        assert_eq!(next_in_turn(&[4, 7, 9], 0.0), 0);
        assert_eq!(next_in_turn(&[4, 7, 9], mark(4)), 1);
        assert_eq!(next_in_turn(&[4, 7, 9], mark(9)), 0);
        assert_eq!(next_in_turn(&[4, 9], mark(7)), 0);
    }

    #[test]
    fn weights_are_equal_or_not() {
        assert!(all_equal(&[2.0, 2.0]));
        assert!(!all_equal(&[2.0, 2.0, 1.0]));
    }
}
