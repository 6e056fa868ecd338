//! Chats and completions of the demo provider.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use witgate_core::config::Demo as Settings;
use witgate_core::openai::{Endpoint, Peek, prompt_text};

use super::Step;

/// One answer, as tokens. A token is a word with the blank after it.
pub(super) struct Text<'a> {
    peek: &'a Peek,
    tokens: Vec<String>,
    finish_reason: &'static str,
    id: String,
    created: u64,
}

impl<'a> Text<'a> {
    /// What is answered to this request, within its `max_tokens`.
    pub(super) fn new(body: &[u8], peek: &'a Peek, reply: Option<&str>, created: u64) -> Self {
        let reply = reply.map_or_else(|| default_reply(&peek.model, &prompt_text(body, peek)), str::to_owned);
        let mut tokens: Vec<String> = reply.split_inclusive(' ').map(str::to_owned).collect();
        let most = peek.max_output_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        let finish_reason = if tokens.len() > most { "length" } else { "stop" };
        tokens.truncate(most);
        let prefix = if peek.endpoint == Endpoint::Chat { "chatcmpl" } else { "cmpl" };
        let hash = Sha256::digest(body);
        let id: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { peek, tokens, finish_reason, id: format!("{prefix}-demo-{id}"), created }
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// As one answer.
    pub(super) fn whole(&self) -> Bytes {
        let text = self.tokens.concat();
        // Requests in other dialects come translated.
        let chat = self.peek.endpoint == Endpoint::Chat;
        let choices = (0..self.peek.choices).map(|index| {
            if chat {
                json!({
                    "index": index,
                    "message": {"role": "assistant", "content": text, "refusal": null},
                    "logprobs": null,
                    "finish_reason": self.finish_reason,
                })
            } else {
                json!({"index": index, "text": text, "logprobs": null, "finish_reason": self.finish_reason})
            }
        });
        let mut answer = self.envelope("chat.completion", choices.collect());
        answer["usage"] = self.usage();
        answer.to_string().into()
    }

    /// As the events of a stream.
    pub(super) fn stream(&self, settings: &Settings) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.peek.endpoint == Endpoint::Chat {
            self.push(&mut steps, &json!({"role": "assistant", "content": ""}), Value::Null);
        }
        for (place, token) in self.tokens.iter().enumerate() {
            let first = steps.len();
            self.push(&mut steps, &json!({"content": token}), Value::Null);
            if place > 0 {
                steps[first].after = settings.token_delay;
            }
        }
        self.push(&mut steps, &json!({}), self.finish_reason.into());
        if self.peek.include_usage {
            let mut last = self.envelope("chat.completion.chunk", Vec::new());
            last["usage"] = self.usage();
            steps.push(event(&last.to_string()));
        }
        steps.push(event("[DONE]"));
        steps[0].after = settings.first_token_delay;
        steps
    }

    /// One event for each choice.
    fn push(&self, steps: &mut Vec<Step>, delta: &Value, finish_reason: Value) {
        for index in 0..self.peek.choices {
            let choice = if self.peek.endpoint == Endpoint::Chat {
                json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason})
            } else {
                json!({
                    "index": index,
                    "text": delta.get("content").and_then(Value::as_str).unwrap_or_default(),
                    "logprobs": null,
                    "finish_reason": finish_reason,
                })
            };
            let mut chunk = self.envelope("chat.completion.chunk", vec![choice]);
            if self.peek.include_usage {
                chunk["usage"] = Value::Null;
            }
            steps.push(event(&chunk.to_string()));
        }
    }

    fn envelope(&self, chat_object: &str, choices: Vec<Value>) -> Value {
        let object = if self.peek.endpoint == Endpoint::Chat { chat_object } else { "text_completion" };
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.peek.model,
            "system_fingerprint": "fp_demo",
            "choices": choices,
        })
    }

    fn usage(&self) -> Value {
        let completion = self.tokens.len() as u64 * u64::from(self.peek.choices);
        let prompt = u64::from(self.peek.prompt_tokens);
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        })
    }
}

fn default_reply(model: &str, prompt: &str) -> String {
    let last = prompt.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing").trim();
    let quoted: String = last.chars().take(QUOTED).collect();
    format!("This is {model}, a demo model that is part of Witgate. You said: {quoted}")
}

fn event(data: &str) -> Step {
    Step { after: std::time::Duration::ZERO, bytes: format!("data: {data}\n\n").into() }
}

/// Characters of the prompt that are said back.
const QUOTED: usize = 200;
