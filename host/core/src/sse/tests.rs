use proptest::prelude::*;

use super::*;

/// The events of a stream that comes in these chunks, and what was left.
fn events(chunks: &[&[u8]], limit: usize) -> Result<(Vec<Vec<u8>>, usize), TooLarge> {
    let mut splitter = Splitter::new(limit);
    let mut events = Vec::new();
    for chunk in chunks {
        splitter.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = splitter.next_event()? {
            events.push(event.to_vec());
        }
    }
    Ok((events, splitter.partial.len()))
}

fn split(chunks: &[&str]) -> Vec<String> {
    let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    let (events, _) = events(&chunks, DEFAULT_LIMIT).unwrap();
    events.into_iter().map(|event| String::from_utf8(event).unwrap()).collect()
}

#[test]
fn every_line_end_ends_an_event() {
    for end in ["\n\n", "\r\r", "\r\n\r\n", "\n\r\n", "\r\n\n", "\r\r\n", "\n\r"] {
        let event = format!("data: 1{end}");
        let next = format!("data: 2{end}");
        assert_eq!(split(&[&format!("{event}{next}")]), [event, next], "{end:?}");
    }
    assert_eq!(split(&["event: a\ndata: 1\ndata: 2\n\n"]), ["event: a\ndata: 1\ndata: 2\n\n"]);
}

#[test]
fn a_line_end_may_be_cut_in_two() {
    assert_eq!(split(&["data: 1\r\n\r", "\ndata: 2\r\n\r\n"]), ["data: 1\r\n\r", "\ndata: 2\r\n\r\n"]);
    assert_eq!(split(&["data: 1\r", "\n\r\n"]), ["data: 1\r\n\r\n"]);
}

#[test]
fn a_comment_between_events_does_not_wait() {
    assert_eq!(
        split(&[": ping\n", ": PROCESSING\n\n", "data: 1\n\n"]),
        [": ping\n", ": PROCESSING\n", "\n", "data: 1\n\n"]
    );
    // within an event it does
    assert_eq!(split(&["event: a\n: ping\n", "data: 1\n\n"]), ["event: a\n: ping\ndata: 1\n\n"]);
}

#[test]
fn an_event_in_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\ndata");
    let mut splitter = Splitter::new(DEFAULT_LIMIT);
    splitter.push(chunk.clone());
    let mut seen = Vec::new();
    let keep = |event: &[u8]| {
        seen.push(event.to_vec());
        true
    };
    let run = splitter.next_run(keep).unwrap().unwrap();
    assert_eq!((run.as_ptr(), &run[..]), (chunk.as_ptr(), &b"data: 1\n\ndata: 2\n\n"[..]));
    assert_eq!(seen, [b"data: 1\n\n", b"data: 2\n\n"]);
    assert_eq!(splitter.next_run(|_| true).unwrap(), None);

    // the rest of a cut event comes alone, then the next run
    splitter.push(Bytes::from_static(b": 3\n\ndata: 4\n\n"));
    assert_eq!(splitter.next_run(|_| true).unwrap().unwrap(), "data: 3\n\n");
    assert_eq!(splitter.next_run(|_| true).unwrap().unwrap(), "data: 4\n\n");
    assert_eq!(splitter.next_run(|_| true).unwrap(), None);
}

#[test]
fn an_event_that_is_not_wanted_ends_the_run_and_is_asked_about_once() {
    let mut splitter = Splitter::new(DEFAULT_LIMIT);
    let chunk = Bytes::from_static(b": 1\n\ndata: 2\n\n\n: 3\n\r\n\ndata: 4\n\n\n");
    splitter.push(chunk.clone());
    let mut asked = 0;
    let mut runs = Vec::new();
    let mut keep = |event: &[u8]| {
        asked += 1;
        is_comment(event) || data(event).is_some()
    };
    while let Some(run) = splitter.next_run(&mut keep).unwrap() {
        runs.push(run);
    }
    assert_eq!(runs, [": 1\n", "data: 2\n\n", ": 3\n", "data: 4\n\n"]);
    assert_eq!(asked, 9);
}

#[test]
fn a_comment_is_told_from_a_blank_line_and_from_an_event() {
    for comment in [":\n", ": ping\r\n", "\n: ping\n"] {
        assert!(is_comment(comment.as_bytes()), "{comment:?}");
    }
    for other in ["\n", "\r\n", "", "data: :\n\n", "event: a\n: ping\n\n"] {
        assert!(!is_comment(other.as_bytes()), "{other:?}");
    }
}

#[test]
fn the_limit_holds_on_both_sides() {
    let event = b"data: 1\n\n";
    assert_eq!(events(&[event], event.len()).unwrap().0, [event]);
    let error = events(&[event], event.len() - 1).unwrap_err();
    assert_eq!(error.to_string(), "an event of the stream is larger than 8 bytes");
    // an event without end is stopped too, and in pieces
    assert_eq!(events(&[b"data", b": 123"], 8), Err(TooLarge { limit: 8 }));
    assert_eq!(events(&[b"data", b": 123"], 9), Ok((vec![], 9)));
}

#[test]
fn the_end_of_a_stream_may_be_within_an_event() {
    let within = |chunk: &'static [u8]| {
        let mut splitter = Splitter::new(DEFAULT_LIMIT);
        splitter.push(Bytes::from_static(chunk));
        while splitter.next_event().unwrap().is_some() {}
        splitter.within_event()
    };
    assert!(!within(b"") && !within(b"data: 1\n\n") && !within(b"data: 1\n\n: ping\n"));
    assert!(within(b"d") && within(b"data: 1\n") && within(b": pi"));
}

#[test]
fn data_is_what_the_lines_say() {
    assert_eq!(data(b"data: {}\n\n").as_deref(), Some(&b"{}"[..]));
    assert_eq!(data(b"data:{}\r\n\r\n").as_deref(), Some(&b"{}"[..]));
    assert_eq!(data(b"id: 1\ndata:  a\ndata: b\n\n").as_deref(), Some(&b" a\nb"[..]));
    assert_eq!(data(b": ping\n\n"), None);
    assert_eq!(data(b"database: 1\n\n"), None);
    assert!(is_named(b"event: error\ndata: 1\n\n", b"error"));
    assert!(!is_named(b"event: errors\ndata: error\n\n", b"error"));
}

/// Streams that are mostly line ends, colons and fields.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec!["\n", "\r", "\r\n", "data: x", "data", ":", " ", "event: e", "\u{e9}", "id"]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// The data of every event, as a client would see them.
fn dispatched(events: &[Vec<u8>]) -> Vec<Vec<u8>> {
    events.iter().filter_map(|event| data(event)).map(Cow::into_owned).collect()
}

proptest! {
    #[test]
    fn however_it_is_cut_the_events_are_the_same(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (whole, left) = events(&[&stream], DEFAULT_LIMIT).unwrap();
        let (pieces, pieces_left) = events(&cut(&stream, &cuts), DEFAULT_LIMIT).unwrap();
        prop_assert_eq!(dispatched(&whole), dispatched(&pieces));
        // and no byte is lost, added or moved
        prop_assert_eq!(&whole.concat(), &stream[..stream.len() - left]);
        prop_assert_eq!(&pieces.concat(), &stream[..stream.len() - pieces_left]);
    }

    #[test]
    fn garbage_never_panics(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8)) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let (found, left) = events(&chunks, DEFAULT_LIMIT).unwrap();
        prop_assert_eq!(found.concat().len() + left, chunks.concat().len());
        for event in found {
            crate::openai::Tally::default().see(&event);
        }
    }
}

#[test]
fn lines_become_events_however_they_are_cut() {
    let lines = b"{\"a\":1}\r\n\n{\"b\":\"\xc3\xa9\"}\n{\"c\":3}";
    let events = b"data: {\"a\":1}\n\ndata: {\"b\":\"\xc3\xa9\"}\n\ndata: {\"c\":3}\n\n";
    for cut in 1..=lines.len() {
        let mut made = Vec::new();
        let mut cutter = Lines::default();
        for piece in lines.chunks(cut) {
            made.extend_from_slice(&cutter.push(piece));
        }
        made.extend_from_slice(&cutter.end());
        assert_eq!(made, events, "in pieces of {cut}");
        assert_eq!(cutter.end(), "");
    }
}
