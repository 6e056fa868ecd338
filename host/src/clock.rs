//! The process's clocks, in one place: the pure crates take time as an argument.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use witgate_core::live::Millis;

/// Milliseconds since the process first asked, on the monotonic clock.
pub fn monotonic() -> Millis {
    let start = START.get_or_init(Instant::now);
    Millis(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970-01-01 UTC; 0 on a machine whose clock is before that.
pub fn wall_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1000.0)
}

static START: OnceLock<Instant> = OnceLock::new();
