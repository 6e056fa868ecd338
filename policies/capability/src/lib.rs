//! Keeps the candidates that can do what the request asks for.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Fact, Filter, Policy, Setup, Signal, register};

use rank::{Abilities, Needs};

/// Narrows the candidates by capabilities and context window.
#[derive(Debug)]
pub struct Capability {
    abilities: Abilities,
    strict: bool,
    margin: f64,
    window: Signal,
    endpoint: Fact,
    prompt: Fact,
    tools: Fact,
    images: Fact,
    audio: Fact,
    json_schema: Fact,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    require: Vec<String>,
    strict: bool,
    margin: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { require: Vec::new(), strict: false, margin: 0.1 }
    }
}

impl Policy for Capability {
    const ABOUT: About = About::new(
        "capability",
        env!("CARGO_PKG_VERSION"),
        "Keeps the candidates that can do what the request asks for.",
    )
    .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { require, strict, margin } = setup.settings()?;
        let declared = setup.deployments().iter().map(|deployment| deployment.capabilities.as_slice());
        Ok(Self {
            abilities: Abilities::new(declared, &require),
            strict,
            margin,
            window: setup.signal("context-tokens"),
            endpoint: setup.fact("endpoint"),
            prompt: setup.fact("prompt-tokens"),
            tools: setup.fact("tools"),
            images: setup.fact("images"),
            audio: setup.fact("audio"),
            json_schema: setup.fact("json-schema"),
        })
    }
}

impl Filter for Capability {
    fn keep(&self, ask: &Ask) -> Result<Vec<u32>, String> {
        let needs = Needs::of([
            ask.fact(self.tools) > 0.0,
            ask.fact(self.images) > 0.0,
            ask.fact(self.audio) > 0.0,
            ask.fact(self.json_schema) > 0.0,
            ask.fact(self.endpoint) == EMBEDDINGS,
        ]);
        let prompt = ask.fact(self.prompt);
        let windows = ask.signal(self.window).iter();
        let able = ask.candidates().iter().zip(windows).filter(|(target, window)| {
            self.abilities.cover(**target, needs) && rank::fits(prompt, **window, self.margin)
        });
        let kept: Vec<u32> = able.map(|(target, _)| *target).collect();
        match (kept.is_empty(), self.strict) {
            (false, _) => Ok(kept),
            (true, false) => Ok(ask.candidates().to_vec()),
            (true, true) => Err(format!("no candidate has {needs} and room for {} prompt tokens", prompt as u64)),
        }
    }
}

/// The fact `endpoint` of a request for embeddings.
const EMBEDDINGS: f64 = 2.0;

register!(Capability: filter);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::{Deployment, testing};

    fn deployments() -> Vec<Deployment> {
        let with = |id, capabilities: &[&str]| Deployment {
            capabilities: capabilities.iter().map(|text| (*text).to_owned()).collect(),
            ..testing::deployment(id)
        };
        vec![
            with("text", &["chat"]),
            with("tools", &["chat", "tools"]),
            with("all", &["audio", "chat", "eu", "json-schema", "tools", "vision"]),
            with("vectors", &["embeddings"]),
            with("unknown", &[]),
        ]
    }

    #[test]
    fn each_need_keeps_those_who_declare_it_and_those_who_declare_nothing() {
        let policy = testing::load_with::<Capability>("{}", deployments()).unwrap();
        let keep = |fact, value| policy.ask().fact(fact, value).keep().unwrap();
        assert_eq!(keep("tools", 0.0), [0, 1, 2, 3, 4]);
        assert_eq!(keep("tools", 3.0), [1, 2, 4]);
        assert_eq!(keep("images", 1.0), [2, 4]);
        assert_eq!(keep("audio", 1.0), [2, 4]);
        assert_eq!(keep("json-schema", 1.0), [2, 4]);
        assert_eq!(keep("endpoint", 2.0), [3, 4]);
    }

    #[test]
    fn the_prompt_must_fit_the_window_with_a_margin() {
        let policy = testing::load_with::<Capability>("{}", deployments()).unwrap();
        let ask = policy.ask().signal("context-tokens", &[1000.0, 2000.0, 0.0, 1000.0, 1000.0]);
        assert_eq!(ask.clone().fact("prompt-tokens", 900.0).keep().unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(ask.fact("prompt-tokens", 901.0).keep().unwrap(), [1, 2]);
    }

    #[test]
    fn what_the_settings_require_every_request_needs() {
        let policy = testing::load_with::<Capability>(r#"{"require":["eu"]}"#, deployments()).unwrap();
        assert_eq!(policy.ask().keep().unwrap(), [2, 4]);
    }

    #[test]
    fn where_nobody_is_able_all_are_kept_unless_the_settings_are_strict() {
        let keep = |settings| {
            let policy = testing::load_with::<Capability>(settings, deployments()).unwrap();
            let ask = policy.ask().candidates(&[0, 1]);
            ask.fact("images", 1.0).fact("tools", 1.0).fact("prompt-tokens", 12.0).keep()
        };
        assert_eq!(keep("{}"), Ok(vec![0, 1]));
        let message = "no candidate has the capabilities tools, vision and room for 12 prompt tokens";
        assert_eq!(keep(r#"{"strict":true}"#), Err(message.to_owned()));
    }
}
