//! Translation between API shapes, pure and loss-aware.
//!
//! OpenAI's chat completions are the hub: a dialect is translated to it and from it, never to another dialect. Each has
//! up to two sides, of four small files each (`request`, `response`, `stream`, `errors`): `upstream` for providers that
//! speak it, `downstream` for clients that do. A request whose two ends speak the same dialect never comes here.
//!
//! Nothing is lost in silence. A field is translated, forwarded as it came where the target may know it, or a loss;
//! and a loss is refused or told, as [`OnLoss`] says. Text of numbers is kept, since values are copied and not parsed.

pub mod anthropic;
mod chain;
mod chat;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod fixtures;
pub(crate) mod json;
mod loss;
pub mod ollama;
pub mod responses;
mod time;

pub use chain::Chain;
pub use chat::{CHAT_API, OutputLimit};
pub use loss::{Losses, OnLoss, Refusal};
pub use time::rfc3339;

use std::borrow::Cow;

use crate::openai::UpstreamError;
use crate::sse;

/// Whose shapes requests, answers, streams and errors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// OpenAI's: the hub.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Ollama's own.
    Ollama,
}

/// A request in another dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// JSON.
    pub body: String,
    /// What had to be left out: names of fields, none twice.
    pub dropped: Vec<String>,
}

/// Makes the client's events out of an upstream's.
///
/// What it is fed is whole server-sent events, as they are on the wire; what it gives is too.
pub trait StreamTranslator: Send {
    /// Adds to `out` what the client is to get for this event, which may be nothing.
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>);
    /// The upstream has ended; adds what is missing at the end. Adds nothing the second time.
    fn end(&mut self, out: &mut Vec<u8>);
    /// The upstream broke off; adds the event that tells why, unless the stream has ended.
    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>);
}

/// The data of an event. A comment keeps the connection alive on our other side too, so it goes on as it is.
fn data_or_comment<'a>(event: &'a [u8], out: &mut Vec<u8>) -> Option<Cow<'a, [u8]>> {
    let data = sse::data(event);
    if data.is_none() && event.starts_with(b":") {
        out.extend_from_slice(event);
    }
    data
}

/// Writes an event that has a name.
pub(crate) fn write_event(out: &mut Vec<u8>, name: &str, json: &str) {
    for piece in ["event: ", name, "\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    write_data(out, json);
}

/// Writes one event's data.
pub(crate) fn write_data(out: &mut Vec<u8>, json: &str) {
    for piece in ["data: ", json, "\n\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}
