//! Embeddings.

use super::Target;
use super::response::NotACompletion;
use crate::dialect::json::{Members, Object, array, is_neutral};
use crate::dialect::ollama::EMBEDDINGS_API;
use crate::dialect::{Losses, Refusal, Translated};

/// Translates a body that was [peeked](crate::openai::peek()) at.
///
/// # Errors
/// When it holds a loss that is refused.
pub fn embed_request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut losses = Losses::new(target.on_loss, EMBEDDINGS_API);
    let mut out = Object::new().text("model", target.model);
    for (key, value) in members.iter() {
        match key {
            "model" => {}
            "input" => out.put(key, value.get()),
            _ if is_neutral(value) => {}
            "truncate" | "options" | "keep_alive" => losses.hint(key)?,
            // `dimensions`, and whatever the provider may know: it judges.
            _ => out.put(key, value.get()),
        }
    }
    Ok(Translated { body: out.text("encoding_format", "float").finish(), dropped: losses.into_dropped() })
}

/// Translates the vectors.
///
/// # Errors
/// When there are none.
pub fn embed_response(body: &str) -> Result<String, NotACompletion> {
    let answer = Members::parse(body).ok_or(NotACompletion)?;
    answer.get("data").ok_or(NotACompletion)?;
    let mut vectors: Vec<(u64, String)> = Vec::new();
    for item in answer.list("data") {
        let item = Members::of(item).ok_or(NotACompletion)?;
        let vector = item.get("embedding").ok_or(NotACompletion)?;
        vectors.push((item.count("index").unwrap_or(vectors.len() as u64), vector.get().to_owned()));
    }
    vectors.sort_by_key(|(index, _)| *index);
    let vectors: Vec<String> = vectors.into_iter().map(|(_, vector)| vector).collect();
    let out = Object::new().text("model", &answer.text("model").unwrap_or_default());
    let out = out.raw("embeddings", &array(&vectors));
    Ok(match answer.object("usage").count("prompt_tokens").filter(|tokens| *tokens > 0) {
        Some(tokens) => out.plain("prompt_eval_count", tokens).finish(),
        None => out.finish(),
    })
}
