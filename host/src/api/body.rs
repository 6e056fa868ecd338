//! Reads a request's body: whole, below the limit, within the time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt;
use witgate_core::dialect::Speech;

use crate::admission::Held;
use crate::api::error::{ApiError, Busy};

/// Checks that the body is announced as JSON: a page in a browser cannot announce that to a gateway on its user's
/// machine without asking first. Ollama reads whatever comes, and its documentation's `curl -d` announces a form; such a
/// client is let in when it is no browser.
///
/// # Errors
/// When nothing or something else is announced.
pub fn check_content_type(headers: &HeaderMap, speech: Speech) -> Result<(), ApiError> {
    if speech == Speech::Ollama && !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let Some(sent) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else {
        return Err(ApiError::ContentType { sent: None });
    };
    let media_type = sent.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let (kind, suffix) = media_type.split_at(media_type.len().saturating_sub(b"+json".len()));
    let is_json = media_type.eq_ignore_ascii_case(b"application/json")
        || (kind.len() > b"application/".len() && suffix.eq_ignore_ascii_case(b"+json"));
    if is_json { Ok(()) } else { Err(ApiError::ContentType { sent: Some(String::from_utf8_lossy(sent).into_owned()) }) }
}

/// Collects the body. One frame, the usual case, is not copied. `held` counts what comes, as it comes: a length that is
/// only announced takes no memory.
///
/// # Errors
/// When it is too large, too slow, or breaks off, or the memory for bodies is used up.
pub async fn collect(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
    held: &mut Held,
) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::TooLarge { limit });
    }
    match tokio::time::timeout(patience, read(body, limit, announced, held)).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::SlowBody),
    }
}

async fn read(mut body: Body, limit: usize, announced: Option<u64>, held: &mut Held) -> Result<Bytes, ApiError> {
    let Some(first) = next(&mut body, held).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(ApiError::TooLarge { limit });
    }
    if body.is_end_stream() || announced == Some(first.len() as u64) {
        return Ok(first);
    }
    // Room for what was announced, but no more than one step ahead of what has really come.
    let expected = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0).min(limit);
    let mut whole = BytesMut::with_capacity(expected.min(FIRST_ROOM).max(first.len()));
    whole.extend_from_slice(&first);
    while let Some(chunk) = next(&mut body, held).await? {
        if whole.len() + chunk.len() > limit {
            return Err(ApiError::TooLarge { limit });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

async fn next(body: &mut Body, held: &mut Held) -> Result<Option<Bytes>, ApiError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(ApiError::BrokenBody),
            Some(Ok(frame)) => {
                // Trailers mean nothing here.
                if let Ok(data) = frame.into_data() {
                    if !held.take(data.len()) {
                        return Err(ApiError::Busy(Busy::Memory));
                    }
                    return Ok(Some(data));
                }
            }
        }
    }
}

const FIRST_ROOM: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn announced(value: &'static str) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        check_content_type(&headers, Speech::OpenAi).map_err(|error| error.body().message.into_owned())
    }

    #[test]
    fn only_json_is_taken() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
            assert_eq!(announced(good), Ok(()));
        }
        for bad in ["text/plain", "application/jsonp", "+json", "application/x-www-form-urlencoded"] {
            let told = format!("Unsupported content type: '{bad}'. Send the header `Content-Type: application/json`.");
            assert_eq!(announced(bad), Err(told));
        }
        let none =
            check_content_type(&HeaderMap::new(), Speech::OpenAi).map_err(|error| error.body().message.into_owned());
        assert_eq!(none, Err("No content type. Send the header `Content-Type: application/json`.".into()));
    }

    #[test]
    fn a_client_of_ollama_s_may_announce_what_it_likes_unless_it_is_a_browser() {
        let mut headers = HeaderMap::new();
        assert!(check_content_type(&headers, Speech::Ollama).is_ok());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        assert!(check_content_type(&headers, Speech::Ollama).is_ok());
        headers.insert(ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(check_content_type(&headers, Speech::Ollama).is_err());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(check_content_type(&headers, Speech::Ollama).is_ok());
    }

    async fn read_chunks(chunks: Vec<&'static [u8]>, limit: usize) -> Result<Bytes, &'static str> {
        let stream = futures_util::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        let body = Body::from_stream(stream);
        let mut held = Held::new(&Arc::default(), 6);
        collect(&HeaderMap::new(), body, limit, Duration::from_secs(5), &mut held).await.map_err(|error| error.label())
    }

    #[tokio::test]
    async fn all_bodies_together_may_take_as_much_as_the_memory_for_them() {
        assert_eq!(read_chunks(vec![b"123", b"456"], 9).await, Ok(Bytes::from_static(b"123456")));
        assert_eq!(read_chunks(vec![b"123", b"456", b"7"], 9).await, Err("body-memory"));
    }

    #[tokio::test]
    async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
        assert_eq!(read_chunks(vec![b"12345"], 5).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(read_chunks(vec![b"123456"], 5).await, Err("too-large"));
        assert_eq!(read_chunks(vec![b"123", b"45"], 5).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(read_chunks(vec![b"123", b"456"], 5).await, Err("too-large"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let mut held = Held::new(&Arc::default(), 5);
        let result = collect(&HeaderMap::new(), body, 5, Duration::from_secs(30), &mut held).await;
        assert_eq!(result.map_err(|error| error.label()), Err("slow-body"));
    }
}
