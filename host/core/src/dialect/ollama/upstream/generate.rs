//! Completions by `/api/generate`, as Ollama's own `/v1` makes them: the model's template is applied.

use serde_json::value::RawValue;

use super::options::Options;
use super::response::{NotAnAnswer, finish_reason, is_done, usage};
use super::{Stamp, Target};
use crate::dialect::json::{Members, Object, array, kind, list, quoted};
use crate::dialect::ollama::OLLAMA_API;
use crate::dialect::{Losses, Refusal, Translated};
use crate::openai::json::Kind;

/// Translates a body that was [peeked](crate::openai::peek()) at.
///
/// # Errors
/// When it is not what completions must be, or holds a loss that is refused.
pub fn generate_request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut losses = Losses::new(target.on_loss, OLLAMA_API);
    let mut options = Options::default();
    let (mut prompt, mut stream, mut rest) = (r#""""#.to_owned(), "false", Vec::new());
    for (key, value) in members.iter() {
        match key {
            "prompt" => prompt = one_text(value, &mut losses)?,
            "stream" => stream = value.get(),
            _ if options.read(key, value) => {}
            "model" | "user" | "stream_options" => {}
            "n" | "best_of" if value.get() == "1" => {}
            _ if DEMANDS.contains(&key) => losses.demand_unless_neutral(key, value)?,
            "logit_bias" => losses.hint_unless_neutral(key, value)?,
            // `suffix`, `keep_alive`, and whatever Ollama may know that OpenAI does not: it judges.
            _ => rest.push((key, value.get())),
        }
    }
    let mut out = Object::new().text("model", target.model).raw("prompt", &prompt).raw("stream", stream);
    if let Some(options) = options.to_json() {
        out.put("options", &options);
    }
    for (key, value) in rest {
        out.put(key, value);
    }
    Ok(Translated { body: out.finish(), dropped: losses.into_dropped() })
}

/// Ollama completes one text at a time.
fn one_text(prompt: &RawValue, losses: &mut Losses) -> Result<String, Refusal> {
    let one = match kind(prompt) {
        Kind::String => Some(prompt),
        Kind::Array => match list(prompt).as_deref() {
            Some([one]) if kind(one) == Kind::String => Some(*one),
            _ => None,
        },
        Kind::Null | Kind::Boolean | Kind::Number | Kind::Object => None,
    };
    match one {
        Some(text) => Ok(text.get().to_owned()),
        None => {
            losses.demand("prompt (several texts, or tokens)")?;
            // Where all may be lost, the texts that there are make one.
            let texts = list(prompt).unwrap_or_default();
            let texts: Vec<_> = texts.into_iter().filter_map(crate::dialect::json::text).collect();
            Ok(quoted(&texts.join("\n")))
        }
    }
}

/// Translates a whole answer to a completion.
///
/// # Errors
/// When it is not the answer to a completion, or not all of it.
pub fn generate_response(body: &str, stamp: &Stamp) -> Result<String, NotAnAnswer> {
    let answer = Members::parse(body).ok_or(NotAnAnswer)?;
    let text = answer.text("response").ok_or(NotAnAnswer)?;
    if !is_done(&answer) {
        return Err(NotAnAnswer);
    }
    let mut choice = Object::new().plain("index", 0).text("text", &text);
    if let Some(thinking) = answer.text("thinking").filter(|text| !text.is_empty()) {
        choice.put("reasoning_content", &quoted(&thinking));
    }
    let choice = choice.raw("logprobs", "null").text("finish_reason", finish_reason(&answer, false));
    Ok(Object::new()
        .text("id", &stamp.id)
        .text("object", "text_completion")
        .plain("created", stamp.created)
        .text("model", &answer.text("model").unwrap_or_default())
        .raw("choices", &array(&[choice.finish()]))
        .raw("usage", &usage(&answer))
        .finish())
}

/// What shapes the answer, and Ollama cannot do, or says in another shape.
const DEMANDS: [&str; 4] = ["n", "best_of", "echo", "logprobs"];
