//! Policies in every language, in the real engine: see `tests/languages`.
