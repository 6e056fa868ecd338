//! What a client says about caching: `Cache-Control` of the request.

use std::time::Duration;

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// The directives that a gateway can keep to; others do not concern it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// A kept answer will not do. The new one may be kept.
    pub(super) no_cache: bool,
    /// The answer must not be kept. One that is there already will do.
    pub(super) no_store: bool,
    /// An answer that is older will not do.
    pub(super) max_age: Option<Duration>,
}

impl Directives {
    /// Reads a request's headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in values.flat_map(|value| value.split(',')).map(str::trim) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            if name.eq_ignore_ascii_case("no-cache") {
                directives.no_cache = true;
            } else if name.eq_ignore_ascii_case("no-store") {
                directives.no_store = true;
            } else if name.eq_ignore_ascii_case("max-age")
                && let Ok(seconds) = argument.trim_matches('"').parse()
            {
                directives.max_age = Some(Duration::from_secs(seconds));
            }
        }
        directives
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&'static str]) -> Directives {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
        }
        Directives::of(&headers)
    }

    #[test]
    fn directives_are_found_in_any_case_and_in_any_header() {
        let none = Directives::default();
        assert_eq!(read(&[]), none);
        assert_eq!(read(&["No-Cache"]), Directives { no_cache: true, ..none });
        assert_eq!(read(&["no-transform, no-store"]), Directives { no_store: true, ..none });
        assert_eq!(read(&["no-store", "no-cache"]), Directives { no_cache: true, no_store: true, ..none });
        assert_eq!(read(&["max-age=60"]), Directives { max_age: Some(Duration::from_secs(60)), ..none });
        assert_eq!(read(&["MAX-AGE=\"0\""]), Directives { max_age: Some(Duration::ZERO), ..none });
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        assert_eq!(read(&["max-age=soon", "no-cache-please", "only-if-cached", ""]), Directives::default());
    }
}
