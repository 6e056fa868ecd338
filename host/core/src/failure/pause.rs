//! How long an upstream wants to be left alone, in any of the ways in which upstreams say so.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

/// The longest pause that is believed: beyond it, a wrong clock or a wrong unit is likelier.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// In order of precision: `retry-after-ms`, `retry-after` as seconds or as a date, then for a 429 what resets the
/// exhausted limit, then what the body says.
pub(super) fn asked_for(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Option<Duration> {
    let wait = from_headers(headers, now)
        .or_else(|| if status == StatusCode::TOO_MANY_REQUESTS { reset(headers, now) } else { None })
        .or_else(|| said_in(body))?;
    Some(wait.min(LONGEST_PAUSE))
}

fn from_headers(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return seconds(millis, 1000.0);
    }
    let text = text("retry-after")?;
    if let Ok(number) = text.parse() {
        return seconds(number, 1.0);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Of the limits of which nothing remains, the last to be reset: `x-ratelimit-reset-requests` and its like, or the one
/// `x-ratelimit-reset` there is.
fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let resets = headers.iter().filter_map(|(name, value)| {
        let limit = name.as_str().strip_prefix("x-ratelimit-reset")?;
        let left = headers.get(format!("x-ratelimit-remaining{limit}")).and_then(|left| left.to_str().ok());
        let exhausted = left.is_none_or(|left| left.trim() == "0");
        let text = value.to_str().ok().filter(|_| exhausted)?.trim();
        since_the_epoch(text, now).or_else(|| spoken(text))
    });
    resets.max()
}

/// OpenRouter and others say when instead of for how long: no pause is a year long.
fn since_the_epoch(text: &str, now: SystemTime) -> Option<Duration> {
    let number: f64 = text.parse().ok().filter(|number| *number > A_YEAR)?;
    let units_a_second = if number > A_YEAR * 1000.0 { 1000.0 } else { 1.0 };
    let then = SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(number / units_a_second).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

/// Google's `"retryDelay": "34s"`, OpenAI's "Please try again in 1.2s", Azure's "Please retry after 7 seconds".
pub(super) fn said_in(body: &[u8]) -> Option<Duration> {
    let text = str::from_utf8(body.get(..body.len().min(READ))?).ok()?;
    MARKS.into_iter().find_map(|mark| {
        let after = &text[text.find(mark)? + mark.len()..];
        let start = after.find(|c: char| c.is_ascii_digit()).filter(|start| *start <= 5)?;
        let end = after[start..].find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(after.len() - start);
        let (said, rest) = after[start..].split_at(end);
        let unit = if rest.starts_with(" milliseconds") || rest.starts_with(" ms") { "ms" } else { "" };
        spoken(&format!("{}{unit}", said.trim_end_matches('.')))
    })
}

/// A duration such as `6m0s`, `1.5s` or `20ms`; a bare number is seconds.
fn spoken(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let number: f64 = number.parse().ok()?;
        total += match unit {
            "d" => seconds(number * 86_400.0, 1.0),
            "h" => seconds(number * 3600.0, 1.0),
            "m" => seconds(number * 60.0, 1.0),
            "s" | "" => seconds(number, 1.0),
            "ms" => seconds(number, 1000.0),
            _ => None,
        }?;
        rest = tail;
    }
    Some(total)
}

fn seconds(number: f64, units_a_second: f64) -> Option<Duration> {
    let seconds = number / units_a_second;
    // Clamped here too, because adding up must not overflow. NaN and what is below 0 is no wait.
    if seconds > LONGEST_PAUSE.as_secs_f64() { Some(LONGEST_PAUSE) } else { Duration::try_from_secs_f64(seconds).ok() }
}

/// What stands before a pause in a body.
const MARKS: [&str; 4] = ["\"retryDelay\"", "try again in ", "retry after ", "retry in "];
/// Seconds; also a count of milliseconds that is no date yet.
const A_YEAR: f64 = 366.0 * 86_400.0;
/// Bytes of a body that are looked through.
const READ: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn after(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Option<Duration> {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        asked_for(StatusCode::from_u16(status).unwrap_or_default(), &headers.collect(), body.as_bytes(), now)
    }

    fn millis(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn headers_say_it_in_three_ways() {
        assert_eq!(after(429, &[("retry-after-ms", "1500"), ("retry-after", "9")], ""), millis(1500));
        assert_eq!(after(503, &[("retry-after", "2.5")], ""), millis(2500));
        assert_eq!(after(503, &[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], ""), millis(60_000));
        assert_eq!(after(503, &[("retry-after", "Sun, 06 Nov 1994 08:48:37 GMT")], ""), millis(0));
        assert_eq!(after(503, &[("retry-after", "soon")], ""), None);
        assert_eq!(after(503, &[("retry-after", "-1")], ""), None);
        assert_eq!(after(503, &[("retry-after", "NaN")], ""), None);
        assert_eq!(after(503, &[], ""), None);
    }

    #[test]
    fn a_wait_is_at_most_a_day() {
        assert_eq!(after(429, &[("retry-after", "86399")], ""), millis(86_399_000));
        assert_eq!(after(429, &[("retry-after", "86401")], ""), Some(LONGEST_PAUSE));
        assert_eq!(after(429, &[("retry-after", "1e300")], ""), Some(LONGEST_PAUSE));
        assert_eq!(after(429, &[("x-ratelimit-reset-requests", "9000d9000d")], ""), Some(LONGEST_PAUSE));
    }

    #[test]
    fn the_exhausted_limit_counts() {
        let both = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-remaining-tokens", "17"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        assert_eq!(after(429, &both, ""), millis(120));
        assert_eq!(after(503, &both, ""), None);
        assert_eq!(after(429, &both[3..], ""), millis(360_000));
        assert_eq!(after(429, &[("x-ratelimit-reset-tokens", "x")], ""), None);
        let azure = [("x-ratelimit-remaining-tokens-minute", "0"), ("x-ratelimit-reset-tokens-minute", "9")];
        assert_eq!(after(429, &azure, ""), millis(9000));
    }

    #[test]
    fn a_reset_may_be_a_moment() {
        assert_eq!(after(429, &[("x-ratelimit-reset", "12")], ""), millis(12_000));
        assert_eq!(after(429, &[("x-ratelimit-reset", "784111787")], ""), millis(10_000));
        assert_eq!(after(429, &[("x-ratelimit-reset", "784111787000")], ""), millis(10_000));
        assert_eq!(after(429, &[("x-ratelimit-reset", "784111767")], ""), millis(0));
    }

    #[test]
    fn bodies_say_it_too() {
        let google = r#"{"error":{"details":[{"@type":"x","retryDelay": "34s"}]}}"#;
        assert_eq!(after(429, &[], google), millis(34_000));
        let openai = r#"{"error":{"message":"Rate limit reached. Please try again in 1m2.5s. Visit 3 pages."}}"#;
        assert_eq!(after(429, &[], openai), millis(62_500));
        assert_eq!(after(429, &[], "Please try again in a while, 5 people wait."), None);
        assert_eq!(after(429, &[], "try again in 3 seconds"), millis(3000));
        assert_eq!(after(429, &[], "try again in 250 milliseconds"), millis(250));
        assert_eq!(after(429, &[], "Please retry after 7 seconds."), millis(7000));
        assert_eq!(after(429, &[], "Please retry in 34.07s."), millis(34_070));
    }
}
