//! Keeps count of a stream's events: tokens, how it ended, whether it reports an error. Reads OpenAI's chunks, the
//! events of its Responses, Anthropic's, and Ollama's lines.

use super::json::{Kind, Scanner, SyntaxError};
use super::usage::{Usage, read_timings, read_usage, store};
use crate::sse;

/// What has gone by of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    usage: Option<Usage>,
    timings: Option<Usage>,
    content_events: u32,
    choices: Choices,
    done: bool,
    failed: bool,
    /// Of the events of a response, the next one's number.
    sequence: u64,
}

/// What one event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No data: a comment, blank lines, an empty `data`, a name or an id alone.
    Nothing,
    /// Anthropic's `ping`: data that says nothing of the answer.
    Ping,
    /// Data.
    Chunk,
    /// `[DONE]`, Anthropic's `message_stop`, or the event that ends a response.
    Done,
    /// Data with an error in it.
    Error,
    /// Data that is no JSON object, on which every SDK would break.
    Garbage,
}

impl Tally {
    /// Counts one event, as it is on the wire.
    pub fn see(&mut self, event: &[u8]) -> Seen {
        let Some(data) = sse::data(event).filter(|data| !data.trim_ascii().is_empty()) else { return Seen::Nothing };
        if data.starts_with(b"[DONE]") {
            self.done = true;
            return Seen::Done;
        }
        let mut chunk = Chunk { failed: sse::is_named(event, b"error"), ..Chunk::default() };
        // What was read before the place at which it stops being JSON counts.
        let sound = str::from_utf8(&data).is_ok_and(|text| chunk.read(&mut Scanner::new(text)).is_ok());
        self.usage = match (chunk.usage, self.usage) {
            (Some(now), Some(before)) => Some(now.over(before)),
            (now, before) => now.or(before),
        };
        self.timings = chunk.timings.or(self.timings);
        self.content_events = self.content_events.saturating_add(u32::from(chunk.content));
        self.choices.add(chunk.choices);
        self.sequence = chunk.sequence.map_or(self.sequence, |number| u64::from(number) + 1);
        self.failed |= chunk.failed;
        if chunk.counts != Usage::default() {
            self.usage = Some(chunk.counts);
        }
        self.done |= chunk.stopped || chunk.last;
        match (chunk.failed, chunk.stopped, chunk.ping) {
            (true, ..) => Seen::Error,
            _ if !sound => Seen::Garbage,
            (_, true, _) => Seen::Done,
            (.., true) => Seen::Ping,
            _ => Seen::Chunk,
        }
    }

    /// As the upstream counts.
    pub fn usage(&self) -> Option<Usage> {
        self.usage.or(self.timings)
    }

    /// Events with text or tool calls in them: about the tokens of the answer, where there is no usage.
    pub fn content_events(&self) -> u32 {
        self.content_events
    }

    /// The number that the next event of a response would have.
    pub fn next_number(&self) -> u64 {
        self.sequence
    }

    /// Whether `[DONE]` has come.
    pub fn done(&self) -> bool {
        self.done
    }

    /// Whether an event reported an error.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Whether the answer may end here: it is done, or each choice that has begun has its `finish_reason`. Some servers
    /// close the stream without `[DONE]`.
    pub fn complete(&self) -> bool {
        self.done || self.choices.all_finished()
    }
}

/// Which choices have come, by index; from 63 on they share a bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Choices {
    begun: u64,
    finished: u64,
}

impl Choices {
    fn see(&mut self, index: u32, finished: bool) {
        let bit = 1 << index.min(63);
        self.begun |= bit;
        self.finished |= if finished { bit } else { 0 };
    }

    fn add(&mut self, other: Self) {
        self.begun |= other.begun;
        self.finished |= other.finished;
    }

    fn all_finished(self) -> bool {
        self.begun != 0 && self.begun == self.finished
    }
}

/// What is read of one event.
#[derive(Default)]
struct Chunk {
    usage: Option<Usage>,
    timings: Option<Usage>,
    content: bool,
    choices: Choices,
    failed: bool,
    stopped: bool,
    /// Ollama's last line, which may have a text too.
    last: bool,
    /// Ollama's counts, which stand beside the text.
    counts: Usage,
    ping: bool,
    sequence: Option<u32>,
}

impl Chunk {
    fn read(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        scanner.object(|inner, key| match (key.raw, inner.kind()?) {
            ("choices", Kind::Array) => inner.array(|choice| self.choice(choice)),
            ("type", Kind::String) => {
                let name = inner.string()?.raw;
                self.stopped = matches!(name, "message_stop" | "response.completed" | "response.incomplete");
                self.failed |= matches!(name, "error" | "response.failed");
                self.ping = name == "ping";
                Ok(())
            }
            // Groq has the usage in a field of its own, although nobody asked for it.
            ("message" | "response" | "x_groq", Kind::Object) => self.message(inner),
            ("sequence_number", Kind::Number) => {
                self.sequence = inner.raw()?.parse().ok();
                Ok(())
            }
            // Of a response's text, reasoning, or arguments.
            ("delta", Kind::String) => self.text(inner),
            // The choice's is one level down.
            ("delta", Kind::Object) => self.event_delta(inner),
            ("usage", Kind::Object) => {
                self.usage = read_usage(inner)?;
                Ok(())
            }
            ("timings", Kind::Object) => {
                self.timings = read_timings(inner)?;
                Ok(())
            }
            ("error", kind) => {
                self.failed |= kind != Kind::Null;
                inner.skip()
            }
            ("done", Kind::Boolean) => {
                self.last = inner.raw()? == "true";
                Ok(())
            }
            ("response" | "thinking", Kind::String) => self.text(inner),
            ("prompt_eval_count", Kind::Number) => store(inner, &mut self.counts.prompt_tokens),
            ("eval_count", Kind::Number) => store(inner, &mut self.counts.completion_tokens),
            _ => inner.skip(),
        })
    }

    fn choice(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        if scanner.kind()? != Kind::Object {
            return scanner.skip();
        }
        let (mut index, mut finished) = (0, false);
        scanner.object(|inner, key| match (key.raw, inner.kind()?) {
            ("delta", Kind::Object) => self.delta(inner),
            ("text", Kind::String) => self.text(inner),
            ("index", Kind::Number) => {
                index = inner.raw()?.parse().unwrap_or(index);
                Ok(())
            }
            ("finish_reason", kind) => {
                finished = kind != Kind::Null;
                inner.skip()
            }
            _ => inner.skip(),
        })?;
        self.choices.see(index, finished);
        Ok(())
    }

    fn delta(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        scanner.object(|inner, key| match (key.raw, inner.kind()?) {
            ("role", _) => inner.skip(),
            (_, Kind::String) => self.text(inner),
            (_, Kind::Array | Kind::Object) => {
                self.content |= inner.raw()?.len() > "[]".len();
                Ok(())
            }
            (_, Kind::Null | Kind::Boolean | Kind::Number) => inner.skip(),
        })
    }

    /// Something with a usage in it: the message of Anthropic's `message_start`, a whole response; or a piece of Ollama's
    /// answer.
    fn message(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        scanner.object(|inner, key| match (key.raw, inner.kind()?) {
            ("content" | "thinking", Kind::String) => self.text(inner),
            ("tool_calls", Kind::Array) => {
                self.content |= inner.raw()?.len() > "[]".len();
                Ok(())
            }
            ("usage", Kind::Object) => {
                self.usage = read_usage(inner)?;
                Ok(())
            }
            _ => inner.skip(),
        })
    }

    /// Of Anthropic's `content_block_delta` or `message_delta`.
    fn event_delta(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        scanner.object(|inner, key| match (key.raw, inner.kind()?) {
            ("text" | "thinking" | "partial_json", Kind::String) => self.text(inner),
            ("stop_reason", kind) => {
                // A message is one choice.
                self.choices.see(0, kind != Kind::Null);
                inner.skip()
            }
            _ => inner.skip(),
        })
    }

    fn text(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        self.content |= !scanner.string()?.raw.is_empty();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(events: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for event in events {
            tally.see(event.as_bytes());
        }
        tally
    }

    #[test]
    fn a_stream_of_llama_cpp_is_counted() {
        let seen = tally(&[
            "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n",
            "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n",
            ": still there\n",
            "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n",
        ]);
        assert_eq!((seen.content_events(), seen.complete(), seen.usage()), (2, false, None));
        let seen = tally(&[
            "data: {\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"timings\":{\"cache_n\":4,\"prompt_n\":1,\"predicted_n\":3}}\n\n",
        ]);
        let usage =
            Usage { prompt_tokens: Some(5), completion_tokens: Some(3), cached_tokens: Some(4), ..Usage::default() };
        assert_eq!((seen.complete(), seen.done(), seen.usage()), (true, false, Some(usage)));
    }

    #[test]
    fn groq_s_usage_is_read_where_it_comes_unasked() {
        let seen = tally(&[
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"x_groq\":{\"id\":\"req_1\"}}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"req_1\",\"usage\":{\"queue_time\":0.06,\"prompt_tokens\":18,\"completion_tokens\":439}}}\n\n",
        ]);
        let usage = Usage { prompt_tokens: Some(18), completion_tokens: Some(439), ..Usage::default() };
        assert_eq!(seen.usage(), Some(usage));
    }

    #[test]
    fn an_answer_is_complete_when_every_choice_is() {
        let one = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"a\"}},{\"finish_reason\":\"stop\",\"index\":0}]}\n\n";
        let other = "data: {\"choices\":[{\"finish_reason\":\"length\",\"index\":1}]}\n\n";
        assert!(!tally(&[one]).complete());
        assert!(tally(&[one, other]).complete());
        // nothing has begun
        assert!(!tally(&["data: {\"choices\":[]}\n\n"]).complete());
        // and a choice without an index is the first
        assert!(tally(&["data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n"]).complete());
    }

    #[test]
    fn the_last_usage_counts_and_null_does_not() {
        let seen = tally(&[
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
            "data: {\"choices\":[],\"usage\":null}\n\n",
            "data: [DONE]\n\n",
        ]);
        assert_eq!(
            seen.usage(),
            Some(Usage { prompt_tokens: Some(1), completion_tokens: Some(2), ..Usage::default() })
        );
        assert!(seen.done() && seen.complete() && !seen.failed());
    }

    #[test]
    fn completions_carry_text_beside_the_index() {
        let seen = tally(&["data: {\"choices\":[{\"text\":\"a\"}]}\n\n", "data: {\"choices\":[{\"text\":\"\"}]}\n\n"]);
        assert_eq!(seen.content_events(), 1);
    }

    #[test]
    fn a_stream_of_anthropic_is_counted() {
        let mut seen = tally(&[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
        ]);
        assert_eq!((seen.content_events(), seen.complete()), (1, false));
        let end = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n";
        assert_eq!(seen.see(end.as_bytes()), Seen::Chunk);
        let usage =
            Usage { prompt_tokens: Some(5), completion_tokens: Some(3), cached_tokens: Some(4), ..Usage::default() };
        assert_eq!((seen.complete(), seen.done(), seen.usage()), (true, false, Some(usage)));
        assert_eq!(seen.see(b"event: ping\ndata: {\"type\":\"ping\"}\n\n"), Seen::Ping);
        assert_eq!(seen.see(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), Seen::Done);
        assert!(seen.done() && !seen.failed());
    }

    #[test]
    fn a_stream_of_responses_is_counted() {
        let mut seen = tally(&[
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null,\"error\":null},\"sequence_number\":0}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\",\"sequence_number\":1}\n\n",
            "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\",\"sequence_number\":2}\n\n",
            "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"text\":\"Hi\",\"sequence_number\":3}\n\n",
        ]);
        assert_eq!((seen.content_events(), seen.complete(), seen.next_number()), (2, false, 4));
        let end = |name: &str| {
            format!(
                "data: {{\"type\":\"response.{name}\",\"response\":{{\"usage\":{{\"input_tokens\":5,\"input_tokens_details\":{{\"cached_tokens\":4}},\"output_tokens\":3}}}}}}\n\n"
            )
        };
        for (name, what) in [("completed", Seen::Done), ("incomplete", Seen::Done), ("failed", Seen::Error)] {
            assert_eq!({ seen }.see(end(name).as_bytes()), what, "{name}");
        }
        assert_eq!(seen.see(end("completed").as_bytes()), Seen::Done);
        let usage =
            Usage { prompt_tokens: Some(5), completion_tokens: Some(3), cached_tokens: Some(4), ..Usage::default() };
        assert_eq!((seen.done(), seen.usage()), (true, Some(usage)));
        let error = "data: {\"type\":\"error\",\"code\":null,\"message\":\"No.\",\"sequence_number\":4}\n\n";
        assert_eq!(Tally::default().see(error.as_bytes()), Seen::Error);
    }

    #[test]
    fn a_stream_of_ollama_is_counted() {
        let mut seen = tally(&[
            "data: {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Hm\"},\"done\":false}\n\n",
            "data: {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n\n",
            "data: {\"model\":\"m\",\"response\":\"Hi\",\"done\":false}\n\n",
        ]);
        assert_eq!((seen.content_events(), seen.complete(), seen.usage()), (3, false, None));
        let end = "data: {\"model\":\"m\",\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":5,\"eval_count\":3}\n\n";
        // A text may be in it too.
        assert_eq!(seen.see(end.as_bytes()), Seen::Chunk);
        let usage = Usage { prompt_tokens: Some(5), completion_tokens: Some(3), ..Usage::default() };
        assert_eq!((seen.complete(), seen.done(), seen.usage()), (true, true, Some(usage)));
        assert_eq!(seen.see(b"data: {\"error\":\"an error was encountered\"}\n\n"), Seen::Error);
    }

    #[test]
    fn an_event_is_what_it_says() {
        let see = |event: &str| Tally::default().see(event.as_bytes());
        assert_eq!(see("data: [DONE]\n\n"), Seen::Done);
        assert_eq!(see("data:[DONE] \r\n\r\n"), Seen::Done);
        assert_eq!(see(": ping\n\n"), Seen::Nothing);
        assert_eq!(see("\n"), Seen::Nothing);
        for nothing in ["data:\n\n", "data: \r\n\r\n", "event: ping\n\n", "id: 7\n\n", "retry: 10\n\n"] {
            assert_eq!(see(nothing), Seen::Nothing, "{nothing}");
        }
        assert_eq!(see("data: {\"error\":{\"message\":\"no\"}}\n\n"), Seen::Error);
        assert_eq!(see("data: {\"error\":\"no\"}\n\n"), Seen::Error);
        assert_eq!(see("event: error\ndata: no\n\n"), Seen::Error);
        assert_eq!(see("data: {\"error\":null,\"choices\":[]}\n\n"), Seen::Chunk);
        assert_eq!(see("data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"error\\\":1}\"}}]}\n\n"), Seen::Chunk);
        for garbage in ["data: not JSON\n\n", "data: {\"choices\":\n\n", "data: 7\n\n"] {
            assert_eq!(see(garbage), Seen::Garbage, "{garbage}");
        }
    }
}
