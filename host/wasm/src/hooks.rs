//! The hooks of the contract, and which of them a policy exports.

use std::fmt;

/// An interface of the contract that the host calls for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `filter.keep`
    Filter,
    /// `scorer.score`
    Scorer,
    /// `router.route`
    Router,
    /// `fallback.after-failure`
    Fallback,
    /// `observer.observe`
    Observer,
}

impl Hook {
    /// All, in the order in which a chain calls them.
    pub const ALL: [Self; 5] = [Self::Filter, Self::Scorer, Self::Router, Self::Fallback, Self::Observer];

    /// The interface's name in the contract; also the label of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Scorer => "scorer",
            Self::Router => "router",
            Self::Fallback => "fallback",
            Self::Observer => "observer",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks(u8);

impl Hooks {
    /// Whether the set holds this hook.
    pub const fn has(self, hook: Hook) -> bool {
        self.0 & (1 << hook as u8) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order in which a chain calls them.
    pub fn iter(self) -> impl Iterator<Item = Hook> {
        Hook::ALL.into_iter().filter(move |hook| self.has(*hook))
    }

    pub(crate) fn insert(&mut self, hook: Hook) {
        self.0 |= 1 << hook as u8;
    }
}

impl FromIterator<Hook> for Hooks {
    fn from_iter<I: IntoIterator<Item = Hook>>(hooks: I) -> Self {
        let mut set = Self::default();
        hooks.into_iter().for_each(|hook| set.insert(hook));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut hooks = Hooks::default();
        assert!(hooks.is_empty());
        hooks.insert(Hook::Observer);
        hooks.insert(Hook::Filter);
        assert_eq!(hooks.iter().collect::<Vec<_>>(), [Hook::Filter, Hook::Observer]);
        assert!(!hooks.has(Hook::Router));
        assert_eq!(hooks, [Hook::Filter, Hook::Observer].into_iter().collect());
    }
}
