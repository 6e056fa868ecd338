//! From a provider's address to its name in the catalogue, for providers that no preset names.

/// The catalogue's name of who is at this address; `None` where nobody is known there, such as on one's own machine.
pub fn provider_at(base_url: &str) -> Option<&'static str> {
    let (_, rest) = base_url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_at = |known: &str| {
        let before = host.len().checked_sub(known.len()).filter(|before| host.is_char_boundary(*before));
        before.is_some_and(|before| {
            host[before..].eq_ignore_ascii_case(known) && (before == 0 || host[..before].ends_with('.'))
        })
    };
    HOSTS.iter().find(|(known, _)| is_at(known)).map(|(_, provider)| *provider)
}

/// The host, or what it ends with after a dot.
const HOSTS: [(&str, &str); 27] = [
    ("api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("openai.azure.com", "azure"),
    ("services.ai.azure.com", "azure"),
    ("cognitiveservices.azure.com", "azure"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("api.mistral.ai", "mistral"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("openrouter.ai", "openrouter"),
    ("api.cerebras.ai", "cerebras"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    ("dashscope.aliyuncs.com", "dashscope"),
    ("dashscope-intl.aliyuncs.com", "dashscope"),
    ("api.deepinfra.com", "deepinfra"),
    ("api.fireworks.ai", "fireworks"),
    ("api.moonshot.ai", "moonshot"),
    ("api.moonshot.cn", "moonshot"),
    ("api.studio.nebius.com", "nebius"),
    ("api.perplexity.ai", "perplexity"),
    ("api.sambanova.ai", "sambanova"),
    ("api.voyageai.com", "voyage"),
    ("api.x.ai", "xai"),
    ("api.z.ai", "zai"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_or_one_below_it_is_known() {
        for (url, provider) in [
            ("https://api.openai.com/v1", Some("openai")),
            ("https://EU.api.openai.com:443/v1", Some("openai")),
            ("https://mine.openai.azure.com/openai/v1", Some("azure")),
            ("https://api.x.ai", Some("xai")),
            ("https://notapi.openai.com.example/v1", None),
            ("https://fakeapi.x.ai/v1", None),
            ("http://127.0.0.1:8080/v1", None),
            ("", None),
        ] {
            assert_eq!(provider_at(url), provider, "{url}");
        }
    }
}
