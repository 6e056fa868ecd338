//! What must come of each fault, written down: one row for each fault and way of asking.

use std::fmt::Write as _;

use witgate_tests::{Fault, hold};

/// What is expected of one fault.
pub(super) struct Row {
    pub(super) fault: Fault,
    pub(super) asked: Asked,
    /// The outcome of the attempt, as metrics and log name it.
    pub(super) outcome: &'static str,
    pub(super) charged: Charged,
    pub(super) alone: Alone,
}

/// For what the client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Whole,
    Stream,
}

/// Whom the failure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charged {
    Nobody,
    Breaker,
    Key,
}

/// What the client is told where there is no other provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// The answer.
    Answer,
    /// An error with this status, after so many attempts. Another provider answers instead where there is one.
    Error(u16, usize),
    /// Nothing can be put in its place any more: the stream ends with an error event, another answer breaks off.
    TooLate,
    /// The same, where the answer is passed on as it comes. One that must be translated is held back until it is whole,
    /// so that this is an error with this status after so many attempts.
    TooLateUnlessTranslated(u16, usize),
}

use Alone::{Answer, Error, TooLate, TooLateUnlessTranslated};
use Asked::{Stream, Whole};
use Charged::{Breaker, Key, Nobody};

const BOTH: &[Asked] = &[Whole, Stream];

/// Every row.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |fault, asked: &[Asked], outcome, charged, alone| {
        rows.extend(asked.iter().map(|asked| Row { fault, asked: *asked, outcome, charged, alone }));
    };
    add(Fault::Well, BOTH, "served", Nobody, Answer);
    add(Fault::Refused, BOTH, "connect", Breaker, Error(502, 2));
    add(Fault::ResetAtOnce, BOTH, "reset", Breaker, Error(502, 2));
    add(Fault::ClosedAtOnce, BOTH, "reset", Breaker, Error(502, 2));
    add(Fault::Expired, BOTH, "served", Nobody, Answer);
    add(Fault::Silent, BOTH, "first-byte-timeout", Breaker, Error(504, 1));
    add(Fault::SlowHeaders, BOTH, "first-byte-timeout", Breaker, Error(504, 1));
    add(Fault::NotHttp, BOTH, "malformed", Breaker, Error(502, 2));
    add(Fault::LongHeader, BOTH, "malformed", Breaker, Error(502, 2));
    add(Fault::Redirects, BOTH, "malformed", Breaker, Error(502, 2));
    add(Fault::KeyRefused, BOTH, "unauthorised", Key, Error(502, 1));
    add(Fault::Limited, BOTH, "rate-limited", Key, Error(429, 1));
    add(Fault::Broken, BOTH, "server-error", Breaker, Error(502, 2));
    add(Fault::Overloaded, BOTH, "overloaded", Breaker, Error(503, 1));
    add(Fault::StalledError, BOTH, "server-error", Breaker, Error(502, 2));
    add(Fault::SlowError, BOTH, "server-error", Breaker, Error(502, 2));
    add(Fault::ErrorInside, BOTH, "error-in-stream", Breaker, Error(502, 2));
    add(Fault::Html, BOTH, "malformed", Breaker, Error(502, 2));
    add(Fault::Empty, BOTH, "malformed", Breaker, Error(502, 2));
    add(Fault::ResetAfterHeaders, BOTH, "cut", Breaker, Error(502, 2));
    add(Fault::ClosedAfterHeaders, BOTH, "cut", Breaker, Error(502, 2));
    add(Fault::StalledAfterHeaders, &[Whole], "stalled", Breaker, Error(504, 2));
    add(Fault::StalledAfterHeaders, &[Stream], "first-token-timeout", Breaker, Error(504, 1));
    add(Fault::GarbageFirst, &[Stream], "malformed", Breaker, Error(502, 2));
    add(Fault::KeepAlivesOnly, &[Whole], "stalled", Breaker, Error(504, 2));
    add(Fault::KeepAlivesOnly, &[Stream], "first-token-timeout", Breaker, Error(504, 1));
    add(Fault::LongLine, &[Stream], "malformed", Breaker, Error(502, 2));
    for (fault, outcome) in [
        (Fault::Cut, "cut"),
        (Fault::Reset, "cut"),
        (Fault::HalfCharacterCut, "cut"),
        (Fault::HalfCharacter, "malformed"),
        (Fault::TruncatedChunk, "cut"),
        (Fault::WrongChunk, "cut"),
        (Fault::LengthTooLong, "cut"),
    ] {
        add(fault, &[Whole], outcome, Breaker, Error(502, 2));
        add(fault, &[Stream], outcome, Breaker, TooLate);
    }
    for fault in [Fault::Stalled, Fault::SlowBody] {
        add(fault, &[Whole], "stalled", Breaker, Error(504, 2));
        add(fault, &[Stream], "stalled", Breaker, TooLate);
    }
    add(Fault::LengthTooShort, &[Whole], "malformed", Breaker, Error(502, 2));
    add(Fault::LengthTooShort, &[Stream], "cut", Breaker, TooLate);
    add(Fault::Garbage, &[Stream], "malformed", Breaker, TooLate);
    add(Fault::LongLineLater, &[Stream], "malformed", Breaker, TooLate);
    add(Fault::ErrorEvent, &[Stream], "error-in-stream", Breaker, TooLate);
    add(Fault::NoEnd, &[Stream], "cut", Breaker, TooLate);
    add(Fault::LongCut, &[Whole], "cut", Breaker, TooLateUnlessTranslated(502, 2));
    rows
}

impl Alone {
    /// With a client and a provider that speak the same, or not.
    pub(super) fn exactly(self, translated: bool) -> Self {
        match self {
            TooLateUnlessTranslated(status, attempts) if translated => Error(status, attempts),
            TooLateUnlessTranslated(..) => TooLate,
            Answer | Error(..) | TooLate => self,
        }
    }

    fn described(self, asked: Asked) -> String {
        match self {
            Answer => "answer".to_owned(),
            Error(status, 1) => status.to_string(),
            Error(status, attempts) => format!("{status} after {attempts} attempts"),
            TooLate if asked == Stream => "error event, no end".to_owned(),
            TooLate => "connection closed".to_owned(),
            TooLateUnlessTranslated(status, attempts) => {
                format!("connection closed; translated: {status} after {attempts} attempts")
            }
        }
    }

    fn described_of_three(self, asked: Asked) -> String {
        match self {
            Answer => "answer".to_owned(),
            Error(..) => "answer of the second".to_owned(),
            TooLate => self.described(asked),
            TooLateUnlessTranslated(..) => "connection closed; translated: answer of the second".to_owned(),
        }
    }
}

#[test]
fn each_fault_has_its_rows_and_the_page_shows_them() {
    let rows = rows();
    for fault in Fault::ALL {
        let mut of_fault = rows.iter().filter(|row| row.fault == *fault).peekable();
        assert!(of_fault.peek().is_some(), "{fault:?} is not in the table");
        let strikes = of_fault.any(|row| row.asked == Stream && row.alone == TooLate);
        assert_eq!(fault.strikes_begun_streams(), strikes, "{fault:?}");
    }
    let mut text = ABOUT.to_owned();
    for Row { fault, asked, outcome, charged, alone } in &rows {
        let asked_for = match asked {
            Whole => "whole",
            Stream => "stream",
        };
        let charged = match charged {
            Nobody => "-",
            Breaker => "deployment",
            Key => "key",
        };
        let (one, three) = (alone.described(*asked), alone.described_of_three(*asked));
        writeln!(text, "| {} | {asked_for} | `{outcome}` | {charged} | {one} | {three} |", fault.name()).unwrap();
    }
    hold("docs/faults.md", &text);
}

const ABOUT: &str = "\
# What happens when a provider fails

Generated from `tests/tests/e2e/faults/table.rs`, and checked over real sockets by the test beside it: each row with \
clients that speak chat completions and Messages, with providers of every dialect, alone and as the first of three \
(routed by `health`, `in-order`, `resilient`). Limits of time and size are those of the configuration; the tests set \
short ones.

- *whole*: the client asks for an answer in one piece; *stream*: for events.
- *outcome*: what the attempt is counted as in `witgate_attempts_total`, and the `code` of the error.
- *held against*: the deployment's breaker counts the failure, or the key cools down.
- *one provider*: what the client gets when nobody else could answer. Each error is one that its SDK can read, in its \
dialect; Anthropic's number for 503 is 529. What may have been a hiccup is tried once more after a pause.
- *three providers*: what the client gets when two others are well.

A stream whose first event has gone to the client cannot be taken back: it ends with an error event and without the \
event that ends a good one, and never looks complete.

| fault | asked for | outcome | held against | one provider | three providers |
|---|---|---|---|---|---|
";
