//! Texts behind the interned numbers that arrive as facts. An unknown number gives the empty string.

use crate::host;

/// Of the fact `tenant`.
pub fn tenant(id: f64) -> String {
    host::names::tenant(id as u32)
}

/// A label that the operator gave the tenant's key.
pub fn tenant_label(id: f64, key: &str) -> Option<String> {
    host::names::tenant_label(id as u32, key)
}

/// Of the fact `route`.
pub fn route(id: f64) -> String {
    host::names::route(id as u32)
}

/// Of the fact `model`: the name that the client asked for.
pub fn model(id: f64) -> String {
    host::names::model(id as u32)
}
