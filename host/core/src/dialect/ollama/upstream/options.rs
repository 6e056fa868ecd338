//! What OpenAI's dialect says at the top of a request, and Ollama in `options`.

use serde_json::value::RawValue;

use crate::dialect::json::{Members, Object, kind};
use crate::openai::json::Kind;

/// Options as far as they have been read; values are JSON.
#[derive(Default)]
pub(super) struct Options<'a> {
    own: Option<&'a RawValue>,
    limit: Option<&'a RawValue>,
    newer_limit: Option<&'a RawValue>,
    rest: Vec<(&'a str, String)>,
}

impl<'a> Options<'a> {
    /// Whether the field is an option.
    pub(super) fn read(&mut self, key: &str, value: &'a RawValue) -> bool {
        match key {
            // Ollama's own form, from clients that send it anyway.
            "options" => self.own = Some(value),
            "max_tokens" => self.limit = Some(value),
            "max_completion_tokens" => self.newer_limit = Some(value),
            "stop" => {
                let one = kind(value) == Kind::String;
                self.rest.push(("stop", if one { format!("[{}]", value.get()) } else { value.get().to_owned() }));
            }
            _ => match OPTIONS.iter().find(|option| **option == key) {
                Some(option) => self.rest.push((option, value.get().to_owned())),
                None => return false,
            },
        }
        true
    }

    /// The value of `options`; what the client gave in Ollama's words wins. `None` when there is none.
    pub(super) fn to_json(&self) -> Option<String> {
        let own = self.own.and_then(Members::of);
        let has = |key: &str| own.as_ref().is_some_and(|own| own.get(key).is_some());
        let limit = self.newer_limit.or(self.limit).map(|limit| ("num_predict", limit.get().to_owned()));
        let mut options = Object::new();
        let mut any = false;
        for (key, value) in own.iter().flat_map(Members::iter) {
            options.put(key, value.get());
            any = true;
        }
        for (key, value) in limit.into_iter().chain(self.rest.iter().cloned()).filter(|(key, _)| !has(key)) {
            options.put(key, &value);
            any = true;
        }
        any.then(|| options.finish())
    }
}

/// Of the same name in both, or Ollama's alone (`api.Options`).
const OPTIONS: [&str; 19] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "num_keep",
    "num_predict",
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
];
