//! Which headers travel through the gateway, and which do not.
//!
//! Towards a provider all of the client's headers go, so that what we do not know works, except those that mean
//! something only on the client's own connection, and its credentials: they are for us. Towards the client only
//! headers go that say something about the answer.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Adds the client's headers that a provider may see.
pub(super) fn forward(client: &HeaderMap, to: &mut HeaderMap) {
    let named = client.get(header::CONNECTION).map(HeaderValue::as_bytes).unwrap_or_default();
    for (name, value) in client {
        if may_leave(name) && !is_named(named, name) {
            to.append(name, value.clone());
        }
    }
}

/// The upstream's headers that a client may see, in place of all of them.
pub(super) fn relayed(upstream: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(4);
    for (name, value) in upstream {
        if may_return(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// All of the upstream's headers but those of its own connection, and those that would speak for the gateway.
pub(super) fn all_relayed(upstream: &HeaderMap) -> HeaderMap {
    let named = upstream.get(header::CONNECTION).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut kept = HeaderMap::with_capacity(upstream.len());
    for (name, value) in upstream {
        let dropped =
            DROPPED.contains(&name.as_str()) || DROPPED_WITH.iter().any(|with| name.as_str().starts_with(with));
        if !dropped && !is_named(named, name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Those of them that go with an error: what the gateway says itself comes in its place.
pub(super) fn relayed_with_error(upstream: &HeaderMap) -> Option<Box<HeaderMap>> {
    let mut kept = relayed(upstream);
    for ours in OURS {
        kept.remove(ours);
    }
    (!kept.is_empty()).then(|| Box::new(kept))
}

fn may_leave(name: &HeaderName) -> bool {
    let name = name.as_str();
    let kept_back = matches!(
        name,
        // the connection's
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade"
            | "expect" | "host" | "content-length" | "http2-settings"
            // credentials, for us; and whose they are, which our own key contradicts
            | "authorization" | "proxy-authorization" | "proxy-authenticate" | "x-api-key" | "api-key"
            | "x-goog-api-key" | "cookie" | "openai-organization" | "openai-project"
            // ours to say
            | "accept" | "accept-encoding" | "content-type" | "content-encoding"
            // about the client
            | "forwarded" | "via" | "x-real-ip" | "origin" | "referer"
    );
    !kept_back && !KEPT_BACK.iter().any(|prefix| name.starts_with(prefix))
}

fn may_return(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "content-type" | "content-disposition" | "content-language" | "retry-after" | "retry-after-ms" | "x-request-id"
    ) || RETURNED.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether `Connection` names the header, which makes it the connection's.
fn is_named(connection: &[u8], name: &HeaderName) -> bool {
    connection
        .split(|byte| *byte == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// Of the client's headers, those that say what its body is and what it takes: ours where we write or read it.
pub(super) const OF_THE_BODY: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_ENCODING, header::CONTENT_TYPE, header::CONTENT_ENCODING];
const DROPPED: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "set-cookie",
    "alt-svc",
    "strict-transport-security",
    "server",
];
const DROPPED_WITH: [&str; 3] = ["access-control-", "x-witgate-", "cf-"];
const KEPT_BACK: [&str; 4] = ["x-witgate-", "x-forwarded-", "sec-", "cf-"];
const OURS: [&str; 6] =
    ["content-type", "content-disposition", "content-language", "retry-after", "retry-after-ms", "x-request-id"];
const RETURNED: [&str; 3] = ["openai-", "x-ratelimit-", "anthropic-"];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn headers(names: &[&str]) -> HeaderMap {
        names.iter().map(|name| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_static("v"))).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn unknown_headers_reach_the_provider_and_credentials_do_not() {
        let kept = ["user-agent", "x-stainless-lang", "idempotency-key", "openai-beta", "traceparent", "x-session-id"];
        let kept_back = [
            "authorization",
            "x-api-key",
            "api-key",
            "cookie",
            "host",
            "content-length",
            "accept-encoding",
            "transfer-encoding",
            "openai-organization",
            "x-witgate-route",
            "x-forwarded-for",
            "sec-fetch-mode",
        ];
        let mut to = HeaderMap::new();
        forward(&headers(&[&kept[..], &kept_back[..]].concat()), &mut to);
        assert_eq!(names(&to), kept);
    }

    #[test]
    fn what_connection_names_stays_on_the_connection() {
        let mut client = headers(&["x-hop", "x-end"]);
        client.insert(header::CONNECTION, HeaderValue::from_static("close, X-Hop"));
        let mut to = HeaderMap::new();
        forward(&client, &mut to);
        assert_eq!(names(&to), ["x-end"]);
    }

    #[test]
    fn a_client_sees_what_is_about_the_answer() {
        let kept = ["content-type", "x-request-id", "openai-processing-ms", "x-ratelimit-reset-tokens", "retry-after"];
        let dropped = ["set-cookie", "server", "connection", "content-length", "transfer-encoding", "content-encoding"];
        assert_eq!(names(&relayed(&headers(&[&kept[..], &dropped[..]].concat()))), kept);
    }

    #[test]
    fn with_an_error_go_rate_limits_and_what_the_gateway_does_not_say_itself() {
        let sent =
            headers(&["x-ratelimit-reset-tokens", "retry-after", "content-type", "x-request-id", "openai-version"]);
        let kept = relayed_with_error(&sent).unwrap();
        assert_eq!(names(&kept).len(), 2);
        assert!(kept.contains_key("x-ratelimit-reset-tokens") && kept.contains_key("openai-version"));
        assert_eq!(relayed_with_error(&headers(&["retry-after", "server"])), None);
    }
}
