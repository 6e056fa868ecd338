//! The `model` of an answer under another name, for clients that compare it with what they asked for.
//!
//! Works on bytes as they come, cut anywhere: of a whole answer, of a chunk, or of the object that an event holds
//! (`response`, Anthropic's `message`), the value of `model` is replaced where it is a string; every other byte stays.

/// Renames the model in one answer, or in all events of one stream.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// As JSON.
    literal: Box<[u8]>,
    depth: u32,
    /// Whether the object at depth 2 is one that has a model of its own.
    in_holder: bool,
    key: Key,
    text: Text,
    /// The old name is being passed over.
    dropping: bool,
}

/// What is known of the member that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// A key may come next.
    Expected,
    /// It is none that matters, or what comes is no key.
    Other,
    /// `"model"`, in an object whose model it is; with the colon, if that has come.
    Model { colon: bool },
    /// `"response"` or `"message"`, at the top.
    Holder,
}

/// Whether the next byte is in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Outside,
    /// In one that has these bytes so far, of the first eight; an escape makes it none that matters.
    Inside {
        read: [u8; LONGEST],
        length: usize,
        escaped: bool,
    },
}

/// Of the keys that matter.
const LONGEST: usize = 8;
const EMPTY: Text = Text::Inside { read: [0; LONGEST], length: 0, escaped: false };
/// More than any key that matters has.
const TOO_LONG: usize = LONGEST + 1;

impl Renamed {
    /// To this name.
    pub fn to(name: &str) -> Self {
        Self {
            literal: serde_json::Value::from(name).to_string().into_bytes().into(),
            depth: 0,
            in_holder: false,
            key: Key::Other,
            text: Text::Outside,
            dropping: false,
        }
    }

    /// What a piece becomes.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + self.literal.len());
        for byte in piece {
            self.take(*byte, &mut out);
        }
        out
    }

    /// What whole events become. A comment cannot mislead what comes after it.
    pub fn events(&mut self, events: &[u8]) -> Vec<u8> {
        (self.depth, self.text, self.key, self.dropping) = (0, Text::Outside, Key::Other, false);
        self.push(events)
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let Text::Inside { read, length, escaped } = &mut self.text {
            let ends = byte == b'"' && !*escaped;
            if !ends {
                if *escaped || byte == b'\\' {
                    *length = TOO_LONG;
                } else if let Some(place) = read.get_mut(*length) {
                    *place = byte;
                    *length += 1;
                } else {
                    *length = TOO_LONG;
                }
                *escaped = byte == b'\\' && !*escaped;
            }
            let key = ends.then_some((*read, *length));
            if !self.dropping {
                out.push(byte);
            }
            if let Some((read, length)) = key {
                self.string_ends(read.get(..length).unwrap_or_default());
            }
            return;
        }
        match byte {
            // Between events there are names and comments, which may hold anything.
            b'"' if self.depth > 0 => {
                self.text = EMPTY;
                self.dropping = self.key == Key::Model { colon: true };
                if self.dropping {
                    out.extend_from_slice(&self.literal);
                    return;
                }
            }
            b'{' => {
                self.in_holder = match self.depth {
                    1 => self.key == Key::Holder,
                    depth => self.in_holder && depth > 1,
                };
                self.depth += 1;
                self.key = Key::Expected;
            }
            b'[' if self.depth > 0 => {
                self.depth += 1;
                self.key = Key::Other;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.key = Key::Other;
            }
            b',' => self.key = Key::Expected,
            b':' => {
                self.key = match self.key {
                    Key::Model { .. } => Key::Model { colon: true },
                    Key::Holder => Key::Holder,
                    Key::Expected | Key::Other => Key::Other,
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            // A number or a word: no model.
            _ => self.key = Key::Other,
        }
        out.push(byte);
    }

    fn string_ends(&mut self, read: &[u8]) {
        self.text = Text::Outside;
        self.dropping = false;
        self.key = match (self.key, self.depth, read) {
            (Key::Expected, 1, b"model") => Key::Model { colon: false },
            (Key::Expected, 2, b"model") if self.in_holder => Key::Model { colon: false },
            (Key::Expected, 1, b"response" | b"message") => Key::Holder,
            _ => Key::Other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(text: &str) -> String {
        String::from_utf8_lossy(&Renamed::to("fast").push(text.as_bytes())).into_owned()
    }

    #[test]
    fn the_model_of_an_answer_is_renamed_and_nothing_else() {
        for (before, after) in [
            (r#"{"id":1,"model":"real","x":[{"model":"y"}]}"#, r#"{"id":1,"model":"fast","x":[{"model":"y"}]}"#),
            (r#"{ "model" : "re\"al\\" , "b":"model"}"#, r#"{ "model" : "fast" , "b":"model"}"#),
            (r#"{"a":"model","b":"real"}"#, r#"{"a":"model","b":"real"}"#),
            (r#"{"a":["model","real"]}"#, r#"{"a":["model","real"]}"#),
            (r#"{"a":{"model":"real"},"model":"real"}"#, r#"{"a":{"model":"real"},"model":"fast"}"#),
            (r#"{"model":null,"models":"real"}"#, r#"{"model":null,"models":"real"}"#),
            (r#"{"model":{"model":"real"}}"#, r#"{"model":{"model":"real"}}"#),
            (r#"{"model":["real"]}"#, r#"{"model":["real"]}"#),
            (
                r#"{"response":{"model":"real","tools":[{"model":"y"}]}}"#,
                r#"{"response":{"model":"fast","tools":[{"model":"y"}]}}"#,
            ),
            (
                r#"{"response":{"text":{"model":"y"},"model":"real"}}"#,
                r#"{"response":{"text":{"model":"y"},"model":"fast"}}"#,
            ),
            (
                r#"{"message":{"model":"real"},"item":{"model":"y"}}"#,
                r#"{"message":{"model":"fast"},"item":{"model":"y"}}"#,
            ),
            (r#"{"response":"x","item":{"model":"y"}}"#, r#"{"response":"x","item":{"model":"y"}}"#),
            (r#"{"t":"{\"model\":\"real\"}","m\u006fdel":"x"}"#, r#"{"t":"{\"model\":\"real\"}","m\u006fdel":"x"}"#),
            ("", ""),
        ] {
            assert_eq!(renamed(before), after);
        }
        assert_eq!(Renamed::to("a\"b").push(br#"{"model":"x"}"#), br#"{"model":"a\"b"}"#);
    }

    #[test]
    fn it_does_not_matter_how_the_answer_is_cut() {
        let text = r#"{"a":"é\\","response":{"model":"real"},"model":"re\"al","b":[1,{"model":"y"}]}"#;
        let whole = renamed(text);
        for length in 1..text.len() {
            let mut renamed = Renamed::to("fast");
            let got: Vec<u8> = text.as_bytes().chunks(length).flat_map(|piece| renamed.push(piece)).collect();
            assert_eq!(String::from_utf8_lossy(&got), whole, "in pieces of {length}");
        }
    }

    #[test]
    fn every_event_of_a_run_is_renamed_whatever_is_between() {
        let run = "event: x \"{\ndata: {\"model\":\"real\"}\n\n";
        let mut renamed = Renamed::to("fast");
        let mut events = |text: &str| String::from_utf8_lossy(&renamed.events(text.as_bytes())).into_owned();
        let two =
            "data: {\"model\":\"real\",\"a\":{}}\n\n: it's \"open\ndata: {\"model\":\"real\"}\n\ndata: [DONE]\n\n";
        assert_eq!(events(two), two.replace("real", "fast"));
        // a brace where none belongs spoils one run
        assert_eq!(events(run), run);
        assert_eq!(events(two), two.replace("real", "fast"));
    }
}
