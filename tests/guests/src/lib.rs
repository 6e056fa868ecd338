//! Policies that are good for nothing but tests, as components. The source of each, under `tests/fixtures`, says what it
//! does.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
