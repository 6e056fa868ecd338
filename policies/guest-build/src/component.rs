//! Wraps a core module into a component.

use wit_component::ComponentEncoder;

/// The component; its imports and exports are those that the module uses and carries the description of.
pub(crate) fn from_module(module: &[u8]) -> Result<Vec<u8>, String> {
    let encode = || ComponentEncoder::default().validate(true).module(module)?.encode();
    encode().map_err(|error| format!("{error:#}"))
}
