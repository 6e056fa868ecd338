//! placeholder
mod model;
pub use model::*;
/// Placeholder.
#[derive(Clone, Debug)]
pub struct Secret(String);
