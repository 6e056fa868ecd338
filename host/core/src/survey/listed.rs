//! Reads the lists of models.

use serde::Deserialize;
use serde_json::Value;

use super::{Kind, Listed, Model};

#[derive(Deserialize)]
struct List {
    /// Null where Ollama has none.
    data: Option<Vec<Entry>>,
    /// llama.cpp gives Ollama's list beside OpenAI's.
    #[serde(default)]
    models: Vec<Beside>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    owned_by: Option<String>,
    #[serde(default)]
    max_model_len: Option<u64>,
    #[serde(default)]
    meta: Option<Meta>,
    #[serde(default)]
    architecture: Value,
}

#[derive(Default, Deserialize)]
struct Meta {
    n_ctx: Option<u64>,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Beside {
    name: String,
    #[serde(default)]
    capabilities: Vec<String>,
}

/// Reads the answer to `GET /v1/models`; `None` when it is not that.
pub fn of_models(json: &[u8]) -> Option<Listed> {
    // Together gives the list without an envelope.
    let bare = json.trim_ascii_start().starts_with(b"[");
    let list = if bare {
        List { data: Some(serde_json::from_slice(json).ok()?), models: Vec::new() }
    } else {
        serde_json::from_slice(json).ok()?
    };
    let List { data, models: besides } = list;
    // A list that is not there at all is no list.
    let data = data.or_else(|| memchr::memmem::find(json, b"\"data\"").map(|_| Vec::new()))?;
    let owner = data.iter().find_map(|entry| entry.owned_by.as_deref()).unwrap_or_default();
    let kind = match owner {
        "witgate" => return Some(Listed::Gateway),
        "llamacpp" => Kind::LlamaCpp,
        "vllm" => Kind::Vllm,
        "sglang" => Kind::Sglang,
        "library" => Kind::Ollama,
        "organization_owner" | "organization-owner" => Kind::LmStudio,
        "me" => Kind::LlamaCppPython,
        _ => Kind::Other,
    };
    let models = data.into_iter().map(|entry| {
        let beside = besides.iter().find(|beside| beside.name == entry.id);
        let mut capabilities = beside.map(|beside| words(&beside.capabilities)).unwrap_or_default();
        let inputs = entry.architecture["input_modalities"].as_array();
        if inputs.is_some_and(|inputs| inputs.iter().any(|input| input == "image")) && !capabilities.contains(&"vision")
        {
            capabilities.push("vision");
        }
        let meta = entry.meta.unwrap_or_default();
        Model { id: entry.id, context: entry.max_model_len.or(meta.n_ctx), size: meta.size, capabilities }
    });
    Some(Listed::Server(kind, models.collect()))
}

/// Reads Ollama's `GET /api/tags`; `None` when it is not that.
pub fn of_tags(json: &[u8]) -> Option<Vec<Model>> {
    #[derive(Deserialize)]
    struct Tags {
        models: Vec<Tag>,
    }
    #[derive(Deserialize)]
    struct Tag {
        name: String,
        #[serde(default)]
        size: Option<u64>,
        #[serde(default)]
        details: Details,
        #[serde(default)]
        capabilities: Vec<String>,
    }
    #[derive(Default, Deserialize)]
    struct Details {
        #[serde(default)]
        context_length: Option<u64>,
    }
    let tags: Tags = serde_json::from_slice(json).ok()?;
    let models = tags.models.into_iter().map(|tag| Model {
        id: tag.name,
        context: tag.details.context_length.filter(|tokens| *tokens > 0),
        size: tag.size,
        capabilities: words(&tag.capabilities),
    });
    Some(models.collect())
}

/// What llama.cpp's `GET /props` adds to the capabilities of its model.
pub fn of_props(json: &[u8], model: &mut Model) {
    let Ok(props) = serde_json::from_slice::<Value>(json) else { return };
    let truth = |pointer: &str| props.pointer(pointer).and_then(Value::as_bool) == Some(true);
    for (pointer, word) in [
        ("/chat_template_caps/supports_tools", "tools"),
        ("/modalities/vision", "vision"),
        ("/modalities/audio", "audio"),
    ] {
        if truth(pointer) && !model.capabilities.contains(&word) {
            model.capabilities.push(word);
        }
    }
}

/// From Ollama's words to ours.
fn words(theirs: &[String]) -> Vec<&'static str> {
    let mut ours = Vec::new();
    for word in theirs {
        let word = match word.as_str() {
            "completion" => "chat",
            "tools" => "tools",
            "vision" => "vision",
            "audio" => "audio",
            "thinking" => "reasoning",
            "embedding" => "embeddings",
            _ => continue,
        };
        if !ours.contains(&word) {
            ours.push(word);
        }
    }
    ours
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn model(id: &str, context: Option<u64>, size: Option<u64>, capabilities: &[&'static str]) -> Model {
        Model { id: id.to_owned(), context, size, capabilities: capabilities.to_vec() }
    }

    fn listed(json: &str) -> Option<Listed> {
        of_models(json.as_bytes())
    }

    #[test]
    fn a_server_is_known_by_the_owner_of_its_models() {
        // llama.cpp b11549
        let llama_cpp = r#"{"models":[{"name":"tiny-a","model":"tiny-a","capabilities":["completion"]}],"object":"list",
            "data":[{"id":"tiny-a","object":"model","architecture":{"input_modalities":["text","image"]},
            "owned_by":"llamacpp","meta":{"n_ctx":1024,"n_ctx_train":4096,"size":1528320}}]}"#;
        let wanted = model("tiny-a", Some(1024), Some(1_528_320), &["chat", "vision"]);
        assert_eq!(listed(llama_cpp), Some(Listed::Server(Kind::LlamaCpp, vec![wanted])));
        // vLLM 0.32.0
        let vllm =
            r#"{"object":"list","data":[{"id":"tiny-v","object":"model","owned_by":"vllm","max_model_len":1024}]}"#;
        assert_eq!(listed(vllm), Some(Listed::Server(Kind::Vllm, vec![model("tiny-v", Some(1024), None, &[])])));
        for (owner, kind) in [
            ("sglang", Kind::Sglang),
            ("library", Kind::Ollama),
            ("organization_owner", Kind::LmStudio),
            ("me", Kind::LlamaCppPython),
            ("somebody", Kind::Other),
        ] {
            let json = format!(r#"{{"data":[{{"id":"m","owned_by":"{owner}"}}]}}"#);
            assert_eq!(listed(&json), Some(Listed::Server(kind, vec![model("m", None, None, &[])])), "{owner}");
        }
        assert_eq!(listed(r#"{"data":[{"id":"m","owned_by":"witgate"}]}"#), Some(Listed::Gateway));
        assert_eq!(listed(r#"{"data":[]}"#), Some(Listed::Server(Kind::Other, vec![])));
        assert_eq!(listed(r#"{"object":"list","data":null}"#), Some(Listed::Server(Kind::Other, vec![])));
        assert_eq!(listed(r#"[{"id":"m"}]"#), Some(Listed::Server(Kind::Other, vec![model("m", None, None, &[])])));
        assert_eq!(listed(r#"{"models":[]}"#), None);
        assert_eq!(listed("<html>"), None);
    }

    #[test]
    fn ollama_s_tags_tell_sizes_and_what_a_model_can() {
        // Ollama's docs/api.md, List Local Models, with the capabilities of its api/types.go
        let tags = br#"{"models":[{"name":"deepseek-r1:latest","model":"deepseek-r1:latest","size":4683075271,
            "digest":"0a8c26691023","details":{"parent_model":"","format":"gguf","family":"qwen2","context_length":131072},
            "capabilities":["completion","tools","thinking","insert"]},{"name":"all-minilm:latest","size":45960996,
            "capabilities":["embedding"]}]}"#;
        let wanted = [
            model("deepseek-r1:latest", Some(131_072), Some(4_683_075_271), &["chat", "tools", "reasoning"]),
            model("all-minilm:latest", None, Some(45_960_996), &["embeddings"]),
        ];
        assert_eq!(of_tags(tags).unwrap(), wanted);
        assert_eq!(of_tags(b"[]"), None);
    }

    #[test]
    fn llama_cpp_s_properties_tell_what_its_template_can() {
        let mut tiny = model("tiny", None, None, &["chat"]);
        of_props(
            br#"{"modalities":{"vision":false,"audio":true},"chat_template_caps":{"supports_tools":true}}"#,
            &mut tiny,
        );
        assert_eq!(tiny.capabilities, ["chat", "tools", "audio"]);
    }
}
