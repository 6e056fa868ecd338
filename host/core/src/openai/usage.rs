//! What an answer says about tokens, found without parsing the answer.

use memchr::memmem;

use super::json::{Kind, Scanner, SyntaxError};

/// Tokens of one answer, as far as the upstream counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, cached ones included.
    pub prompt_tokens: Option<u32>,
    /// Of the answer.
    pub completion_tokens: Option<u32>,
    /// Of the prompt, those that the upstream had cached.
    pub cached_tokens: Option<u32>,
    /// Of the prompt, those that the upstream has put into its cache.
    pub cache_write_tokens: Option<u32>,
    /// Of the answer, those that the model thought and did not say.
    pub reasoning_tokens: Option<u32>,
}

impl Usage {
    /// That of two answers together; what neither says stays unknown.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Option<u32>, other: Option<u32>| match (one, other) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        Self {
            prompt_tokens: sum(self.prompt_tokens, other.prompt_tokens),
            completion_tokens: sum(self.completion_tokens, other.completion_tokens),
            cached_tokens: sum(self.cached_tokens, other.cached_tokens),
            cache_write_tokens: sum(self.cache_write_tokens, other.cache_write_tokens),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens),
        }
    }

    /// What is not said here is as it was `before`.
    #[must_use]
    pub(super) fn over(self, before: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.or(before.prompt_tokens),
            completion_tokens: self.completion_tokens.or(before.completion_tokens),
            cached_tokens: self.cached_tokens.or(before.cached_tokens),
            cache_write_tokens: self.cache_write_tokens.or(before.cache_write_tokens),
            reasoning_tokens: self.reasoning_tokens.or(before.reasoning_tokens),
        }
    }
}

/// The usage of a whole answer: the last `"usage"` in it that is an object, else llama.cpp's `"timings"`, else Ollama's
/// counts, which stand beside the answer.
///
/// Both texts with their quotes cannot be part of a JSON string, where a quote is escaped.
pub fn of_answer(body: &[u8]) -> Option<Usage> {
    let told = last(body, b"\"usage\"", read_usage).or_else(|| last(body, b"\"timings\"", read_timings));
    told.or_else(|| {
        let completion_tokens = last(body, b"\"eval_count\"", read_count);
        let prompt_tokens = last(body, b"\"prompt_eval_count\"", read_count);
        let told = completion_tokens.or(prompt_tokens).is_some();
        told.then_some(Usage { prompt_tokens, completion_tokens, ..Usage::default() })
    })
}

/// Finds the usage in a long answer that goes by in pieces. Keeps at most [`LONGEST`] bytes.
#[derive(Debug, Default)]
pub struct UsageScan {
    carried: Vec<u8>,
    found: Option<Usage>,
}

/// Bytes of a usage object, with its key, that is found where it is cut in two. OpenAI's are about 350.
pub const LONGEST: usize = 1024;

impl UsageScan {
    /// The next piece.
    pub fn push(&mut self, piece: &[u8]) {
        if !self.carried.is_empty() {
            self.carried.extend_from_slice(&piece[..piece.len().min(LONGEST)]);
            self.found = of_answer(&self.carried).or(self.found);
        }
        self.found = of_answer(piece).or(self.found);
        if piece.len() >= LONGEST {
            self.carried.clear();
            self.carried.extend_from_slice(&piece[piece.len() - LONGEST..]);
        } else {
            if self.carried.is_empty() {
                self.carried.extend_from_slice(piece);
            }
            let surplus = self.carried.len().saturating_sub(LONGEST);
            self.carried.drain(..surplus);
        }
    }

    /// The last usage that went by.
    pub fn usage(&self) -> Option<Usage> {
        self.found
    }
}

/// An object in the shape of `usage`.
pub(super) fn read_usage(scanner: &mut Scanner<'_>) -> Result<Option<Usage>, SyntaxError> {
    if scanner.kind()? != Kind::Object {
        scanner.skip()?;
        return Ok(None);
    }
    let mut usage = Usage::default();
    // Anthropic counts cached tokens beside those of the input.
    let (mut input, mut read, mut written) = (None, None, None);
    scanner.object(|inner, key| match (key.raw, inner.kind()?) {
        ("prompt_tokens", Kind::Number) => store(inner, &mut usage.prompt_tokens),
        ("input_tokens", Kind::Number) => store(inner, &mut input),
        ("cache_read_input_tokens", Kind::Number) => store(inner, &mut read),
        ("cache_creation_input_tokens", Kind::Number) => store(inner, &mut written),
        ("completion_tokens" | "output_tokens", Kind::Number) => store(inner, &mut usage.completion_tokens),
        // DeepSeek's word for what others tell among the details.
        ("prompt_cache_hit_tokens", Kind::Number) => store(inner, &mut usage.cached_tokens),
        ("prompt_tokens_details" | "input_tokens_details", Kind::Object) => {
            inner.object(|detail, key| match (key.raw, detail.kind()?) {
                ("cached_tokens", Kind::Number) => store(detail, &mut usage.cached_tokens),
                ("cache_write_tokens", Kind::Number) => store(detail, &mut usage.cache_write_tokens),
                _ => detail.skip(),
            })
        }
        ("completion_tokens_details" | "output_tokens_details", Kind::Object) => {
            inner.object(|detail, key| match (key.raw, detail.kind()?) {
                ("reasoning_tokens" | "thinking_tokens", Kind::Number) => store(detail, &mut usage.reasoning_tokens),
                _ => detail.skip(),
            })
        }
        _ => inner.skip(),
    })?;
    if usage.prompt_tokens.is_none()
        && let Some(input) = input
    {
        usage.prompt_tokens = Some(u32::saturating_add(input, read.unwrap_or(0)).saturating_add(written.unwrap_or(0)));
        usage.cached_tokens = usage.cached_tokens.or(read);
    }
    usage.cache_write_tokens = usage.cache_write_tokens.or(written);
    Ok(Some(usage))
}

/// llama.cpp's `timings`, which it also sends where it sends no usage: `prompt_n` are the tokens that it had to read,
/// `cache_n` those that it had.
pub(super) fn read_timings(scanner: &mut Scanner<'_>) -> Result<Option<Usage>, SyntaxError> {
    if scanner.kind()? != Kind::Object {
        scanner.skip()?;
        return Ok(None);
    }
    let mut usage = Usage::default();
    let mut read = None;
    scanner.object(|inner, key| match (key.raw, inner.kind()?) {
        ("prompt_n", Kind::Number) => store(inner, &mut read),
        ("cache_n", Kind::Number) => store(inner, &mut usage.cached_tokens),
        ("predicted_n", Kind::Number) => store(inner, &mut usage.completion_tokens),
        _ => inner.skip(),
    })?;
    usage.prompt_tokens = read.map(|read: u32| read.saturating_add(usage.cached_tokens.unwrap_or(0)));
    Ok(usage.completion_tokens.is_some().then_some(usage))
}

/// A count; what is no count is passed over.
pub(super) fn store(scanner: &mut Scanner<'_>, into: &mut Option<u32>) -> Result<(), SyntaxError> {
    *into = scanner.raw()?.parse().ok();
    Ok(())
}

fn read_count(scanner: &mut Scanner<'_>) -> Result<Option<u32>, SyntaxError> {
    let mut count = None;
    if scanner.kind()? == Kind::Number {
        store(scanner, &mut count)?;
    }
    Ok(count)
}

type Read<T> = fn(&mut Scanner<'_>) -> Result<Option<T>, SyntaxError>;

fn last<T>(body: &[u8], key: &[u8], read: Read<T>) -> Option<T> {
    memmem::find_iter(body, key).filter_map(|at| value_after(&body[at + key.len()..], read)).last()
}

fn value_after<T>(rest: &[u8], read: Read<T>) -> Option<T> {
    let object = rest.trim_ascii_start().strip_prefix(b":")?;
    // What follows the object may be cut within a character.
    let end = object.len().min(LONGEST);
    let text = match str::from_utf8(&object[..end]) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&object[..error.valid_up_to()]).unwrap_or_default(),
    };
    read(&mut Scanner::new(text)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage {
        prompt_tokens: Some(5),
        completion_tokens: Some(3),
        cached_tokens: Some(4),
        cache_write_tokens: None,
        reasoning_tokens: None,
    };

    #[test]
    fn usage_is_found_in_the_answers_of_real_servers() {
        let llama_cpp = r#"{"choices":[{"message":{"content":"say \"usage\": {\"prompt_tokens\":9}"}}],"usage":{"completion_tokens":3,
            "prompt_tokens":5,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":4}},"id":"x"}"#;
        assert_eq!(of_answer(llama_cpp.as_bytes()), Some(USAGE));
        let vllm =
            r#"{"usage": {"prompt_tokens":5,"total_tokens":8,"completion_tokens":3,"prompt_tokens_details":null}}"#;
        assert_eq!(of_answer(vllm.as_bytes()), Some(Usage { cached_tokens: None, ..USAGE }));
        let embedding = r#"{"usage":{"prompt_tokens":5,"total_tokens":5},"data":[{"embedding":[0.1,2e-3]}]}"#;
        assert_eq!(of_answer(embedding.as_bytes()), Some(Usage { prompt_tokens: Some(5), ..Usage::default() }));
    }

    #[test]
    fn anthropic_counts_cached_tokens_apart() {
        let usage = r#"{"usage":{"input_tokens":1,"cache_creation_input_tokens":2,"cache_read_input_tokens":4,"output_tokens":3}}"#;
        let seven = Usage { prompt_tokens: Some(7), cache_write_tokens: Some(2), ..USAGE };
        assert_eq!(of_answer(usage.as_bytes()), Some(seven));
        // Some tell both ways at once; OpenAI's has all of them in it.
        let both = r#"{"usage":{"prompt_tokens":5,"input_tokens":1,"completion_tokens":3,"cache_read_input_tokens":4,"prompt_tokens_details":{"cached_tokens":4}}}"#;
        assert_eq!(of_answer(both.as_bytes()), Some(USAGE));
    }

    #[test]
    fn reasoning_and_cached_tokens_are_found_where_each_tells_them() {
        let openai = r#"{"usage":{"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":0}}}"#;
        assert_eq!(of_answer(openai.as_bytes()), Some(Usage { reasoning_tokens: Some(2), ..USAGE }));
        let responses = r#"{"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":4},"output_tokens":3,
            "output_tokens_details":{"reasoning_tokens":2},"total_tokens":8}}"#;
        assert_eq!(of_answer(responses.as_bytes()), Some(Usage { reasoning_tokens: Some(2), ..USAGE }));
        // as we ourselves translate what Anthropic tells
        let translated = r#"{"usage":{"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":1}}}"#;
        assert_eq!(of_answer(translated.as_bytes()), Some(Usage { cache_write_tokens: Some(1), ..USAGE }));
        let deepseek = r#"{"usage":{"prompt_tokens":5,"completion_tokens":3,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":1}}"#;
        assert_eq!(of_answer(deepseek.as_bytes()), Some(USAGE));
    }

    #[test]
    fn timings_stand_in_for_usage() {
        let timings = r#"{"usage":null,"timings":{"cache_n":4,"prompt_n":1,"prompt_ms":0.286,"predicted_n":3}}"#;
        assert_eq!(of_answer(timings.as_bytes()), Some(USAGE));
        assert_eq!(of_answer(br#"{"timings":{"prompt_n":1}}"#), None);
    }

    #[test]
    fn ollama_counts_beside_the_answer() {
        let answer = r#"{"message":{"content":"\"eval_count\": 9"},"done":true,"prompt_eval_count":5,"eval_count":3}"#;
        assert_eq!(of_answer(answer.as_bytes()), Some(Usage { cached_tokens: None, ..USAGE }));
        let embedding = r#"{"embeddings":[[0.1]],"prompt_eval_count":5}"#;
        assert_eq!(of_answer(embedding.as_bytes()), Some(Usage { prompt_tokens: Some(5), ..Usage::default() }));
    }

    #[test]
    fn what_is_no_usage_is_none() {
        for body in
            ["", "usage", r#"{"usage":null}"#, r#"{"a":"usage"}"#, r#"{"usage":{"prompt_tokens":"#, r#"{"usage":[]}"#]
        {
            assert_eq!(of_answer(body.as_bytes()), None, "{body}");
        }
        let odd = r#"{"usage":{"prompt_tokens":-1,"completion_tokens":1.5}}"#;
        assert_eq!(of_answer(odd.as_bytes()), Some(Usage::default()));
    }

    #[test]
    fn usage_is_found_however_the_answer_is_cut() {
        let filler = "é".repeat(LONGEST);
        let body = format!(
            r#"{{"a":"{filler}","usage":{{"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{{"cached_tokens":4}}}},"b":"{filler}"}}"#
        );
        for cut in [1, 7, 64, 1000, 1024, 1025, 5000] {
            let mut scan = UsageScan::default();
            body.as_bytes().chunks(cut).for_each(|piece| scan.push(piece));
            assert_eq!(scan.usage(), Some(USAGE), "in pieces of {cut}");
            assert!(scan.carried.len() <= LONGEST);
        }
    }
}
