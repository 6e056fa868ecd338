//! Policies that are good for nothing but tests, as components. Each one's source says what it does.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
