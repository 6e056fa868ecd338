//! How urgent a request is, and whether the gateway takes it now (`server.max_in_flight`).

use std::time::Instant;

use http::HeaderMap;
use witgate_core::admission::{Bounds, Priority};
use witgate_core::config::Server;

use crate::admission::{Permit, Visit};
use crate::api::error::{ApiError, Busy};
use crate::gateway::Gateway;

/// What the client says of the request, but no more than its key allows.
///
/// # Errors
/// When the header says something else.
pub fn priority(headers: &HeaderMap, highest: Priority) -> Result<Priority, ApiError> {
    let Some(sent) = headers.get(PRIORITY) else { return Ok(highest) };
    let named = sent.to_str().ok().and_then(Priority::from_name);
    let named = named.ok_or_else(|| ApiError::Header {
        name: PRIORITY,
        sent: String::from_utf8_lossy(sent.as_bytes()).into_owned(),
        takes: "`low`, `normal` or `high`",
    })?;
    Ok(named.min(highest))
}

/// Waits until the request may run; `None` where all may.
///
/// # Errors
/// When it may not, or not in time.
pub async fn enter(
    gateway: &Gateway,
    server: &Server,
    priority: Priority,
    started: Instant,
) -> Result<Option<Permit>, ApiError> {
    let Some(running) = server.max_in_flight else { return Ok(None) };
    let bounds = Bounds { running, waiting: server.queue.length };
    let entered = gateway.gate.enter(Visit { priority, bounds, patience: server.queue.timeout }).await;
    gateway.overload.waited(started.elapsed());
    entered.map(Some).map_err(|turned| {
        gateway.overload.turned(turned.away);
        ApiError::Busy(Busy::Queue(turned))
    })
}

const PRIORITY: &str = "x-witgate-priority";

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &'static str, highest: Priority) -> Result<Priority, String> {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static(PRIORITY), http::HeaderValue::from_static(value))]);
        priority(&headers, highest).map_err(|error| error.body().message.into_owned())
    }

    #[test]
    fn a_request_is_as_urgent_as_it_says_and_its_key_allows() {
        assert_eq!(priority(&HeaderMap::new(), Priority::Low).ok(), Some(Priority::Low));
        assert_eq!(said("low", Priority::High), Ok(Priority::Low));
        assert_eq!(said("high", Priority::High), Ok(Priority::High));
        assert_eq!(said("high", Priority::Normal), Ok(Priority::Normal));
        assert_eq!(
            said("urgent", Priority::High),
            Err("The header `x-witgate-priority` is 'urgent'; it takes `low`, `normal` or `high`.".to_owned())
        );
    }
}
