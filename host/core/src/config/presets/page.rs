//! A section of `docs/providers.md` for each preset: what the program does with it, and a configuration to begin with.
//! Everything is computed from what the program itself uses, and every example is loaded by a test.

use std::fmt::Write as _;

use super::{OLLAMA, PRESETS, Preset, TEXT_ALONE};
use crate::config::model::Dialect;
use crate::config::probes;
use crate::openai::Endpoint;

/// All sections.
pub(super) fn sections() -> String {
    let mut text = String::from(INTRODUCTION);
    for preset in &PRESETS {
        section(preset, &mut text);
        if preset.dialect == Dialect::Ollama {
            section(&OWN_API, &mut text);
        }
    }
    text
}

/// Ollama by its own API: the preset with another address.
const OWN_API: Preset = Preset {
    title: "Ollama (own API)",
    base_url: None,
    address: "http://127.0.0.1:11434",
    responses: false,
    lacks: TEXT_ALONE,
    errors: "`{\"error\": \"...\"}`, in a stream as its last line",
    ..OLLAMA
};

fn section(preset: &Preset, text: &mut String) {
    let base: http::Uri = preset.address.parse().unwrap_or_default();
    let path = base.path().trim_end_matches('/');
    let own_api = preset.address == OWN_API.address;
    let dialect = match preset.dialect {
        Dialect::OpenAi => "OpenAI's",
        Dialect::Anthropic => "Anthropic's; requests in OpenAI's are translated",
        Dialect::Ollama if own_api => "Ollama's; requests in OpenAI's are translated",
        Dialect::Ollama => "OpenAI's, since the address ends with `/v1`",
        Dialect::Demo => "the built-in one",
    };
    let key = match preset.key {
        Some(variable) => format!("`{variable}`, in the header `{}`", preset.key_header.name()),
        None => format!("none; one that is given goes in the header `{}`", preset.key_header.name()),
    };
    let questions = probes::questions(preset.dialect, &base);
    let health = preset.probe.map(str::to_owned).into_iter().chain(questions);
    let health: Vec<_> = health.map(|question| format!("`GET {question}`")).collect();
    let models = match preset.dialect {
        Dialect::Ollama => "/api/tags".to_owned(),
        Dialect::Anthropic => format!("{path}/models?limit=1000"),
        Dialect::OpenAi | Dialect::Demo => format!("{path}/models"),
    };
    let lacks: Vec<_> = preset.lacks.iter().copied().map(name).collect();
    let mut rows = vec![
        ("address", format!("`{}`", preset.address)),
        ("dialect", dialect.to_owned()),
        ("key", key),
        ("asked whether it is well", health.join(", else ")),
        ("asked for its models", format!("`GET {models}`")),
        ("longest answer", format!("`{}`", if own_api { "options.num_predict" } else { preset.output_limit.field() })),
        (
            "usage in streams",
            if preset.usage_unasked || own_api { "comes unasked" } else { "asked for where it is needed" }.to_owned(),
        ),
    ];
    if preset.local {
        let load: Vec<_> = preset.tells_load.iter().map(|question| format!("`GET {question}`")).collect();
        let load = if load.is_empty() { "it does not tell".to_owned() } else { load.join(", ") };
        rows.push(("asked how it is", load));
    }
    if preset.local && !preset.lacks.contains(&Endpoint::Embeddings) {
        rows.push(("embeddings", "small ones that come together are sent as one".to_owned()));
    }
    rows.push(("its errors", format!("{}; [what each status means](compatibility.md#errors)", preset.errors)));
    if !lacks.is_empty() {
        rows.push(("not served", lacks.join(", ")));
    }
    let _ = write!(text, "\n### {}\n\n|  |  |\n|---|---|\n", preset.title);
    for (title, value) in rows {
        let _ = writeln!(text, "| {title} | {value} |");
    }
    let _ = write!(text, "\n```yaml\n{}```\n", example(preset));
}

/// A configuration with this provider alone.
fn example(preset: &Preset) -> String {
    let Preset { name, model, .. } = *preset;
    let base_url =
        if preset.base_url.is_some() { String::new() } else { format!(", base_url: \"{}\"", preset.address) };
    let key = preset.key.map_or_else(String::new, |variable| format!("  # key from {variable}"));
    format!(
        "providers:\n  {name}: {{preset: {name}{base_url}}}{key}\ndeployments:\n  \"{model}@{name}\": {{}}\nroutes: {{chat: \
         {{deployments: \"{model}@{name}\"}}}}\n"
    )
}

fn name(endpoint: Endpoint) -> &'static str {
    endpoint.path().trim_start_matches('/')
}

const INTRODUCTION: &str = "
## Each provider

What the gateway does with each, and a configuration to begin with. Timeouts and everything else that is not named are \
as in [the reference](configuration.md). Which statuses of each mean what, and whether somebody else is asked then, is in \
[the table of errors](compatibility.md#errors), with everything else that was shown to work.
";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::config::interpolate::Lookup;
    use crate::config::{SourceFile, load};

    struct EveryKey;

    impl Lookup for EveryKey {
        fn variable(&self, name: &str) -> Option<String> {
            Some(format!("sk-of-{name}"))
        }

        fn file(&self, path: &str) -> Result<String, String> {
            Err(path.to_owned())
        }
    }

    #[test]
    fn every_example_is_a_configuration() {
        assert_eq!(OWN_API.name, "ollama");
        for preset in PRESETS.iter().chain([&OWN_API]) {
            let text = example(preset);
            assert!(text.lines().count() <= 5, "{text}");
            let loaded =
                load(&[SourceFile::new("example", text.clone())], &EveryKey).map_err(|_| text.clone()).unwrap();
            let provider = &loaded.config.providers[0];
            assert_eq!((&*provider.base_url, provider.dialect), (preset.address, preset.dialect));
            assert_eq!(provider.api_keys.len(), usize::from(preset.key.is_some()), "{text}");
            assert!(loaded.warnings.is_empty(), "{text}");
        }
    }
}
