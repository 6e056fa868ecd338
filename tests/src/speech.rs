//! What clients ask and providers answer in each dialect, and what a client makes of an answer.

use serde_json::{Value, json};
use witgate_core::config::Dialect;

use crate::reply::{DONE, chat_body, chat_events, error_body};

/// The words of one dialect, spoken by clients and by providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// OpenAI's chat completions.
    Chat,
    /// Anthropic's Messages.
    Messages,
}

impl Speech {
    /// All that clients speak.
    pub const ALL: [Self; 2] = [Self::Chat, Self::Messages];

    /// What a provider of this dialect speaks; `None` where nothing goes over a wire.
    pub fn of(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::OpenAi | Dialect::Ollama => Some(Self::Chat),
            Dialect::Anthropic => Some(Self::Messages),
            Dialect::Demo => None,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
        }
    }

    /// Where it is asked for.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
        }
    }

    /// A question.
    pub fn question(self, model: &str, text: &str, stream: bool) -> String {
        let messages = json!([{"role": "user", "content": text}]);
        match self {
            Self::Chat => json!({"model": model, "messages": messages, "stream": stream}),
            Self::Messages => json!({"model": model, "messages": messages, "stream": stream, "max_tokens": 64}),
        }
        .to_string()
    }

    /// An answer that is not streamed.
    pub fn whole(self, text: &str) -> String {
        match self {
            Self::Chat => chat_body(text),
            Self::Messages => {
                let content = json!([{"type": "text", "text": text}]);
                message(&content, json!("end_turn"), 2).to_string()
            }
        }
    }

    /// The events of a streamed answer, one for each word and those around them.
    pub fn events(self, text: &str) -> Vec<String> {
        match self {
            Self::Chat => chat_events(text),
            Self::Messages => {
                let word = |word| self.word(word);
                let start = json!({"type": "message_start", "message": message(&json!([]), Value::Null, 0)});
                let block = json!({"type": "text", "text": ""});
                let before = [start, json!({"type": "content_block_start", "index": 0, "content_block": block})];
                let stop = json!({"stop_reason": "end_turn", "stop_sequence": null});
                let after = [
                    json!({"type": "content_block_stop", "index": 0}),
                    json!({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 2}}),
                    json!({"type": "message_stop"}),
                ];
                let before = before.iter().map(named);
                before.chain(text.split_inclusive(' ').map(word)).chain(after.iter().map(named)).collect()
            }
        }
    }

    /// The event of one word.
    pub fn word(self, word: &str) -> String {
        match self {
            Self::Chat => chat_events(word).swap_remove(0),
            Self::Messages => {
                let delta = json!({"type": "text_delta", "text": word});
                named(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
            }
        }
    }

    /// How many of [`Speech::events`] come before the first word.
    pub fn before_words(self) -> usize {
        match self {
            Self::Chat => 0,
            Self::Messages => 2,
        }
    }

    /// An error.
    pub fn error(self, message: &str) -> String {
        match self {
            Self::Chat => error_body(message),
            Self::Messages => json!({"type": "error", "error": {"type": "api_error", "message": message}}).to_string(),
        }
    }

    /// An error as an event.
    pub fn error_event(self, message: &str) -> String {
        match self {
            Self::Chat => format!("data: {}\n\n", self.error(message)),
            Self::Messages => format!("event: error\ndata: {}\n\n", self.error(message)),
        }
    }

    /// What a client of this dialect makes of a body that came to its proper end. What no SDK can read is an `Err`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn understand(self, body: &str, stream: bool) -> Result<Understood, String> {
        if !stream {
            let value = serde_json::from_str::<Value>(body).map_err(|error| format!("{error} in {body:?}"))?;
            return self.understand_whole(&value);
        }
        let mut text = String::new();
        let mut events = body.split_terminator("\n\n");
        let end = loop {
            let Some(event) = events.next() else { return Err(format!("a stream without an end: {body:?}")) };
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let Some(data) = data else { return Err(format!("an event without data: {event:?}")) };
            if data == DONE.trim_start_matches("data: ").trim() {
                break Understood::Text(text);
            }
            let value = serde_json::from_str::<Value>(data).map_err(|error| format!("{error} in {data:?}"))?;
            if value.get("error").is_some_and(|error| !error.is_null()) {
                break Understood::Error(code(&value));
            }
            if value["type"] == "message_stop" {
                break Understood::Text(text);
            }
            text += match self {
                Self::Chat => value["choices"][0]["delta"]["content"].as_str().unwrap_or_default(),
                Self::Messages => value["delta"]["text"].as_str().unwrap_or_default(),
            };
        };
        match events.next() {
            None => Ok(end),
            Some(more) => Err(format!("{more:?} after the end of {body:?}")),
        }
    }

    fn understand_whole(self, value: &Value) -> Result<Understood, String> {
        if value.get("error").is_some_and(|error| error["message"].is_string()) {
            return Ok(Understood::Error(code(value)));
        }
        let text = match self {
            Self::Chat => &value["choices"][0]["message"]["content"],
            Self::Messages => &value["content"][0]["text"],
        };
        text.as_str().map(|text| Understood::Text(text.to_owned())).ok_or_else(|| format!("no answer: {value}"))
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Understood {
    /// All of a text.
    Text(String),
    /// An error, with its code where it has one.
    Error(Option<String>),
}

fn code(value: &Value) -> Option<String> {
    value["error"]["code"].as_str().map(str::to_owned)
}

fn message(content: &Value, stop_reason: Value, tokens: u32) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "real", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": tokens},
    })
}

/// Anthropic's events have their type as their name, too.
fn named(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}
