//! Two translations, one after the other, through the hub.

use super::StreamTranslator;
use crate::openai::UpstreamError;
use crate::sse::Splitter;

/// Makes the client's events out of chat completion chunks that are made out of an upstream's events.
pub struct Chain {
    /// From the upstream's events to chunks.
    to_chunks: Box<dyn StreamTranslator>,
    /// From chunks to the client's events.
    from_chunks: Box<dyn StreamTranslator>,
}

impl Chain {
    /// Through both.
    pub fn new(to_chunks: Box<dyn StreamTranslator>, from_chunks: Box<dyn StreamTranslator>) -> Self {
        Self { to_chunks, from_chunks }
    }

    fn pass(&mut self, chunks: Vec<u8>, out: &mut Vec<u8>) {
        // Whole events, as large as they are: their size was limited when they came.
        let mut splitter = Splitter::new(usize::MAX);
        splitter.push(chunks.into());
        while let Ok(Some(chunk)) = splitter.next_event() {
            self.from_chunks.event(&chunk, out);
        }
    }
}

impl StreamTranslator for Chain {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let mut chunks = Vec::new();
        self.to_chunks.event(event, &mut chunks);
        self.pass(chunks, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let mut chunks = Vec::new();
        self.to_chunks.end(&mut chunks);
        self.pass(chunks, out);
        self.from_chunks.end(out);
    }

    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>) {
        self.from_chunks.fail(told, out);
    }
}
