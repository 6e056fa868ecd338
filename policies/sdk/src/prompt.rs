//! The prompt. A policy that calls this asks for it, and the configuration must grant it.

use crate::host;

/// Bytes of the text parts of all messages, joined by newlines.
pub fn length() -> usize {
    host::prompt::length() as usize
}

/// At most `max_bytes` from byte `start` on, cut at character boundaries.
pub fn text(start: usize, max_bytes: usize) -> String {
    host::prompt::text(start as u32, max_bytes as u32)
}

/// The whole prompt, or as much of its beginning as `max_bytes` holds.
pub fn beginning(max_bytes: usize) -> String {
    text(0, max_bytes)
}
