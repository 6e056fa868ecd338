//! What a model server tells of its models when it is asked. Pure: texts in, facts out; asking is the host's.
//!
//! Read are llama.cpp's list of models (`meta.n_ctx`, the context of one slot, and `architecture.input_modalities`; older
//! servers say the context in `/props`), vLLM's and SGLang's (`max_model_len`), and Ollama's `/api/show` (`capabilities`,
//! and `num_ctx` of a Modelfile) and `/api/ps` (`context_length` of what is loaded).

use serde::Deserialize;

use crate::ability::{Abilities, Ability};
use crate::facts::{self, Loaded};
use crate::live::Learnt;

/// Reads `GET /v1/models`: each model's name and what is told of it. `None` when it is no list of models.
pub fn of_models(json: &[u8]) -> Option<Vec<(String, Learnt)>> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
        max_model_len: Option<u32>,
        meta: Option<Meta>,
        architecture: Option<Architecture>,
    }
    #[derive(Deserialize)]
    struct Meta {
        n_ctx: Option<u32>,
    }
    #[derive(Deserialize)]
    struct Architecture {
        input_modalities: Option<Vec<String>>,
    }
    let list: List = serde_json::from_slice(json).ok()?;
    let learnt = |model: Model| {
        let context_tokens = model.max_model_len.or_else(|| model.meta?.n_ctx).filter(|tokens| *tokens > 0);
        let takes = model.architecture.and_then(|architecture| architecture.input_modalities);
        let abilities = takes.map_or_else(Abilities::default, |takes| {
            let can = |kind: &str| takes.iter().any(|takes| takes == kind);
            Abilities::default().with(Ability::Vision, can("image")).with(Ability::Audio, can("audio"))
        });
        (model.id, Learnt { abilities, context_tokens })
    };
    Some(list.data.into_iter().map(learnt).collect())
}

/// Reads llama.cpp's `/props`: the context of one slot.
pub fn of_props(json: &[u8]) -> Option<u32> {
    Some(facts::of_props(json)?.context_tokens).filter(|tokens| *tokens > 0)
}

/// The context that Ollama gives a model that it has in memory, of what `/api/ps` says.
pub fn of_loaded(model: &str, loaded: &[Loaded]) -> Option<u32> {
    let one = loaded.iter().find(|one| facts::is_same(model, &one.name))?;
    Some(one.context_length).filter(|tokens| *tokens > 0)
}

/// Reads Ollama's `/api/show`; `None` when it does not say. The window in `model_info` is the one that the model was
/// trained with, and not the one that Ollama gives it; a Modelfile may say that one.
pub fn of_show(json: &[u8]) -> Option<Learnt> {
    #[derive(Deserialize)]
    struct Shown {
        capabilities: Vec<String>,
        #[serde(default)]
        parameters: String,
    }
    let Shown { capabilities, parameters } = serde_json::from_slice(json).ok()?;
    let num_ctx = |line: &str| {
        let (name, value) = line.trim().split_once(char::is_whitespace)?;
        (name == "num_ctx").then(|| value.trim().parse().ok())?
    };
    let context_tokens = parameters.lines().find_map(num_ctx).filter(|tokens| *tokens > 0);
    let can = |word: &str| capabilities.iter().any(|own| own == word);
    let abilities = Abilities::default()
        .with(Ability::Chat, can("completion"))
        .with(Ability::Embeddings, can("embedding"))
        .with(Ability::Tools, can("tools"))
        .with(Ability::Vision, can("vision"));
    // Who cannot think may well be asked to: it answers without.
    let abilities = if can("thinking") { abilities.with(Ability::Reasoning, true) } else { abilities };
    Some(Learnt { abilities, context_tokens })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn llama_cpp_tells_the_context_of_a_slot_and_what_it_takes() {
        let json = br#"{"models":[{"name":"tiny-a"}],"object":"list","data":[{"id":"tiny-a","object":"model",
            "architecture":{"input_modalities":["text","image"],"output_modalities":["text"]},
            "meta":{"vocab_type":2,"n_vocab":338,"n_ctx":1024,"n_ctx_train":4096}}]}"#;
        let abilities = Abilities::default().with(Ability::Vision, true).with(Ability::Audio, false);
        let expected = Learnt { abilities, context_tokens: Some(1024) };
        assert_eq!(of_models(json).unwrap(), [("tiny-a".to_owned(), expected)]);
    }

    #[test]
    fn vllm_tells_the_longest_context() {
        let json = br#"{"object":"list","data":[{"id":"v","max_model_len":2048,"parent":null},{"id":"w"}]}"#;
        let told = Learnt { context_tokens: Some(2048), ..Learnt::default() };
        assert_eq!(of_models(json).unwrap(), [("v".to_owned(), told), ("w".to_owned(), Learnt::default())]);
        assert_eq!(of_models(b"{}"), None);
    }

    #[test]
    fn an_older_llama_cpp_tells_its_context_in_its_properties() {
        let props = |n_ctx| format!(r#"{{"default_generation_settings":{{"n_ctx":{n_ctx}}},"total_slots":2}}"#);
        assert_eq!(of_props(props(256).as_bytes()), Some(256));
        assert_eq!((of_props(props(0).as_bytes()), of_props(b"{}")), (None, None));
    }

    #[test]
    fn ollama_tells_the_context_that_it_gives_a_model() {
        let loaded = facts::of_ps(
            br#"{"models":[{"name":"gemma3:latest","context_length":4096},{"name":"qwen3:8b","context_length":0}]}"#,
        );
        let loaded = loaded.unwrap();
        let told = ["gemma3", "gemma3:latest", "qwen3:8b", "qwen3"].map(|model| of_loaded(model, &loaded));
        assert_eq!(told, [Some(4096), Some(4096), None, None]);
        let shown = |parameters: &str| {
            let json = serde_json::json!({"capabilities": ["completion"], "parameters": parameters});
            of_show(json.to_string().as_bytes()).unwrap().context_tokens
        };
        let parameters = "temperature                    0.7\nnum_ctx                        8192\nstop  \"num_ctx 1\"";
        assert_eq!((shown(parameters), shown("num_ctx 0"), shown("num_ctx many")), (Some(8192), None, None));
    }

    #[test]
    fn ollama_tells_what_a_model_can() {
        let learnt =
            of_show(br#"{"capabilities":["completion","tools"],"model_info":{"llama.context_length":131072}}"#);
        let can = |learnt: Learnt| {
            let asked = [Ability::Chat, Ability::Tools, Ability::Vision, Ability::Embeddings, Ability::Reasoning];
            asked.map(|ability| learnt.abilities.can(ability))
        };
        assert_eq!(can(learnt.unwrap()), [Some(true), Some(true), Some(false), Some(false), None]);
        assert_eq!(learnt.unwrap().context_tokens, None);
        let embeds = of_show(br#"{"capabilities":["embedding"]}"#).unwrap();
        assert_eq!(can(embeds), [Some(false), Some(false), Some(false), Some(true), None]);
        // before 0.6.4 it did not say
        assert_eq!(of_show(br#"{"modelfile":""}"#), None);
    }
}
