//! Where a provider is asked whether it is well, unless the configuration says where.

use http::Uri;

use super::model::Dialect;

/// Where a server's own paths are, beside OpenAI's.
pub fn root(base: &Uri) -> &str {
    let path = base.path().trim_end_matches('/');
    path.strip_suffix("/v1").unwrap_or(path)
}

/// The paths, in the order in which they are tried: a server that does not know one is asked the next.
pub fn questions(dialect: Dialect, base: &Uri) -> Vec<String> {
    let (path, root) = (base.path().trim_end_matches('/'), root(base));
    match dialect {
        Dialect::Ollama => vec![format!("{root}/api/tags")],
        // vLLM, llama.cpp and many more have the first; its list of models a server may give although the model behind
        // it is gone.
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Demo => {
            vec![format!("{root}/health"), format!("{path}/models")]
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn health_is_beside_v1_and_the_models_below_it() {
        let asked = |dialect, base: &str| questions(dialect, &base.parse().unwrap());
        assert_eq!(asked(Dialect::OpenAi, "http://h:1/v1/"), ["/health", "/v1/models"]);
        assert_eq!(asked(Dialect::OpenAi, "http://h/openai/v1"), ["/openai/health", "/openai/v1/models"]);
        assert_eq!(asked(Dialect::OpenAi, "http://h"), ["/health", "/models"]);
        assert_eq!(asked(Dialect::Ollama, "http://h/v1"), ["/api/tags"]);
    }
}
