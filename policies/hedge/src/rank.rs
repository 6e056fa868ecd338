//! Who is asked first, who second.

use witgate_sdk::Random;

/// What the ranking reads, by row.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Peak-sensitive mean of the time to first token, in milliseconds.
    pub ttft: &'a [f64],
    /// Requests in flight.
    pub in_flight: &'a [f64],
    /// Configured weight, above 0.
    pub weight: &'a [f64],
    /// How far the slow start of one that has come back is, 0 to 1.
    pub warm_up: &'a [f64],
    /// Attempts that have ended; 0 where the time is unknown.
    pub samples: &'a [f64],
    /// The smaller of the unused shares of its limits.
    pub headroom: &'a [f64],
}

/// The better of two rows taken at random.
pub fn first(load: &Load, random: &mut Random) -> usize {
    let (one, other) = random.two_of(load.ttft.len());
    if cost(load, other) < cost(load, one) { other } else { one }
}

/// The best of the others that have room, at another provider if possible. `provider` gives a row's.
pub fn second(load: &Load, first: usize, provider: impl Fn(usize) -> u32) -> Option<usize> {
    let rows = (0..load.ttft.len()).filter(|row| *row != first && load.headroom[*row] > LEAST_HEADROOM);
    let key = |row: &usize| (provider(*row) == provider(first), cost(load, *row));
    rows.min_by(|one, other| {
        let ((same, cost), (other_same, other_cost)) = (key(one), key(other));
        same.cmp(&other_same).then(cost.total_cmp(&other_cost))
    })
}

/// An unknown candidate is taken to be quick, so that it is tried.
fn cost(load: &Load, row: usize) -> f64 {
    let ttft = if load.samples[row] > 0.0 { load.ttft[row].max(SHORTEST_MS) } else { SHORTEST_MS };
    ttft * (load.in_flight[row] + 1.0) / (load.weight[row] * load.warm_up[row].max(COLDEST))
}

/// A hedge must not use up what the deployment's own requests need.
const LEAST_HEADROOM: f64 = 0.3;
const SHORTEST_MS: f64 = 1.0;
/// The share of its weight that one has which has just come back.
const COLDEST: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Load<'_> = Load {
        ttft: &[900.0, 100.0, 200.0],
        in_flight: &[0.0; 3],
        weight: &[1.0; 3],
        warm_up: &[1.0; 3],
        samples: &[9.0; 3],
        headroom: &[1.0; 3],
    };

    #[test]
    fn the_worst_is_never_first() {
        let mut chosen = [0_u32; 3];
        (0..300).for_each(|seed| chosen[first(&THREE, &mut Random::new(seed))] += 1);
        assert!(chosen[0] == 0 && chosen[1] > 150 && chosen[2] > 50, "{chosen:?}");
    }

    #[test]
    fn the_second_is_the_best_other_with_room_elsewhere_if_possible() {
        let each_its_own = |row: usize| row as u32;
        assert_eq!(second(&THREE, 1, each_its_own), Some(2));
        assert_eq!(second(&THREE, 1, |row| u32::from(row == 0)), Some(0), "two share a provider");
        let full = Load { headroom: &[0.3, 1.0, 0.31], ..THREE };
        assert_eq!((second(&full, 1, each_its_own), second(&full, 2, each_its_own)), (Some(2), Some(1)));
        let none = Load { headroom: &[0.0; 3], ..THREE };
        assert_eq!(second(&none, 1, each_its_own), None);
    }

    #[test]
    fn one_that_is_cold_or_busy_costs_more() {
        assert_eq!(second(&Load { warm_up: &[1.0, 1.0, 0.2], ..THREE }, 1, |row| row as u32), Some(0));
        assert_eq!(second(&Load { in_flight: &[0.0, 0.0, 9.0], ..THREE }, 1, |row| row as u32), Some(0));
    }
}
