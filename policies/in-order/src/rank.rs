//! The plan, from the order alone.

use witgate_sdk::Attempt;

/// The first candidate at once, each other when the one before it has failed, `attempts` in all.
pub(crate) fn in_order(candidates: &[u32], attempts: usize) -> Vec<Attempt> {
    let mut plan: Vec<Attempt> = candidates.iter().take(attempts).map(|target| Attempt::on_failure(*target)).collect();
    if let Some(first) = plan.first_mut() {
        *first = Attempt::at_once(first.target);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_for_the_failure_of_the_one_before() {
        let expected = [Attempt::at_once(7), Attempt::on_failure(3), Attempt::on_failure(5)];
        assert_eq!(in_order(&[7, 3, 5], 4), expected);
    }

    #[test]
    fn the_bound_holds_on_both_sides() {
        assert_eq!(in_order(&[7, 3], 2).len(), 2);
        assert_eq!(in_order(&[7, 3, 5], 2).len(), 2);
        assert_eq!(in_order(&[7, 3], 1), [Attempt::at_once(7)]);
    }
}
