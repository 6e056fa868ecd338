//! Tells systemd (or whoever set `NOTIFY_SOCKET`) what the gateway is doing; without one, nothing happens.

use sd_notify::NotifyState;

/// Tells a state.
pub(super) fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}

/// A reload begins; it ends when [`NotifyState::Ready`] is told.
pub(super) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        // systemd believes a reload only with the time of its begin.
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the supervisor was not told of the reload"),
    }
}
