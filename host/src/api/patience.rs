//! How long a client waits, as its headers say. What is configured is the most that it can ask for.
//!
//! The SDKs of OpenAI say how long they wait for an answer to begin: after that they hang up, so trying on would be in
//! vain. What they say wrongly is passed over; our own headers are meant, so a mistake in them is an error.

use std::time::{Duration, Instant};

use http::HeaderMap;
use witgate_core::config::parse_duration;

use crate::api::error::ApiError;
use crate::upstream::Times;

/// What the headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// For the whole answer.
    pub total: Option<Duration>,
    /// Until the answer begins, whatever is tried for it.
    pub begin: Option<Duration>,
    /// For the steps of one attempt.
    pub times: Times,
}

impl Patience {
    /// Reads the headers.
    ///
    /// # Errors
    /// When one of ours is no duration above 0.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let own = |name: &'static str| {
            let Some(sent) = headers.get(name) else { return Ok(None) };
            let time = sent.to_str().ok().and_then(|text| seconds(text).or_else(|| parse_duration(text)));
            match time.filter(|time| !time.is_zero()) {
                Some(time) => Ok(Some(time)),
                None => {
                    let sent = String::from_utf8_lossy(sent.as_bytes()).into_owned();
                    Err(ApiError::Header { name, sent, takes: "seconds above 0, or a duration such as `30s`" })
                }
            }
        };
        let sdk = |name: &str| headers.get(name)?.to_str().ok().and_then(seconds).filter(|time| !time.is_zero());
        Ok(Self {
            total: own("x-witgate-timeout")?,
            begin: SDK_TIMEOUTS.iter().filter_map(|name| sdk(name)).min(),
            times: Times {
                first_byte: own("x-witgate-first-byte-timeout")?,
                first_token: own("x-witgate-first-token-timeout")?,
                idle: own("x-witgate-idle-timeout")?,
            },
        })
    }

    /// When the answer to a request that came at `started` must have begun, and when it must have ended.
    pub fn ends(&self, started: Instant, configured: Duration) -> (Instant, Instant) {
        let total = self.total.map_or(configured, |total| total.min(configured));
        let begin = self.begin.map_or(total, |begin| begin.min(total));
        (started + begin, started + total)
    }
}

/// A number of seconds, not more than anything is configured with.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|time| time.min(YEAR))
}

/// Of the Python and of the JavaScript SDK: seconds until the head of the answer, and in Python between its pieces.
const SDK_TIMEOUTS: [&str; 2] = ["x-stainless-read-timeout", "x-stainless-timeout"];
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn said(headers: &[(&'static str, &'static str)]) -> Result<Patience, String> {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Patience::of(&headers.iter().map(header).collect()).map_err(|error| error.body().message.into_owned())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_said_changes_nothing() {
        let started = Instant::now();
        let patience = said(&[]);
        assert_eq!(patience, Ok(Patience::default()));
        assert_eq!(Patience::default().ends(started, SECOND), (started + SECOND, started + SECOND));
    }

    #[test]
    fn seconds_and_durations_are_understood() {
        for (text, millis) in [("30", 30_000), ("0.25", 250), ("250ms", 250), ("1m30s", 90_000)] {
            let patience = said(&[("x-witgate-timeout", text)]);
            assert_eq!(patience.map(|patience| patience.total), Ok(Some(Duration::from_millis(millis))), "{text}");
        }
        let times = said(&[
            ("x-witgate-first-byte-timeout", "1"),
            ("x-witgate-first-token-timeout", "2"),
            ("x-witgate-idle-timeout", "3"),
        ]);
        let expected = Times { first_byte: Some(SECOND), first_token: Some(SECOND * 2), idle: Some(SECOND * 3) };
        assert_eq!(times.map(|patience| patience.times), Ok(expected));
    }

    #[test]
    fn a_client_may_ask_for_less_and_not_for_more() {
        let started = Instant::now();
        let ends = |header, value| {
            said(&[(header, value)]).map(|patience| {
                let (begin, end) = patience.ends(started, SECOND * 10);
                (begin - started, end - started)
            })
        };
        assert_eq!(ends("x-witgate-timeout", "3"), Ok((SECOND * 3, SECOND * 3)));
        assert_eq!(ends("x-witgate-timeout", "1h"), Ok((SECOND * 10, SECOND * 10)));
        assert_eq!(ends("x-stainless-timeout", "4"), Ok((SECOND * 4, SECOND * 10)));
        assert_eq!(ends("x-stainless-read-timeout", "4.0"), Ok((SECOND * 4, SECOND * 10)));
        assert_eq!(ends("x-stainless-timeout", "600"), Ok((SECOND * 10, SECOND * 10)));
        assert_eq!(ends("x-stainless-timeout", "1e300"), Ok((SECOND * 10, SECOND * 10)));
    }

    #[test]
    fn a_mistake_in_our_own_header_is_told_and_an_sdk_s_is_passed_over() {
        for sent in ["soon", "0", "0s", "-1", "nan", "inf"] {
            let told = format!(
                "The header `x-witgate-idle-timeout` is '{sent}'; it takes seconds above 0, or a duration such as `30s`."
            );
            assert_eq!(said(&[("x-witgate-idle-timeout", sent)]), Err(told));
            assert_eq!(said(&[("x-stainless-timeout", sent)]), Ok(Patience::default()));
        }
    }
}
