//! Embeddings by `/api/embed`.

use serde_json::value::RawValue;

use super::Target;
use super::response::NotAnAnswer;
use crate::dialect::json::{Members, Object, array, kind, list};
use crate::dialect::ollama::OLLAMA_API;
use crate::dialect::{Losses, Refusal, Translated};
use crate::openai::json::Kind;

/// Translates a body that was [peeked](crate::openai::peek()) at. In which encoding the client wants the vectors is not
/// Ollama's to know: it gives numbers.
///
/// # Errors
/// When it holds a loss that is refused.
pub fn embed_request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut losses = Losses::new(target.on_loss, OLLAMA_API);
    let mut out = Object::new().text("model", target.model);
    for (key, value) in members.iter() {
        match key {
            "model" | "user" | "encoding_format" => {}
            "input" if is_text(value) => out.put(key, value.get()),
            "input" => {
                losses.demand("input (tokens)")?;
                out.put(key, "[]");
            }
            // `dimensions`, `truncate`, `options`, and whatever Ollama may know that OpenAI does not: it judges.
            _ => out.put(key, value.get()),
        }
    }
    Ok(Translated { body: out.finish(), dropped: losses.into_dropped() })
}

fn is_text(input: &RawValue) -> bool {
    kind(input) == Kind::String || list(input).is_some_and(|texts| texts.iter().all(|text| kind(text) == Kind::String))
}

/// Translates the vectors.
///
/// # Errors
/// When there are none.
pub fn embed_response(body: &str) -> Result<String, NotAnAnswer> {
    let answer = Members::parse(body).ok_or(NotAnAnswer)?;
    let vectors = answer.get("embeddings").and_then(list).ok_or(NotAnAnswer)?;
    let data = vectors.iter().enumerate().map(|(place, vector)| {
        Object::new().text("object", "embedding").plain("index", place).raw("embedding", vector.get()).finish()
    });
    let data: Vec<String> = data.collect();
    let tokens = answer.count("prompt_eval_count").unwrap_or(0);
    let usage = Object::new().plain("prompt_tokens", tokens).plain("total_tokens", tokens).finish();
    Ok(Object::new()
        .text("object", "list")
        .raw("data", &array(&data))
        .text("model", &answer.text("model").unwrap_or_default())
        .raw("usage", &usage)
        .finish())
}
