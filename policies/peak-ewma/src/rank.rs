//! Expected wait: time to first token × (requests in flight + 1) / (weight × warm-up).

use witgate_sdk::{Random, choose};

/// What the ranking reads, by row.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Peak-sensitive mean of the time to first token, in milliseconds; decays while nothing is sent.
    pub ttft: &'a [f64],
    /// Requests in flight.
    pub in_flight: &'a [f64],
    /// Configured weight, above 0.
    pub weight: &'a [f64],
    /// How far the slow start of one that has come back is, 0 to 1.
    pub warm_up: &'a [f64],
    /// Attempts that have ended; 0 where the time is unknown. It is also where the time is 0.
    pub samples: &'a [f64],
}

/// Two rows at random, of them the one of less cost. Two instead of all, because several gateways that all see the
/// same best candidate would send everything there at once.
pub fn better_of_two(load: &Load, random: &mut Random) -> usize {
    let (first, second) = random.two_of(load.ttft.len());
    let known = |row: usize| is_known(load, row);
    // The others are looked through only where one of the two has no time of its own.
    let unknown = if known(first) && known(second) { SHORTEST } else { best_known(load) };
    if cost(load, second, unknown) < cost(load, first, unknown) { second } else { first }
}

/// The row of least cost; of equals any.
pub fn best(load: &Load, random: &mut Random) -> usize {
    let unknown = best_known(load);
    choose::any_lowest(load.ttft.len(), random, |row| cost(load, row, unknown))
}

fn cost(load: &Load, row: usize, unknown: f64) -> f64 {
    let ttft = if is_known(load, row) { load.ttft[row].max(SHORTEST) } else { unknown };
    ttft * (load.in_flight[row] + 1.0) / (load.weight[row] * load.warm_up[row].max(COLDEST))
}

/// What an unknown candidate is taken to need: as long as the best of the known, so that it is tried, and so that its
/// queue counts until it is known.
fn best_known(load: &Load) -> f64 {
    let known = (0..load.ttft.len()).filter(|row| is_known(load, *row)).map(|row| load.ttft[row]);
    let best = known.fold(f64::INFINITY, f64::min);
    if best.is_finite() { best.max(SHORTEST) } else { SHORTEST }
}

fn is_known(load: &Load, row: usize) -> bool {
    load.samples[row] > 0.0 && load.ttft[row] > 0.0
}

/// The share of its weight that one has which has just come back.
const COLDEST: f64 = 0.1;
/// Milliseconds. A time that has decayed to nothing must not make the queue disappear from the product.
const SHORTEST: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn best_of(ttft: &[f64], in_flight: &[f64], weight: &[f64], samples: &[f64]) -> usize {
        best(&Load { ttft, in_flight, weight, warm_up: &[1.0; 4], samples }, &mut Random::new(1))
    }

    #[test]
    fn time_queue_and_weight_multiply() {
        assert_eq!(best_of(&[200.0, 100.0], &[0.0, 0.0], &[1.0, 1.0], &[9.0, 9.0]), 1);
        assert_eq!(best_of(&[200.0, 100.0], &[0.0, 2.0], &[1.0, 1.0], &[9.0, 9.0]), 0);
        assert_eq!(best_of(&[200.0, 100.0], &[0.0, 2.0], &[1.0, 4.0], &[9.0, 9.0]), 1);
    }

    #[test]
    fn one_that_has_come_back_counts_little_by_little() {
        let of = |warm_up| {
            let load =
                Load { ttft: &[100.0, 50.0], in_flight: &[0.0; 2], weight: &[1.0; 2], warm_up, samples: &[9.0; 2] };
            best(&load, &mut Random::new(1))
        };
        assert_eq!((of(&[1.0, 0.0]), of(&[1.0, 0.49]), of(&[1.0, 0.51])), (0, 0, 1));
        assert_eq!(of(&[0.0, 0.0]), 1, "where all are cold the cold makes no difference");
    }

    #[test]
    fn an_unknown_candidate_counts_as_the_best_known() {
        // its time of 0 would win against any queue otherwise
        assert_eq!(best_of(&[100.0, 0.0], &[0.0, 1.0], &[1.0, 1.0], &[9.0, 0.0]), 0);
        assert_eq!(best_of(&[100.0, 0.0], &[1.0, 0.0], &[1.0, 1.0], &[9.0, 0.0]), 1);
        assert_eq!(best_of(&[300.0, 100.0, 0.0], &[0.0, 3.0, 1.0], &[1.0; 3], &[9.0, 9.0, 0.0]), 2);
        // one that has only failed so far, and is trusted again
        assert_eq!(best_of(&[100.0, 0.0], &[0.0, 1.0], &[1.0, 1.0], &[9.0, 2.0]), 0);
    }

    #[test]
    fn where_nothing_is_known_the_shorter_queue_wins() {
        assert_eq!(best_of(&[0.0; 3], &[2.0, 1.0, 3.0], &[1.0; 3], &[0.0; 3]), 1);
    }

    #[test]
    fn a_time_that_decayed_to_nothing_leaves_the_queue_in_the_product() {
        assert_eq!(best_of(&[1e-9, 1e-9], &[5.0, 1.0], &[1.0; 2], &[9.0; 2]), 1);
    }

    #[test]
    fn of_two_the_better_is_chosen_and_every_candidate_but_the_worst_has_its_turn() {
        let (ttft, one) = ([400.0, 300.0, 200.0, 100.0], [1.0; 4]);
        let load = Load { ttft: &ttft, in_flight: &[0.0; 4], weight: &one, warm_up: &one, samples: &one };
        let mut chosen = [0_u32; 4];
        for seed in 0..6000 {
            chosen[better_of_two(&load, &mut Random::new(seed))] += 1;
        }
        // of the six pairs the best is in three, the next in two more, the third in the last
        assert_eq!(chosen[0], 0);
        assert!((850..1150).contains(&chosen[1]), "{chosen:?}");
        assert!((1800..2200).contains(&chosen[2]), "{chosen:?}");
        assert!((2800..3200).contains(&chosen[3]), "{chosen:?}");
    }

    #[test]
    fn a_single_candidate_is_chosen() {
        let load = Load { ttft: &[1.0], in_flight: &[0.0], weight: &[1.0], warm_up: &[0.0], samples: &[1.0] };
        assert_eq!(better_of_two(&load, &mut Random::new(1)), 0);
    }
}
