//! From an answer of `/api/chat` to a chat completion.

use super::super::{OLLAMA_API, OPENAI_API};
use super::Stamp;
use crate::dialect::json::{Members, Object, array};

/// Why an answer is not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not one of {OLLAMA_API}, so it cannot be told in {OPENAI_API}")]
pub struct NotAnAnswer;

/// Translates a whole answer.
///
/// # Errors
/// When it is not the answer to a chat, or not all of it.
pub fn response(body: &str, stamp: &Stamp) -> Result<String, NotAnAnswer> {
    let answer = Members::parse(body).ok_or(NotAnAnswer)?;
    let message = answer.get("message").and_then(Members::of).ok_or(NotAnAnswer)?;
    if !is_done(&answer) {
        return Err(NotAnAnswer);
    }
    let calls = calls(&message, &stamp.id, 0);
    let mut said = Object::new()
        .text("role", "assistant")
        .text("content", &message.text("content").unwrap_or_default())
        .raw("refusal", "null");
    if let Some(thinking) = message.text("thinking").filter(|text| !text.is_empty()) {
        said.put("reasoning_content", &crate::dialect::json::quoted(&thinking));
    }
    if !calls.is_empty() {
        said.put("tool_calls", &array(&calls));
    }
    let choice = Object::new()
        .plain("index", 0)
        .raw("message", &said.finish())
        .raw("logprobs", &logprobs(&answer))
        .text("finish_reason", finish_reason(&answer, !calls.is_empty()));
    Ok(Object::new()
        .text("id", &stamp.id)
        .text("object", "chat.completion")
        .plain("created", stamp.created)
        .text("model", &answer.text("model").unwrap_or_default())
        .raw("choices", &array(&[choice.finish()]))
        .raw("usage", &usage(&answer))
        .finish())
}

pub(super) fn is_done(answer: &Members<'_>) -> bool {
    answer.get("done").is_some_and(|done| done.get() == "true")
}

/// The calls of a message, the first of which is that many of the answer. Ollama's older versions name no ids, and a
/// client needs one to give the result back.
pub(super) fn calls(message: &Members<'_>, answer: &str, first: usize) -> Vec<String> {
    let calls = message.list("tool_calls");
    let calls = calls.into_iter().filter_map(Members::of).enumerate();
    calls
        .map(|(place, call)| {
            let function = call.object("function");
            let arguments = function.get("arguments").map_or("{}", |arguments| arguments.get());
            let id = call.text("id").filter(|id| !id.is_empty());
            let id = id.map_or_else(|| format!("call_{answer}_{}", first + place), std::borrow::Cow::into_owned);
            let function = Object::new()
                .text("name", &function.text("name").unwrap_or_default())
                .text("arguments", arguments)
                .finish();
            Object::new()
                .plain("index", first + place)
                .text("id", &id)
                .text("type", "function")
                .raw("function", &function)
                .finish()
        })
        .collect()
}

/// OpenAI's word for why the answer ended.
pub(super) fn finish_reason(answer: &Members<'_>, called: bool) -> &'static str {
    match answer.text("done_reason").as_deref() {
        Some("length") => "length",
        _ if called => "tool_calls",
        // `stop`, `load`, `unload`, and what may come.
        _ => "stop",
    }
}

/// The log probabilities, which are of the same shape in both.
pub(super) fn logprobs(answer: &Members<'_>) -> String {
    match answer.get("logprobs") {
        Some(content) => Object::new().raw("content", content.get()).raw("refusal", "null").finish(),
        None => "null".to_owned(),
    }
}

/// Tokens as OpenAI counts them. Ollama leaves out what is zero.
pub(super) fn usage(answer: &Members<'_>) -> String {
    let (prompt, completion) =
        (answer.count("prompt_eval_count").unwrap_or(0), answer.count("eval_count").unwrap_or(0));
    Object::new()
        .plain("prompt_tokens", prompt)
        .plain("completion_tokens", completion)
        .plain("total_tokens", prompt.saturating_add(completion))
        .finish()
}
