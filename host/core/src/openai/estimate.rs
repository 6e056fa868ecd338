//! How many tokens a text has, roughly, in one pass over its bytes; and how many it has at least.
//!
//! Tokenisers differ, are slow (10 to 20 MB/s) and large (46 MiB of memory for one vocabulary), so none is asked on the
//! way of a request. All the common ones cut a text into words, numbers and signs first, so the number of those and of
//! their letters says most of it. The weights were fitted to some 6,000 pieces of prose in eight languages, code and JSON
//! under `o200k_base` and `cl100k_base`; `tests/tokens.rs` compares with both on other texts.

use super::json::Text;

/// Counts towards an estimate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    /// Thousandths of a token.
    millitokens: u64,
    whole: u64,
}

/// What the templates of the common models put around a message.
const TOKENS_A_MESSAGE: u64 = 4;
/// OpenAI's figure for 1024 × 1024.
const TOKENS_AN_IMAGE: u64 = 765;

impl Estimate {
    /// A text as it stands in the JSON.
    pub(super) fn text(&mut self, text: Text<'_>) {
        // Python's `json` writes all but ASCII so; six bytes are one character then.
        if memchr::memmem::find(text.raw.as_bytes(), b"\\u").is_some() {
            self.raw(&text.decode());
        } else {
            self.raw(text.raw);
        }
    }

    /// JSON, or a text whose escapes are those of JSON.
    pub(super) fn raw(&mut self, text: &str) {
        let signs = count(text.as_bytes());
        let weighed = signs.iter().zip(MILLITOKENS).map(|(count, weight)| count * weight);
        self.millitokens += weighed.sum::<u64>();
    }

    pub(super) fn messages(&mut self, count: u32) {
        self.whole += TOKENS_A_MESSAGE * u64::from(count);
    }

    pub(super) fn image(&mut self) {
        self.whole += TOKENS_AN_IMAGE;
    }

    pub(super) fn token(&mut self) {
        self.whole += 1;
    }

    /// Clamped below 2^31, since policies read it.
    pub(super) fn tokens(self) -> u32 {
        let tokens = self.millitokens.div_ceil(1000) + self.whole;
        u32::try_from(tokens).unwrap_or(u32::MAX).min(i32::MAX as u32)
    }
}

/// What is counted, and what each weighs in thousandths of a token.
const MILLITOKENS: [u64; SIGNS] = [
    680,  // words
    86,   // letters
    1390, // a capital within a word, as in `camelCase`
    150,  // digits
    1750, // numbers
    44,   // blanks
    310,  // escapes, most of them line breaks
    500,  // other signs
    570,  // characters of two bytes: Latin letters with accents
    290,  // others: Cyrillic, Greek, Arabic
    770,  // of three: Chinese and Japanese
    850,  // Korean
    1350, // others: Indic scripts, typographic quotes
    2200, // of four: emoji
];
const SIGNS: usize = 14;
/// Bytes that are counted in a byte each.
const BLOCK: usize = 240;

fn count(text: &[u8]) -> [u64; SIGNS] {
    let mut totals = [0; SIGNS];
    // Each byte is seen with the two before it; before the text there are blanks.
    let start = text.len().min(2);
    let mut padded = [b' '; 4];
    padded[2..2 + start].copy_from_slice(&text[..start]);
    count_block(&padded[..start], &padded[1..1 + start], &padded[2..2 + start], &mut totals);
    let mut at = start;
    while at < text.len() {
        let end = text.len().min(at + BLOCK);
        count_block(&text[at - 2..end - 2], &text[at - 1..end - 1], &text[at..end], &mut totals);
        at = end;
    }
    totals
}

/// Without branches, so that the compiler makes vector instructions of it.
fn count_block(before: &[u8], last: &[u8], bytes: &[u8], totals: &mut [u64; SIGNS]) {
    let mut counts = [0u8; SIGNS];
    for ((before, last), byte) in before.iter().zip(last).zip(bytes) {
        let (before, last, byte) = (*before, *last, *byte);
        let escaped = last == b'\\';
        let letter = is_letter(byte) & !escaped;
        let within = is_letter(last) & (before != b'\\');
        let signs: [bool; SIGNS] = [
            letter & !within,
            letter,
            letter & is_capital(byte) & within & !is_capital(last),
            is_digit(byte),
            is_digit(byte) & !is_digit(last),
            byte <= b' ',
            byte == b'\\',
            (byte > b' ') & (byte < 0x80) & !is_letter(byte) & !is_digit(byte) & (byte != b'\\'),
            is_between(byte, 0xC0, 0xC9),
            is_between(byte, 0xC9, 0xE0),
            is_between(byte, 0xE3, 0xEA),
            is_between(byte, 0xEA, 0xEE),
            is_between(byte, 0xE0, 0xE3) | is_between(byte, 0xEE, 0xF0),
            byte >= 0xF0,
        ];
        for (count, sign) in counts.iter_mut().zip(signs) {
            *count += u8::from(sign);
        }
    }
    for (total, count) in totals.iter_mut().zip(counts) {
        *total += u64::from(count);
    }
}

/// The least that a text can have under any common tokeniser: they never join two words, nor more than three digits.
/// Signs and blanks may be part of a word's token, so they do not count; of a script without blanks, each four
/// characters do. No text that fits a window is above it by this count.
pub(super) fn at_least(text: &str) -> u64 {
    let mut tokens = 0;
    let (mut last, mut digits, mut wide) = (b' ', 0u32, 0u64);
    for byte in text.bytes() {
        digits = if is_digit(byte) { digits + 1 } else { 0 };
        let joins = is_letter(last) || last >= 0x80 || last == b'\'';
        tokens += u64::from(is_letter(byte) && !joins) + u64::from(digits % 3 == 1);
        wide += u64::from((0xE3..0xEE).contains(&byte));
        last = byte;
    }
    tokens + wide / 4
}

fn is_letter(byte: u8) -> bool {
    is_between(byte | 0x20, b'a', b'z' + 1)
}

fn is_capital(byte: u8) -> bool {
    is_between(byte, b'A', b'Z' + 1)
}

fn is_digit(byte: u8) -> bool {
    is_between(byte, b'0', b'9' + 1)
}

/// One comparison, where two would be a branch.
fn is_between(byte: u8, first: u8, below: u8) -> bool {
    byte.wrapping_sub(first) < below - first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> u32 {
        let mut estimate = Estimate::default();
        estimate.raw(text);
        estimate.tokens()
    }

    #[test]
    fn scripts_weigh_differently() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("The quick brown fox jumps over the lazy dog."), 10);
        assert_eq!(tokens("é"), 1);
        assert_eq!(tokens("你好"), 2);
        assert_eq!(tokens("안녕하세요"), 5);
        assert_eq!(tokens("Привет"), 2);
        assert_eq!(tokens("🙂"), 3);
    }

    #[test]
    fn blocks_and_their_borders_do_not_show() {
        let text = "let nowMs = clock.wall_ms() + 1_000; // \\n\\t \\\"42\\\" émigré 你好 안녕 🙂\\n";
        let whole = text.repeat(40);
        for cut in 0..text.len() {
            let bytes = &whole.as_bytes()[cut..];
            let mut one_by_one = [0; SIGNS];
            for at in 0..bytes.len() {
                let behind = |by: usize| at.checked_sub(by).map_or(b' ', |at| bytes[at]);
                count_block(&[behind(2)], &[behind(1)], &[bytes[at]], &mut one_by_one);
            }
            assert_eq!(count(bytes), one_by_one, "from {cut}");
        }
    }

    #[test]
    fn an_escaped_line_break_is_no_letter() {
        assert_eq!(count(b"\\nThe")[..2], [1, 3]);
        assert_eq!(count(b"a\\nThe")[..2], [2, 4]);
        assert_eq!(count(b"n\\\\")[..2], [1, 1]);
    }

    #[test]
    fn the_least_is_what_no_tokeniser_joins() {
        for (text, least) in [
            ("", 0),
            ("one two  three", 3),
            ("don't", 1),
            ("café naïve", 2),
            ("camelCase", 1),
            ("12 3456 7890123", 6),
            ("((((----    \n\n", 0),
            ("a1b2", 4),
            ("你好世界你好世界", 2),
        ] {
            assert_eq!(at_least(text), least, "{text}");
        }
    }
}
