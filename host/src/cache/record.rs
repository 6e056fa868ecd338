//! Records an answer while it is relayed, and keeps it only if it ended as an answer should.
//!
//! Not kept: another status than 200, more bytes than the limit, an answer that broke off or whose client went away,
//! and one that a limit or a filter ended (`finish_reason` is `length`, `content_filter`, or one that is not known;
//! in Anthropic's dialect `stop_reason`, in Ollama's `done_reason`; of a response the `status`).

use std::sync::Arc;

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};
use memchr::memmem;
use witgate_core::openai::Endpoint;

use super::Inner;
use super::entry::Entry;
use super::key::Key;
use crate::clock;

/// The place of an answer that is not there yet.
pub struct Slot {
    pub(super) cache: Arc<Inner>,
    pub(super) key: Key,
    pub(super) ttl: std::time::Duration,
    pub(super) endpoint: Endpoint,
}

/// An answer that is being relayed. Dropped before [`Recording::finish`], it is not kept.
pub struct Recording {
    slot: Slot,
    headers: HeaderMap,
    deployment: Box<str>,
    /// A copy: a piece of the upstream's buffer would keep all of the buffer alive.
    body: Body,
}

enum Body {
    Growing(BytesMut),
    TooLarge,
    Finished,
}

impl Slot {
    /// Begins to record; `None` for an answer that is not kept.
    pub fn record(self, status: StatusCode, headers: &HeaderMap, deployment: &str) -> Option<Recording> {
        if status != StatusCode::OK {
            self.cache.metrics.not_kept.inc();
            return None;
        }
        Some(Recording {
            headers: headers.clone(),
            deployment: deployment.into(),
            body: Body::Growing(BytesMut::new()),
            slot: self,
        })
    }
}

impl Recording {
    /// The next piece went to the client.
    pub fn push(&mut self, piece: &[u8]) {
        let Body::Growing(body) = &mut self.body else { return };
        if body.len() + piece.len() > self.slot.cache.largest {
            self.body = Body::TooLarge;
            self.slot.cache.metrics.too_large.inc();
            return;
        }
        body.extend_from_slice(piece);
    }

    /// The answer has ended properly: keeps it, unless a limit or a filter ended it.
    pub fn finish(mut self) {
        let Body::Growing(body) = std::mem::replace(&mut self.body, Body::Finished) else { return };
        let Slot { cache, key, ttl, endpoint } = &self.slot;
        if !ended_well(*endpoint, &body) {
            cache.metrics.not_kept.inc();
            return;
        }
        // Grown in steps, the buffer may be twice as large as its content.
        let body = bytes::Bytes::from(body.to_vec().into_boxed_slice());
        let entry = Entry::new(&self.headers, body, &self.deployment, *ttl, clock::wall_ms() as u64);
        cache.store(*key, Arc::new(entry), *ttl);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        match self.body {
            Body::Growing(_) => self.slot.cache.metrics.not_kept.inc(),
            Body::TooLarge | Body::Finished => {}
        }
    }
}

/// Whether every choice ended by itself. The name with its quotes cannot be part of a JSON string, where a quote is
/// escaped.
fn ended_well(endpoint: Endpoint, body: &[u8]) -> bool {
    let (key, good) = match endpoint {
        Endpoint::Messages | Endpoint::CountTokens => (STOP_REASON, &GOOD_STOPS[..]),
        Endpoint::Responses => (STATUS, &GOOD_STATUS[..]),
        Endpoint::OllamaChat | Endpoint::OllamaGenerate | Endpoint::OllamaEmbed => (DONE_REASON, &GOOD_ENDS[..]),
        _ => (FINISH_REASON, &GOOD_REASONS[..]),
    };
    let mut ended = !endpoint.streams();
    for place in memmem::find_iter(body, key) {
        let rest = body[place + key.len()..].trim_ascii_start();
        // The end of a text that happens to end so.
        let Some(rest) = rest.strip_prefix(b":") else { continue };
        let value = rest.trim_ascii_start();
        // Not yet, or the name of something else in a schema.
        if value.starts_with(b"null") || value.starts_with(IN_PROGRESS) || value.starts_with(b"{") {
            continue;
        }
        if !good.iter().any(|reason| value.starts_with(reason)) {
            return false;
        }
        ended = true;
    }
    ended
}

const FINISH_REASON: &[u8] = b"\"finish_reason\"";
const STOP_REASON: &[u8] = b"\"stop_reason\"";
const STATUS: &[u8] = b"\"status\"";
const IN_PROGRESS: &[u8] = b"\"in_progress\"";
const GOOD_STATUS: [&[u8]; 1] = [b"\"completed\""];
const DONE_REASON: &[u8] = b"\"done_reason\"";
const GOOD_ENDS: [&[u8]; 1] = [b"\"stop\""];
const GOOD_STOPS: [&[u8]; 3] = [b"\"end_turn\"", b"\"stop_sequence\"", b"\"tool_use\""];
const GOOD_REASONS: [&[u8]; 3] = [b"\"stop\"", b"\"tool_calls\"", b"\"function_call\""];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_ended_by_itself_is_kept() {
        let chat = |body: &str| ended_well(Endpoint::Chat, body.as_bytes());
        assert!(chat(r#"{"choices":[{"finish_reason":"stop"}]}"#));
        assert!(chat("{\"choices\":[{\"finish_reason\" :\n \"tool_calls\"}]}"));
        assert!(chat(
            "data: {\"choices\":[{\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n"
        ));
        assert!(!chat(r#"{"choices":[{"finish_reason":"length"}]}"#));
        assert!(!chat(r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"content_filter"}]}"#));
        assert!(!chat(r#"{"choices":[{"finish_reason":"abort"}]}"#));
        // A stream that never said that it ended, or no answer at all.
        assert!(!chat("data: {\"choices\":[{\"finish_reason\":null}]}\n\ndata: [DONE]\n\n"));
        assert!(!chat(r#"{"error":{"message":"no"}}"#));
    }

    #[test]
    fn what_the_model_says_about_finish_reasons_does_not_count() {
        let said = r#"{"choices":[{"message":{"content":"{\"finish_reason\":\"length\"}"},"finish_reason":"stop"}]}"#;
        assert!(ended_well(Endpoint::Chat, said.as_bytes()));
        let said = r#"{"choices":[{"text":"\"finish_reason","finish_reason":"stop"}]}"#;
        assert!(ended_well(Endpoint::Completions, said.as_bytes()));
    }

    #[test]
    fn ollama_s_answers_end_with_a_reason() {
        let chat = |body: &str| ended_well(Endpoint::OllamaChat, body.as_bytes());
        assert!(chat("{\"message\":{},\"done\":false}\n{\"done\":true,\"done_reason\":\"stop\"}\n"));
        assert!(!chat("{\"done\":true,\"done_reason\":\"length\"}\n"));
        assert!(!chat("{\"message\":{},\"done\":false}\n"));
        assert!(ended_well(Endpoint::OllamaEmbed, br#"{"embeddings":[[0.1]]}"#));
    }

    #[test]
    fn embeddings_have_no_reason_to_end() {
        assert!(ended_well(Endpoint::Embeddings, br#"{"data":[{"embedding":[0.1]}]}"#));
    }
}
