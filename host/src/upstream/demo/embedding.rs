//! Embeddings of the demo provider: unit vectors that depend on the text alone and mean nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use witgate_core::openai::Peek;

/// The answer to a request.
pub(super) fn answer(body: &[u8], peek: &Peek) -> Bytes {
    let request: Request = serde_json::from_slice(body).unwrap_or_default();
    let dimensions = request.dimensions.unwrap_or(DIMENSIONS).clamp(1, MOST_DIMENSIONS);
    let inputs = match request.input {
        // One list of tokens is one input.
        Value::Array(inputs) if !inputs.first().is_some_and(Value::is_number) => inputs,
        one => vec![one],
    };
    let data = inputs.iter().enumerate().map(|(index, input)| {
        let vector = vector(&input.to_string(), dimensions);
        let embedding = match request.encoding_format.as_deref() {
            Some("base64") => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                STANDARD.encode(bytes).into()
            }
            _ => json!(vector),
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    let answer = json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": peek.model,
        "usage": {"prompt_tokens": peek.prompt_tokens, "total_tokens": peek.prompt_tokens},
    });
    answer.to_string().into()
}

/// What is read besides the peek; what cannot be read is as good as absent.
#[derive(Default, Deserialize)]
struct Request {
    #[serde(default)]
    input: Value,
    encoding_format: Option<String>,
    dimensions: Option<usize>,
}

/// Of length 1.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(dimensions);
    for block in 0_u32.. {
        let hash = Sha256::new().chain_update(block.to_le_bytes()).chain_update(text).finalize();
        for pair in hash.chunks_exact(2) {
            if values.len() == dimensions {
                let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
                values.iter_mut().for_each(|value| *value /= length);
                return values;
            }
            // Odd numbers over the half: never 0, so that there is a length to divide by.
            let whole = i32::from(i16::from_le_bytes([pair[0], pair[1]]));
            values.push((2 * whole + 1) as f32 / 65_536.0);
        }
    }
    values
}

const DIMENSIONS: usize = 256;
const MOST_DIMENSIONS: usize = 4096;
