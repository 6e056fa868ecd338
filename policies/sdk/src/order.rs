//! An order over deployments, as the settings of several policies have it, and what tells deployments apart after a
//! failure.

use crate::Deployment;

/// For each deployment the place of the first entry that means it; after all others where none does. An entry is a
/// deployment's id, or `key=value` for all deployments with that label.
///
/// # Errors
/// When an entry means no deployment; `setting` names the setting in the message.
pub fn places(setting: &str, order: &[String], deployments: &[Deployment]) -> Result<Vec<u32>, String> {
    for entry in order {
        if !deployments.iter().any(|deployment| means(entry, deployment)) {
            return Err(format!(
                "settings: `{setting}` has `{entry}`, which is neither the id nor a label (`key=value`) of any deployment"
            ));
        }
    }
    let place = |deployment| {
        let place = order.iter().position(|entry| means(entry, deployment));
        place.unwrap_or(order.len()) as u32
    };
    Ok(deployments.iter().map(place).collect())
}

/// A deployment's place among those of [`places`]; after all others where it has none.
pub fn place_of(places: &[u32], target: u32) -> u32 {
    places.get(target as usize).copied().unwrap_or(u32::MAX)
}

fn means(entry: &str, deployment: &Deployment) -> bool {
    let labelled = |(key, value): (&str, &str)| deployment.labels.iter().any(|(k, v)| k == key && v == value);
    entry == deployment.id || entry.split_once('=').is_some_and(labelled)
}

/// The same number for deployments of the same provider.
pub fn providers(deployments: &[Deployment]) -> Vec<u32> {
    let mut names: Vec<&str> = Vec::new();
    let mut numbers = Vec::with_capacity(deployments.len());
    for deployment in deployments {
        let known = names.iter().position(|name| *name == deployment.provider);
        let number = known.unwrap_or_else(|| {
            names.push(&deployment.provider);
            names.len() - 1
        });
        numbers.push(number as u32);
    }
    numbers
}

/// Whether two deployments are of one provider, by the numbers of [`providers`]: then a refused key is refused for both.
pub fn same_provider(providers: &[u32], one: u32, other: u32) -> bool {
    providers.get(one as usize) == providers.get(other as usize)
}

/// Whether a row has a larger context window than the deployment whose window was too small. Where that is not known
/// (0), any that is known is taken to be larger. `windows` has a value for each of `targets`.
pub fn has_larger_window(windows: &[f64], targets: &[u32], row: usize, too_small: u32) -> bool {
    let failed = targets.iter().position(|target| *target == too_small);
    windows[row] > failed.map_or(0.0, |row| windows[row])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn deployments() -> Vec<Deployment> {
        let labelled = |id, tier: &str| Deployment {
            labels: vec![("tier".to_owned(), tier.to_owned())],
            ..testing::deployment(id)
        };
        vec![labelled("m@a", "spare"), labelled("m@b", "main"), labelled("n@a", "spare"), testing::deployment("n@c")]
    }

    fn owned(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn the_first_entry_that_means_a_deployment_counts() {
        let order = owned(&["n@c", "tier=spare", "m@a"]);
        assert_eq!(places("order", &order, &deployments()), Ok(vec![1, 3, 1, 0]));
        assert_eq!(places("order", &[], &deployments()), Ok(vec![0, 0, 0, 0]));
    }

    #[test]
    fn an_entry_that_means_nobody_refuses() {
        let message = "settings: `order` has `tier=best`, which is neither the id nor a label (`key=value`) of any \
                       deployment";
        assert_eq!(places("order", &owned(&["m@a", "tier=best"]), &deployments()), Err(message.to_owned()));
    }

    #[test]
    fn deployments_of_a_provider_share_its_number() {
        assert_eq!(providers(&deployments()), [0, 1, 0, 2]);
        assert!(same_provider(&[0, 1, 0, 2], 0, 2) && !same_provider(&[0, 1, 0, 2], 0, 1));
    }

    #[test]
    fn who_has_no_place_comes_last() {
        assert_eq!([0, 1, 2].map(|target| place_of(&[1, 0], target)), [1, 0, u32::MAX]);
    }

    #[test]
    fn a_window_is_larger_than_one_that_was_too_small_or_is_not_known() {
        let larger = |row, too_small| has_larger_window(&[8e3, 0.0, 32e3], &[4, 5, 6], row, too_small);
        assert_eq!([larger(0, 4), larger(1, 4), larger(2, 4)], [false, false, true]);
        assert_eq!([larger(0, 5), larger(1, 5), larger(0, 9)], [true, false, true]);
    }
}
