//! A section of `docs/providers.md` for each preset: what the program does with it, and a configuration to begin with.
//! Everything is computed from what the program itself uses, and every example is loaded by a test.

use std::fmt::Write as _;

use super::{PRESETS, Preset};
use crate::config::model::Dialect;
use crate::config::probes;
use crate::openai::Endpoint;

/// All sections.
pub(super) fn sections() -> String {
    let mut text = String::from(INTRODUCTION);
    for preset in &PRESETS {
        section(preset, &mut text);
    }
    text
}

fn section(preset: &Preset, text: &mut String) {
    let base: http::Uri = preset.address.parse().unwrap_or_default();
    let path = base.path().trim_end_matches('/');
    let dialect = match preset.dialect {
        Dialect::OpenAi => "OpenAI's",
        Dialect::Anthropic => "Anthropic's; requests in OpenAI's are translated",
        Dialect::Ollama => "Ollama's",
        Dialect::Demo => "the built-in one",
    };
    let key = match preset.key {
        Some(variable) => format!("`{variable}`, in the header `{}`", preset.key_header.name()),
        None => format!("none; one that is given goes in the header `{}`", preset.key_header.name()),
    };
    let health: Vec<_> =
        probes::questions(preset.dialect, &base).iter().map(|question| format!("`GET {question}`")).collect();
    let lacks: Vec<_> = preset.lacks.iter().copied().map(name).collect();
    let mut rows = vec![
        ("address", format!("`{}`", preset.address)),
        ("dialect", dialect.to_owned()),
        ("key", key),
        ("asked whether it is well", health.join(", else ")),
        ("asked for its models", format!("`GET {path}/models`")),
        ("longest answer", format!("`{}`", preset.output_limit.field())),
        (
            "usage in streams",
            if preset.usage_unasked { "comes unasked" } else { "asked for where it is needed" }.to_owned(),
        ),
    ];
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
as in [the reference](configuration.md). How errors are understood, and whether somebody else is asked then, is in \
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
        for preset in &PRESETS {
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
