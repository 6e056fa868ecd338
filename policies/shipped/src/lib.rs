//! The policies that come with the gateway, as components.
//!
//! They are embedded, so that a bare binary routes; a file of the same name in the policy folder is used instead.

/// A policy that comes with the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// What a configuration calls it.
    pub name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

/// All of them, none twice.
pub static ALL: &[Shipped] = include!(concat!(env!("OUT_DIR"), "/policies.rs"));

/// The policy of this name.
pub fn find(name: &str) -> Option<&'static Shipped> {
    ALL.iter().find(|policy| policy.name == name)
}
