//! Lines that go on as they came.

use super::downstream::{error, error_line};
use crate::dialect::StreamTranslator;
use crate::openai::UpstreamError;
use crate::sse;

/// For a client that speaks Ollama's dialect, at a provider that does too: the events that the lines were cut into
/// become lines again.
#[derive(Debug, Default)]
pub struct ToOwnLines;

impl StreamTranslator for ToOwnLines {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if let Some(data) = sse::data(event) {
            out.extend_from_slice(&data);
            out.push(b'\n');
        }
    }

    /// The last line is the upstream's.
    fn end(&mut self, _out: &mut Vec<u8>) {}

    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>) {
        out.extend_from_slice(&error_line(&error(told)));
    }
}
