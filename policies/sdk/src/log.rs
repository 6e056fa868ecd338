//! Messages for the operator, under the policy's name. Lines are cut at 1 KiB, and a policy that writes more than its
//! rate has the rest dropped and counted.

use crate::bindings::imports::log::Level;
use crate::host;

/// Of use while a policy is written.
pub fn debug(text: &str) {
    host::log::write(Level::Debug, text);
}

/// Worth knowing.
pub fn info(text: &str) {
    host::log::write(Level::Info, text);
}

/// Something is wrong, and the policy goes on.
pub fn warn(text: &str) {
    host::log::write(Level::Warn, text);
}

/// Something is wrong that an operator must mend.
pub fn problem(text: &str) {
    host::log::write(Level::Problem, text);
}

/// Writes the message of a panic to the log before it traps. To be called in
/// [`configure`](crate::Policy::configure); it adds about 20 KB to the policy.
pub fn panics() {
    std::panic::set_hook(Box::new(|panic| problem(&panic.to_string())));
}
