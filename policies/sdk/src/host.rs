//! The imports: the real host within a component, one in memory elsewhere.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::{cells, headers, log, names, prompt};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::{cells, headers, log, names, prompt};
