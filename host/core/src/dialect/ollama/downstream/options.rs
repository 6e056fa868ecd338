//! What Ollama says in `options`, and OpenAI's dialect at the top of a request.

use serde_json::value::RawValue;

use super::Target;
use crate::dialect::json::{Members, Object};
use crate::dialect::{Losses, Refusal};

/// Adds the options to the request.
pub(super) fn spread(
    options: &RawValue,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut Object,
) -> Result<(), Refusal> {
    let Some(options) = Members::of(options) else {
        return Err(Refusal::invalid("options", "expected an object"));
    };
    for (key, value) in options.iter() {
        match key {
            // Ollama's words for no limit.
            "num_predict" if value.get().starts_with('-') => {}
            "num_predict" => out.put(target.output_limit.field(), value.get()),
            // Ollama's word for another one each time.
            "seed" if value.get().starts_with('-') => {}
            _ if SAME.contains(&key) => out.put(key, value.get()),
            _ => losses.hint(&format!("options.{key}"))?,
        }
    }
    Ok(())
}

/// Of the same name in both, or known to many servers beyond OpenAI's: the provider judges. All others are about how a
/// model is loaded.
const SAME: [&str; 11] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "repeat_last_n",
];
