//! Request headers. A policy that calls this asks for them, and the configuration must grant it.

use crate::host;

/// The header's first value, by its name in any case. Credentials are never given.
pub fn value(name: &str) -> Option<String> {
    host::headers::value(name)
}
