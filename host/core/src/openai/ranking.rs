//! A ranking that comes as a list of scores, which is SGLang's way, in the shape that all others have.

use crate::dialect::json::{Members, Object, array, kind, list};
use crate::openai::json::Kind;

/// `[{"score", "index", "document"}]` as `{"model", "results": [{"index", "relevance_score", "document"}]}`, in the order
/// that it has; `None` when it is no such list.
pub fn ranking(answer: &[u8], model: &str) -> Option<String> {
    let answer: &serde_json::value::RawValue = serde_json::from_slice(answer).ok()?;
    let (mut results, mut tokens) = (Vec::new(), None);
    for item in list(answer)? {
        let item = Members::of(item)?;
        let mut result = Object::new();
        result.put("index", item.get("index")?.get());
        result.put("relevance_score", item.get("score")?.get());
        match item.get("document") {
            Some(text) if kind(text) == Kind::String => {
                result.put("document", &Object::new().raw("text", text.get()).finish());
            }
            // Parts with images, as they were sent.
            Some(parts) => result.put("document", parts.get()),
            None => {}
        }
        results.push(result.finish());
        if let Some(count) = item.object("meta_info").count("prompt_tokens") {
            tokens = Some(tokens.unwrap_or(0) + count);
        }
    }
    let told = Object::new().text("object", "rerank").text("model", model).raw("results", &array(&results));
    let Some(tokens) = tokens else { return Some(told.finish()) };
    let usage = Object::new().plain("prompt_tokens", tokens).plain("total_tokens", tokens).finish();
    Some(told.raw("usage", &usage).finish())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn sglang_s_scores_are_results() {
        // sglang docs/supported_models/retrieval_ranking/rerank_models.md, "Response Format"
        let list = br#" [{"score": 0.99, "document": "Paris \"is\"", "index": 1, "meta_info": {"id": "a", "prompt_tokens": 15}},
            {"score": 1e-3, "index": 0, "meta_info": {"prompt_tokens": 4}}, {"score": 0, "document": null, "index": 2}]"#;
        let wanted = concat!(
            r#"{"object":"rerank","model":"m","results":[{"index":1,"relevance_score":0.99,"document":{"text":"Paris \"is\""}},"#,
            r#"{"index":0,"relevance_score":1e-3},{"index":2,"relevance_score":0}],"#,
            r#""usage":{"prompt_tokens":19,"total_tokens":19}}"#
        );
        assert_eq!(ranking(list, "m").unwrap(), wanted);
        assert_eq!(ranking(b"[]", "m").unwrap(), r#"{"object":"rerank","model":"m","results":[]}"#);
    }

    #[test]
    fn what_is_no_list_of_scores_is_no_ranking() {
        for odd in [r#"{"results":[]}"#, r#"["x"]"#, r#"[{"index":0}]"#, r#"[{"score":1}]"#, "[", ""] {
            assert_eq!(ranking(odd.as_bytes(), "m"), None, "{odd}");
        }
    }
}
