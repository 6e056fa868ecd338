//! Choosing one of several rows by cost. Tuples compare from left to right, so a second number settles ties.

use crate::Random;

/// The row below `rows` whose cost is least; of equals the first. A cost that is NaN loses to any other.
pub fn lowest<K: PartialOrd>(rows: usize, cost: impl Fn(usize) -> K) -> usize {
    let mut best = (0, cost(0));
    for row in 1..rows {
        let cost = cost(row);
        if better(&cost, &best.1) {
            best = (row, cost);
        }
    }
    best.0
}

/// The row below `rows` whose cost is least; of equals any, all with the same chance.
pub fn any_lowest<K: PartialOrd>(rows: usize, random: &mut Random, cost: impl Fn(usize) -> K) -> usize {
    let mut best = (0, cost(0));
    let mut equals = 1;
    for row in 1..rows {
        let cost = cost(row);
        if better(&cost, &best.1) {
            best = (row, cost);
            equals = 1;
        } else if cost == best.1 {
            equals += 1;
            if random.below(equals) == 0 {
                best.0 = row;
            }
        }
    }
    best.0
}

fn better<K: PartialOrd>(cost: &K, best: &K) -> bool {
    cost < best || best.partial_cmp(best).is_none() && cost.partial_cmp(cost).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_lowest_is_chosen() {
        let costs = [3.0, 1.0, 2.0, 1.0];
        assert_eq!(lowest(4, |row| costs[row]), 1);
        assert_eq!(lowest(1, |row| costs[row]), 0);
        assert_eq!(lowest(4, |row| (1, costs[3 - row])), 0);
    }

    #[test]
    fn a_cost_that_is_not_a_number_loses() {
        let costs = [f64::NAN, 9.0, f64::NAN];
        assert_eq!(lowest(3, |row| costs[row]), 1);
        assert_eq!(any_lowest(3, &mut Random::new(1), |row| costs[row]), 1);
    }

    #[test]
    fn equals_are_chosen_alike() {
        let costs = [1.0, 0.5, 0.5, 2.0, 0.5];
        let mut chosen = [0_u32; 5];
        for seed in 0..3000 {
            chosen[any_lowest(5, &mut Random::new(seed), |row| costs[row])] += 1;
        }
        assert_eq!((chosen[0], chosen[3]), (0, 0));
        assert!(chosen.iter().filter(|count| (900..1100).contains(*count)).count() == 3, "{chosen:?}");
    }
}
