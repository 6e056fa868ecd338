//! How instances of one bound policy are made: all alike, or not at all.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::bindings::imports::types;
use crate::component::Component;
use crate::failure::FailureCause;
use crate::instance::Instance;
use crate::state::{State, Surroundings};

/// Everything that a new instance needs.
pub(crate) struct Blueprint {
    pub(crate) component: Arc<Component>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) catalogue: Arc<types::Catalogue>,
    /// Linear memory that an instance may have, bytes.
    pub(crate) memory: usize,
    /// What the first instance subscribed to. Columns are laid out by it, so every other one must say the same.
    pub(crate) asked: OnceLock<types::Subscription>,
}

impl Blueprint {
    /// Instantiates and configures.
    pub(crate) fn build(&self, limit: Duration) -> Result<Instance, FailureCause> {
        let state = State::new(Arc::clone(&self.surroundings), self.memory);
        let program = self.component.program();
        let mut instance = Instance::new(&program, state, limit)
            .map_err(|error| FailureCause::from_engine(&error, limit, program.tier))?;
        let asked = instance.configure(limit, &self.catalogue)?;
        if *self.asked.get_or_init(|| asked.clone()) != asked {
            return Err(FailureCause::Unavailable(
                "`configure` answered differently in another instance; it must depend on its argument alone".to_owned(),
            ));
        }
        Ok(instance)
    }
}
