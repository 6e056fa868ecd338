//! Which deployment covers which needs: one bit for each capability.

use std::fmt;

/// Capabilities that a request can need, in the order of their bits.
const NAMES: [&str; 5] = ["tools", "vision", "audio", "json-schema", "embeddings"];
/// Everything that the settings require, taken together.
const REQUIRED: u8 = 1 << NAMES.len();

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// One answer for each of tools, vision, audio, JSON schema and embeddings. What the settings require is needed
    /// always.
    pub fn of(needed: [bool; NAMES.len()]) -> Self {
        let bits = needed.iter().enumerate().map(|(bit, needed)| u8::from(*needed) << bit);
        Self(bits.fold(REQUIRED, |bits, bit| bits | bit))
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed = NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        let names: Vec<&str> = needed.map(|(_, name)| *name).collect();
        match names.as_slice() {
            [] => f.write_str("the required capabilities"),
            [name] => write!(f, "the capability {name}"),
            names => write!(f, "the capabilities {}", names.join(", ")),
        }
    }
}

/// What each deployment can do.
#[derive(Clone, Debug)]
pub struct Abilities(Vec<u8>);

impl Abilities {
    /// From what the deployments declare, in the order of the catalogue. One that declares nothing at all is taken to
    /// be able of everything: its capabilities are not known.
    pub fn new<'a>(declared: impl Iterator<Item = &'a [String]>, required: &[String]) -> Self {
        let bits = |declared: &[String]| {
            if declared.is_empty() {
                return u8::MAX;
            }
            let has = |name: &str| declared.iter().any(|declared| declared == name);
            let bits = NAMES.iter().enumerate().map(|(bit, name)| u8::from(has(name)) << bit);
            let required = if required.iter().all(|name| has(name)) { REQUIRED } else { 0 };
            bits.fold(required, |bits, bit| bits | bit)
        };
        Self(declared.map(bits).collect())
    }

    /// Whether a deployment can do all of it.
    pub fn cover(&self, target: u32, needs: Needs) -> bool {
        self.0.get(target as usize).is_some_and(|able| able & needs.0 == needs.0)
    }
}

/// Whether a prompt of so many estimated tokens leaves the margin, a share of the window, for the error of the
/// estimate and the answer. A window of 0 is not known and fits everything.
pub fn fits(prompt: f64, window: f64, margin: f64) -> bool {
    window == 0.0 || prompt <= window * (1.0 - margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_covers_what_it_declares() {
        let declared = [vec!["tools".to_owned(), "audio".to_owned()], vec!["chat".to_owned()], Vec::new()];
        let abilities = Abilities::new(declared.iter().map(Vec::as_slice), &[]);
        let cover = |needs| [0, 1, 2, 3].map(|target| abilities.cover(target, Needs::of(needs)));
        assert_eq!(cover([false; 5]), [true, true, true, false]);
        assert_eq!(cover([true, false, true, false, false]), [true, false, true, false]);
        assert_eq!(cover([true, true, false, false, false]), [false, false, true, false]);
    }

    #[test]
    fn all_that_is_required_must_be_declared() {
        let declared = [vec!["eu".to_owned()], vec!["eu".to_owned(), "gdpr".to_owned()], Vec::new()];
        let required = ["eu".to_owned(), "gdpr".to_owned()];
        let abilities = Abilities::new(declared.iter().map(Vec::as_slice), &required);
        assert_eq!([0, 1, 2].map(|target| abilities.cover(target, Needs::of([false; 5]))), [false, true, true]);
    }

    #[test]
    fn needs_are_named_for_people() {
        assert_eq!(Needs::of([false; 5]).to_string(), "the required capabilities");
        assert_eq!(Needs::of([false, false, false, true, false]).to_string(), "the capability json-schema");
        assert_eq!(Needs::of([true, false, false, false, true]).to_string(), "the capabilities tools, embeddings");
    }

    #[test]
    fn the_margin_is_kept_on_both_sides() {
        assert!(fits(900.0, 1000.0, 0.1));
        assert!(!fits(901.0, 1000.0, 0.1));
        assert!(fits(1000.0, 1000.0, 0.0));
        assert!(fits(1e9, 0.0, 0.1));
    }
}
