//! A streamed answer: whole events, each as soon as it has come, and exactly one `[DONE]` (in Anthropic's dialect
//! `message_stop`, of a response its last event) at the end.
//!
//! What an SDK would choke on is left out: an event without data, of which some clients try to parse nothing, and so
//! also the blank line after a comment, which they take for the end of such an event. Data that is not JSON is a
//! failure of the upstream. An error is told in the shape of the client's dialect, whatever the upstream's was, and
//! nothing after it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use witgate_core::dialect::StreamTranslator;
use witgate_core::failure::{Diagnosis, diagnose_inside};
use witgate_core::openai::{Renamed, Seen, Tally, UpstreamError};
use witgate_core::sse::{self, Lines, Splitter};
use witgate_core::vocabulary::FailureKind;

use super::Call;
use super::failure::AttemptFailure;
use super::flow::Flow;
use super::passage::Passage;

/// The events of an answer. Each item holds one or more whole events: the upstream's own bytes where it speaks the
/// client's dialect, else what is made of them. After an error nothing more comes; without one, the last item is or ends
/// with the event that ends a stream, unless an event reported an error.
pub struct Events {
    flow: Flow,
    /// Where the upstream streams lines.
    lines: Option<Lines>,
    splitter: Splitter,
    tally: Tally,
    passage: Passage,
    translator: Option<Box<dyn StreamTranslator>>,
    first: Option<Bytes>,
    /// Gives the model the name that the client knows.
    renamed: Option<Renamed>,
    /// An error event that has been put into shape; comes next.
    error: Option<Bytes>,
    /// An event was not JSON; what came before it has been handed out.
    garbage: bool,
    /// Whether an error event is held back, and the one that was.
    holds: bool,
    held: Option<Bytes>,
    /// Longest time without a whole event, whatever else comes; none before the first.
    keep_alive: Option<Duration>,
    last_event: Instant,
    ended: bool,
}

impl Events {
    /// Waits for the first event; comments before it are not kept, since nobody has been kept waiting by us.
    pub(super) async fn begin(
        flow: Flow,
        passage: Passage,
        call: &Call<'_>,
        keep_alive: Duration,
    ) -> Result<Self, AttemptFailure> {
        let splitter = Splitter::new(sse::DEFAULT_LIMIT);
        let mut events = Self {
            flow,
            lines: passage.streams_lines().then(Lines::default),
            splitter,
            tally: Tally::default(),
            translator: passage.stream(call.peek, call.body),
            passage,
            renamed: call.answer_model.map(Renamed::to),
            first: None,
            error: None,
            holds: call.hold_errors,
            held: None,
            garbage: false,
            keep_alive: None,
            last_event: Instant::now(),
            ended: false,
        };
        loop {
            let mut seen = Seen::Nothing;
            let mut error: Option<Diagnosis> = None;
            let run = std::future::poll_fn(|cx| {
                events.poll_run(cx, |event, what| {
                    if matches!(seen, Seen::Nothing | Seen::Ping) {
                        seen = what;
                    }
                    if what == Seen::Error && error.is_none() {
                        error = sse::data(event).map(|data| diagnose_inside(&data));
                    }
                })
            });
            let run = run.await;
            match (run, seen) {
                (Some(Err(_)), Seen::Error) if events.held.is_some() => {
                    return Err(events.flow.diagnosed(error.unwrap_or_else(|| diagnose_inside(b""))));
                }
                (Some(Err(failure)), _) => return Err(failure),
                (None, _) | (_, Seen::Done) => {
                    let message = "the stream ended before its first event".to_owned();
                    return Err(events.flow.failure(FailureKind::Malformed, message));
                }
                (Some(Ok(_)), Seen::Error) => {
                    let error = error.unwrap_or_else(|| diagnose_inside(b""));
                    return Err(events.flow.diagnosed(error));
                }
                (Some(Ok(_)), Seen::Nothing | Seen::Ping | Seen::Garbage) => {}
                (Some(Ok(run)), Seen::Chunk) => {
                    events.first = Some(run).filter(|run| !run.is_empty());
                    events.last_event = events.flow.last();
                    events.keep_alive = Some(keep_alive);
                    return Ok(events);
                }
            }
        }
    }

    /// From now on, this long for the next bytes.
    pub(super) fn wait_at_most(&mut self, idle: Duration) {
        self.flow.wait_at_most(idle);
    }

    /// The first events, until they are passed on.
    pub(super) fn beginning(&self) -> &[u8] {
        self.first.as_deref().unwrap_or_default()
    }

    /// What has gone by so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The event that ends the client's stream with this error.
    pub fn error_event(&mut self, told: UpstreamError) -> Bytes {
        let Some(translator) = &mut self.translator else {
            return self.passage.error_event(told, self.tally.next_number());
        };
        let mut made = Vec::new();
        translator.fail(&told, &mut made);
        self.named(made.into())
    }

    /// The event of the error that ended the stream, in the client's shape, where errors are held back: the client is
    /// to get it if nobody goes on with the stream.
    pub fn held_error(&mut self) -> Option<Bytes> {
        self.held.take()
    }

    /// The next run of events, empty when nothing is to be told of them; `None` at the end of the body.
    fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(&[u8], Seen),
    ) -> Poll<Option<Result<Bytes, AttemptFailure>>> {
        loop {
            if let Some(error) = self.error.take() {
                if !self.holds {
                    return Poll::Ready(Some(Ok(error)));
                }
                self.held = Some(error);
                return Poll::Ready(Some(Err(AttemptFailure::in_stream())));
            }
            if self.garbage {
                let message = "an event of the stream is not a JSON object".to_owned();
                return Poll::Ready(Some(Err(self.flow.failure(FailureKind::Malformed, message))));
            }
            let (tally, error, translator) = (&mut self.tally, &mut self.error, &mut self.translator);
            let garbage = &mut self.garbage;
            let (passage, holds) = (self.passage, self.holds);
            let mut made = Vec::new();
            let run = self.splitter.next_run(|event| {
                let failed_before = tally.failed();
                let seen = tally.see(event);
                each(event, seen);
                *garbage |= seen == Seen::Garbage;
                if failed_before || *garbage {
                    return false;
                }
                if let Some(translator) = translator {
                    if holds && seen == Seen::Error {
                        let mut told = Vec::new();
                        translator.event(event, &mut told);
                        *error = Some(told.into());
                        return false;
                    }
                    translator.event(event, &mut made);
                    return true;
                }
                match seen {
                    Seen::Nothing => sse::is_comment(event),
                    Seen::Ping | Seen::Chunk | Seen::Done => true,
                    Seen::Garbage => false,
                    Seen::Error => {
                        let told = in_shape(event, passage, tally.next_number());
                        *error = told.or_else(|| holds.then(|| Bytes::copy_from_slice(event)));
                        error.is_none()
                    }
                }
            });
            match run {
                Ok(Some(_)) if translator.is_some() => return Poll::Ready(Some(Ok(self.named(made.into())))),
                Ok(Some(run)) => return Poll::Ready(Some(Ok(self.named(run)))),
                Ok(None) if self.error.is_some() || self.garbage => continue,
                Ok(None) => {
                    if let Some(limit) = self.overdue() {
                        return Poll::Ready(Some(Err(self.flow.stalled("no whole event", limit))));
                    }
                }
                Err(too_large) => {
                    let failure = self.flow.failure(FailureKind::Malformed, too_large.to_string());
                    return Poll::Ready(Some(Err(failure)));
                }
            }
            match ready!(self.flow.poll_next(cx)) {
                Some(Ok(chunk)) => self.splitter.push(match &mut self.lines {
                    Some(lines) => lines.push(&chunk),
                    None => chunk,
                }),
                Some(Err(failure)) => return Poll::Ready(Some(Err(failure))),
                None => match self.lines.as_mut().map(Lines::end).filter(|rest| !rest.is_empty()) {
                    Some(rest) => self.splitter.push(rest),
                    None => return Poll::Ready(None),
                },
            }
        }
    }

    /// The limit, when bytes come and no event has for that long.
    fn overdue(&self) -> Option<Duration> {
        self.keep_alive.filter(|limit| self.flow.last() - self.last_event >= *limit)
    }

    /// What is missing where the upstream just closes the stream.
    fn ending(&mut self) -> Bytes {
        let Some(translator) = &mut self.translator else { return self.passage.last_event() };
        let mut made = Vec::new();
        translator.end(&mut made);
        self.named(made.into())
    }

    /// With the name that the client knows the model by.
    fn named(&mut self, events: Bytes) -> Bytes {
        match &mut self.renamed {
            Some(renamed) => renamed.events(&events).into(),
            None => events,
        }
    }

    /// The stream is complete and has told so; what follows matters only to the connection.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(Ok(_)) = ready!(self.flow.poll_next(cx)) {}
        Poll::Ready(())
    }
}

impl Stream for Events {
    type Item = Result<Bytes, AttemptFailure>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let events = self.get_mut();
        if let Some(first) = events.first.take() {
            if events.tally.done() {
                events.flow.expect_end();
            }
            return Poll::Ready(Some(Ok(first)));
        }
        if events.ended {
            return Poll::Ready(None);
        }
        if events.tally.failed() && events.error.is_none() {
            // Told; dropping the connection ends whatever the upstream still does.
            events.ended = true;
            return Poll::Ready(None);
        }
        if events.tally.done() {
            ready!(events.poll_end(cx));
            events.ended = true;
            return Poll::Ready(None);
        }
        let mut only_comments = true;
        let run = loop {
            match ready!(events.poll_run(cx, |_, what| only_comments &= matches!(what, Seen::Nothing | Seen::Ping))) {
                Some(Ok(run)) if run.is_empty() && !events.tally.done() && !events.tally.failed() => {}
                run => break run,
            }
        };
        let overdue = if only_comments { events.overdue() } else { None };
        let item = match (run, overdue) {
            (Some(Ok(_)), Some(limit)) => Some(Err(events.flow.stalled("nothing but keep-alives", limit))),
            (Some(Ok(run)), None) => {
                if !only_comments {
                    events.last_event = events.flow.last();
                }
                if events.tally.done() {
                    events.flow.expect_end();
                }
                return Poll::Ready(Some(Ok(run)));
            }
            (Some(Err(failure)), _) => Some(Err(failure)),
            (None, _) if events.tally.complete() => Some(Ok(events.ending())),
            (None, _) => Some(Err(events.flow.cut("the stream ended without a finish_reason"))),
        };
        events.ended = true;
        Poll::Ready(item)
    }
}

/// The error as clients look for it; `None` where it is so already.
fn in_shape(event: &[u8], passage: Passage, number: u64) -> Option<Bytes> {
    let data = sse::data(event)?;
    if passage.is_in_shape(&data) {
        return None;
    }
    Some(passage.error_event(UpstreamError::parse(&data), number))
}
