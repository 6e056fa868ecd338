//! Whether a page in a browser may read an answer (CORS): off, unless `server.cors` names origins.
//!
//! Answers never allow credentials in the browser's sense, which are cookies: a key in `Authorization` is the page's
//! own to send. So `*` lets a page do what any program on that machine could do.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};
use witgate_core::config::Cors;

/// What an answer tells the browser.
pub struct Sharing {
    /// `None` where the page may not read it.
    origin: Option<HeaderValue>,
}

impl Sharing {
    /// For the answer to a request with these headers; `None` where no origins are configured.
    pub fn of(cors: Option<&Cors>, request: &HeaderMap) -> Option<Self> {
        let origin = match (cors?, request.get(ORIGIN)) {
            (_, None) => None,
            (Cors::Any, Some(_)) => Some(EVERYBODY),
            (Cors::Origins(known), Some(asks)) => {
                known.iter().any(|known| known.as_bytes() == asks.as_bytes()).then(|| asks.clone())
            }
        };
        Some(Self { origin })
    }

    /// Lets the page read the answer, the receipt in its headers included.
    pub fn write(&self, answer: &mut HeaderMap) {
        // Whatever keeps the answer must not show it to another origin.
        answer.append(VARY, VARIES);
        if let Some(origin) = &self.origin {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// Lets the page ask, with any of these methods and with the headers that it wants to send.
    pub fn write_preflight(&self, request: &HeaderMap, methods: &'static str, answer: &mut HeaderMap) {
        if self.origin.is_none() || !request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        // Named, because `*` does not stand for `authorization`.
        if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

const EVERYBODY: HeaderValue = HeaderValue::from_static("*");
const VARIES: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");
/// All but `Authorization`: the request's id, the receipt, rate limits, times.
const EXPOSED: HeaderValue = HeaderValue::from_static("*");
/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cors: Option<&Cors>, origin: Option<&'static str>) -> Vec<(String, String)> {
        let request = origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))).into_iter().collect();
        let mut answer = HeaderMap::new();
        if let Some(sharing) = Sharing::of(cors, &request) {
            sharing.write(&mut answer);
        }
        let text = |value: &HeaderValue| value.to_str().expect("visible ASCII").to_owned();
        answer
            .iter()
            .filter(|(name, _)| *name == ACCESS_CONTROL_ALLOW_ORIGIN || *name == VARY)
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    fn expected(origin: Option<&str>) -> Vec<(String, String)> {
        let vary =
            ("vary".to_owned(), "origin, access-control-request-method, access-control-request-headers".to_owned());
        let origin = origin.map(|origin| ("access-control-allow-origin".to_owned(), origin.to_owned()));
        [vary].into_iter().chain(origin).collect()
    }

    #[test]
    fn only_a_configured_origin_may_read() {
        let two = Cors::Origins(vec!["https://a.example".into(), "http://localhost:3000".into()]);
        assert_eq!(told(Some(&two), Some("https://a.example")), expected(Some("https://a.example")));
        assert_eq!(told(Some(&two), Some("http://localhost:3000")), expected(Some("http://localhost:3000")));
        for other in
            ["https://b.example", "http://a.example", "https://a.example:444", "https://a.example.evil", "null"]
        {
            assert_eq!(told(Some(&two), Some(other)), expected(None), "{other}");
        }
        assert_eq!(told(Some(&two), None), expected(None));
        assert_eq!(told(Some(&Cors::Any), Some("https://b.example")), expected(Some("*")));
        assert_eq!(told(None, Some("https://a.example")), []);
    }
}
