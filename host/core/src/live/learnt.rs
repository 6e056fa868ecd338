//! What a server itself tells of the model that it has loaded.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::ability::Abilities;

/// What a server has told of a model; what it does not tell is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learnt {
    /// What the model can do.
    pub abilities: Abilities,
    /// The context window of one request.
    pub context_tokens: Option<u32>,
}

/// The same, for many readers and a writer.
#[derive(Debug, Default)]
pub(super) struct Told {
    abilities: AtomicU32,
    context_tokens: AtomicU32,
}

impl Told {
    pub(super) fn learn(&self, learnt: Learnt) {
        self.abilities.store(learnt.abilities.to_bits(), Relaxed);
        self.context_tokens.store(learnt.context_tokens.unwrap_or(0), Relaxed);
    }

    pub(super) fn learnt(&self) -> Learnt {
        Learnt {
            abilities: Abilities::from_bits(self.abilities.load(Relaxed)),
            context_tokens: NonZeroU32::new(self.context_tokens.load(Relaxed)).map(NonZeroU32::get),
        }
    }
}
