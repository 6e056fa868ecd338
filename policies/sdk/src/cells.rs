//! Numbers that outlive a call and an instance, held by the host and answered from memory.

use crate::host;

pub use crate::bindings::imports::cells::{Merge, Scope};

/// A table of numbers, all 0 at first, shared by every instance of this policy with these settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    number: u32,
}

impl Table {
    /// The table of this name, made when there is none, for the instances in this gateway. Open tables in
    /// [`configure`](crate::Policy::configure): by default at most 16, and 65,536 cells in all.
    ///
    /// # Errors
    /// When a bound is passed, or the name is taken by a table of another width.
    pub fn open(name: &str, width: usize) -> Result<Self, String> {
        Self::open_with(name, width, Scope::Process, Merge::Newest)
    }

    /// The same for all gateways of the fleet, whose values are merged in the background.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where the gateway has no shared store or does not grant `fleet-cells`.
    pub fn open_shared(name: &str, width: usize, merge: Merge) -> Result<Self, String> {
        Self::open_with(name, width, Scope::Fleet, merge)
    }

    fn open_with(name: &str, width: usize, scope: Scope, merge: Merge) -> Result<Self, String> {
        let width = u32::try_from(width).map_err(|_| format!("table `{name}`: a width of {width} is too large"))?;
        host::cells::open(name, width, scope, merge).map(|number| Self { number })
    }

    /// The value of a cell. An index at or beyond the width traps.
    pub fn load(self, index: usize) -> f64 {
        host::cells::load(self.number, index as u32)
    }

    /// The values of these cells, in their order, in one call.
    pub fn load_each(self, indexes: impl IntoIterator<Item = usize>) -> Vec<f64> {
        let indexes: Vec<u32> = indexes.into_iter().map(|index| index as u32).collect();
        host::cells::load_each(self.number, &indexes)
    }

    /// Sets a cell. A value that is not finite traps.
    pub fn store(self, index: usize, value: f64) {
        host::cells::store(self.number, index as u32, value);
    }

    /// Adds, and gives the new value, in one step.
    pub fn add(self, index: usize, delta: f64) -> f64 {
        host::cells::add(self.number, index as u32, delta)
    }

    /// Sets a cell if it holds `expected`; says whether it did.
    pub fn swap_if(self, index: usize, expected: f64, value: f64) -> bool {
        host::cells::swap_if(self.number, index as u32, expected, value)
    }
}
