//! One encoding for all spellings of one JSON object.
//!
//! Two texts have the same encoding exactly when they differ in nothing but blanks, the escapes of their strings and
//! the order of an object's members. Everything else tells them apart, fields that nobody knows included:
//! - Numbers by their text: `1`, `1.0` and `1e0` are one number, but some servers refuse one and take the other.
//! - Members of the same name by their order, because servers disagree on which of them counts.
//! - The order below `properties`: models write the fields of a JSON schema in the schema's order, and which comes
//!   first (the reasoning or the answer) changes both.
//!
//! One pass over a body that has been checked to be JSON; what it cannot follow has no encoding. No value is built,
//! and every byte is hashed or copied a bounded number of times, however deep it lies: long texts and objects are
//! replaced by their digests as soon as they end.

use sha2::{Digest, Sha256};
use witgate_core::openai::json::DEPTH_LIMIT;

/// What a request's body comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Canonical {
    /// The encoding. No encoding is the beginning of another.
    pub(super) bytes: Vec<u8>,
    /// The request asks the upstream to keep something, or goes on from what it kept: another answer will not do.
    pub(super) stateful: bool,
    /// It says that the upstream is to keep nothing, where it would by itself.
    pub(super) unstored: bool,
}

/// Encodes a request's body, without its `model`: the model that is really asked for is in the key beside it.
pub(super) fn encode(body: &[u8]) -> Option<Canonical> {
    let mut walker = Walker {
        text: body,
        at: 0,
        depth: 0,
        out: Vec::with_capacity(256),
        members: Vec::new(),
        stateful: false,
        unstored: false,
    };
    if walker.next()? != b'{' {
        return None;
    }
    walker.object(true)?;
    walker.next().is_none().then_some(Canonical {
        bytes: walker.out,
        stateful: walker.stateful,
        unstored: walker.unstored,
    })
}

struct Walker<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    out: Vec<u8>,
    /// Of all objects that are open, the innermost last.
    members: Vec<Member>,
    stateful: bool,
    unstored: bool,
}

/// Places in `out`.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Walker<'_> {
    /// The next byte that is not a blank, not consumed.
    fn next(&mut self) -> Option<u8> {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.text.get(self.at)? {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn value(&mut self, sorted: bool) -> Option<()> {
        match self.next()? {
            b'"' => self.string(),
            b'{' => self.object(sorted),
            b'[' => self.array(),
            first @ (b't' | b'f' | b'n') => {
                self.take_while(|byte| byte.is_ascii_lowercase());
                self.out.push(first);
                Some(())
            }
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                self.take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
                self.put(NUMBER, &self.text[start..self.at]);
                Some(())
            }
            _ => None,
        }
    }

    fn object(&mut self, sorted: bool) -> Option<()> {
        self.open()?;
        let (region, base) = (self.out.len(), self.members.len());
        self.out.push(OBJECT);
        while self.next()? != b'}' {
            let start = self.out.len();
            if self.next()? != b'"' {
                return None;
            }
            self.string()?;
            let key_end = self.out.len();
            if self.next()? != b':' {
                return None;
            }
            self.at += 1;
            let is = |key: &[u8]| plain_text(&self.out[start..key_end]) == Some(key);
            let (is_model, in_order) = (self.depth == 1 && is(b"model"), is(b"properties"));
            let is_stateful = self.depth == 1 && STATEFUL.iter().any(|key| is(key));
            let is_store = self.depth == 1 && is(b"store");
            self.value(!in_order)?;
            self.unstored |= is_store && matches!(self.out[key_end..], [b'f']);
            if is_model {
                self.out.truncate(start);
            } else {
                self.stateful |= is_stateful && !matches!(self.out[key_end..], [b'n' | b'f']);
                self.members.push(Member { start, key_end, end: self.out.len() });
            }
            self.comma(b'}')?;
        }
        self.close();
        if sorted {
            self.sort(base);
        }
        self.members.truncate(base);
        self.out.push(END);
        self.condense(region);
        Some(())
    }

    fn array(&mut self) -> Option<()> {
        self.open()?;
        let region = self.out.len();
        self.out.push(ARRAY);
        while self.next()? != b']' {
            self.value(true)?;
            self.comma(b']')?;
        }
        self.close();
        self.out.push(END);
        self.condense(region);
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at + 1;
        let mut end = start;
        let mut escaped = false;
        loop {
            end += memchr::memchr2(b'"', b'\\', self.text.get(end..)?)?;
            if self.text[end] == b'"' {
                break;
            }
            escaped = true;
            end += 2;
        }
        self.at = end + 1;
        let raw = &self.text[start..end];
        if !escaped {
            self.put_text(TEXT, raw);
            return Some(());
        }
        match serde_json::from_slice::<String>(&self.text[start - 1..=end]) {
            Ok(text) => self.put_text(TEXT, text.as_bytes()),
            // Half a surrogate pair, which no string can hold: as it is written, and apart from all that can.
            Err(_) => self.put_text(BROKEN_TEXT, raw),
        }
        Some(())
    }

    /// Puts the members from `base` on into the order of their keys; those of one key stay in theirs.
    fn sort(&mut self, base: usize) {
        let (out, members) = (&self.out, &mut self.members[base..]);
        let key = |member: &Member| &out[member.start..member.key_end];
        if members.is_sorted_by(|one, next| key(one) <= key(next)) {
            return;
        }
        let Some(first) = members.first().map(|member| member.start) else { return };
        members.sort_by(|one, next| key(one).cmp(key(next)));
        let mut ordered = Vec::with_capacity(out.len() - first);
        for member in members {
            ordered.extend_from_slice(&out[member.start..member.end]);
        }
        self.out.truncate(first);
        self.out.extend_from_slice(&ordered);
    }

    /// Replaces what was put out since `region` by its digest, if that is shorter by far: a text that is moved when
    /// each of a hundred objects around it is sorted would make a small request an expensive one.
    fn condense(&mut self, region: usize) {
        if self.out.len() - region > LONG {
            let digest = Sha256::digest(&self.out[region..]);
            self.out.truncate(region);
            self.out.push(CONDENSED);
            self.out.extend_from_slice(&digest);
        }
    }

    fn put_text(&mut self, kind: u8, text: &[u8]) {
        if text.len() > LONG {
            self.out.extend_from_slice(&[LONG_TEXT, kind]);
            self.out.extend_from_slice(&Sha256::digest(text));
        } else {
            self.put(kind, text);
        }
    }

    fn put(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.out.extend_from_slice(text);
    }

    fn take_while(&mut self, belongs: impl Fn(&u8) -> bool) {
        self.at += self.text[self.at..].iter().take_while(|byte| belongs(byte)).count();
    }

    /// Consumes a comma, unless `end` comes next.
    fn comma(&mut self, end: u8) -> Option<()> {
        match self.next()? {
            b',' => self.at += 1,
            byte if byte == end => {}
            _ => return None,
        }
        Some(())
    }

    fn open(&mut self) -> Option<()> {
        if self.depth == DEPTH_LIMIT {
            return None;
        }
        self.depth += 1;
        self.at += 1;
        Some(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }
}

/// The text of an encoded string that is short and whole.
fn plain_text(encoded: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = encoded.split_first()?;
    let (_, text) = rest.split_at_checked(size_of::<u64>())?;
    (*kind == TEXT).then_some(text)
}

/// Fields that make a request more than a question, unless they are `false` or `null`.
const STATEFUL: [&[u8]; 4] = [b"store", b"background", b"previous_response_id", b"conversation"];

/// Bytes above which a digest stands for a text.
const LONG: usize = 256;

// What begins an encoded value; `t`, `f` and `n` are values by themselves.
const NUMBER: u8 = b'0';
const TEXT: u8 = b'"';
const BROKEN_TEXT: u8 = b'\\';
const LONG_TEXT: u8 = b'L';
const OBJECT: u8 = b'{';
const ARRAY: u8 = b'[';
const CONDENSED: u8 = b'#';
const END: u8 = b'.';

#[cfg(test)]
mod tests;
