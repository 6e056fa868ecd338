//! Who is able to carry a request out, and what the client is told when nobody is.
//!
//! A deployment is left out only where it is known that it cannot: it lacks an ability, or the prompt is longer than
//! its window by a count that no tokeniser undercuts. Which of the able ones is chosen, policies decide.

use std::sync::Arc;

use crate::ability::{Ability, AbilitySet};
use crate::fleet::{Fleet, FleetEntry};
use crate::openai::{Endpoint, Peek, prompt_tokens_at_least};

mod refusal;

pub use refusal::Refusal;

/// What one request needs of a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    abilities: AbilitySet,
    /// Estimated.
    prompt: u32,
    /// Counted once an estimate comes near a window.
    prompt_at_least: Option<u32>,
    /// What the client asks for as the longest answer.
    answer: u32,
    /// The client asks for a longer window than a model usually has.
    longer_window: bool,
}

/// Why one deployment cannot carry a request out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Ability(Ability),
    Window { tokens: u32, prompt: u32, answer: u32 },
}

impl Needs {
    /// What follows from the request's body.
    pub fn of(peek: &Peek) -> Self {
        // A file that is transcribed or changed is what its endpoint is for.
        let reads = matches!(peek.endpoint, Endpoint::Chat | Endpoint::Messages | Endpoint::Responses);
        let abilities = AbilitySet::default()
            .and(served_by(peek.endpoint), true)
            .and(Ability::Tools, peek.tools > 0)
            .and(Ability::Vision, reads && peek.images > 0)
            .and(Ability::Audio, reads && peek.audio > 0)
            .and(Ability::JsonSchema, peek.json_schema)
            .and(Ability::Reasoning, peek.reasoning);
        let answer = peek.max_output_tokens.unwrap_or(0);
        Self { abilities, prompt: peek.prompt_tokens, answer, ..Self::default() }
    }

    /// The request says, in a header, that it wants a longer window than the model's usual one.
    #[must_use]
    pub fn with_longer_window(self, longer_window: bool) -> Self {
        Self { longer_window, ..self }
    }

    /// Those of the candidates that may be able, in the same order; never none of them.
    ///
    /// # Errors
    /// What OpenAI would say, when none is.
    pub fn narrow(
        &mut self,
        fleet: &Fleet,
        candidates: &Arc<[u32]>,
        peek: &Peek,
        body: &[u8],
    ) -> Result<Arc<[u32]>, Box<Refusal>> {
        let entry = |number: &u32| fleet.deployments().get(*number as usize);
        let is_near = candidates.iter().filter_map(entry).any(|entry| self.is_near(entry));
        if is_near && !asks_for_its_own_window(body) {
            self.prompt_at_least = Some(prompt_tokens_at_least(body, peek));
        }
        let lack = |number: &u32| entry(number).and_then(|entry| self.lack(entry));
        // The usual case takes no new list.
        if candidates.iter().all(|number| lack(number).is_none()) {
            return Ok(Arc::clone(candidates));
        }
        let able: Arc<[u32]> = candidates.iter().copied().filter(|number| lack(number).is_none()).collect();
        match worst_first(candidates.iter().filter_map(lack)).filter(|_| able.is_empty()) {
            Some(lack) => Err(Box::new(Refusal::new(lack, peek, body))),
            None => Ok(able),
        }
    }

    /// Whether a deployment may be able.
    pub fn may_go_to(&self, entry: &FleetEntry) -> bool {
        self.lack(entry).is_none()
    }

    fn lack(&self, entry: &FleetEntry) -> Option<Lack> {
        if let Some(ability) = entry.abilities().lacking(self.abilities) {
            return Some(Lack::Ability(ability));
        }
        let (window, prompt) = (self.window(entry)?, self.prompt_at_least?);
        let answer = if entry.spec.answer_in_window { self.answer } else { 0 };
        (prompt.saturating_add(answer) > window).then_some(Lack::Window { tokens: window, prompt, answer })
    }

    /// Whether the prompt could be too long: the count is never more than so many times the estimate.
    fn is_near(&self, entry: &FleetEntry) -> bool {
        let longest = self.prompt.saturating_mul(5) / 2;
        self.window(entry).is_some_and(|window| longest.saturating_add(self.answer) > window)
    }

    fn window(&self, entry: &FleetEntry) -> Option<u32> {
        entry.context_tokens().filter(|_| !self.longer_window)
    }
}

/// Ollama gives a request the window that its `num_ctx` says. A prompt that speaks of it is left to the provider too.
fn asks_for_its_own_window(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"num_ctx\"").is_some()
}

/// What the client can mend soonest: a shorter prompt for the longest window, else what the first one lacks.
fn worst_first(lacks: impl Iterator<Item = Lack>) -> Option<Lack> {
    let window = |lack: &Lack| match lack {
        Lack::Window { tokens, .. } => *tokens,
        Lack::Ability(_) => 0,
    };
    // Of equals `max_by_key` gives the last.
    lacks.collect::<Vec<_>>().into_iter().rev().max_by_key(window)
}

/// What a model must be able of to serve an endpoint.
const fn served_by(endpoint: Endpoint) -> Ability {
    match endpoint {
        Endpoint::Chat | Endpoint::Messages | Endpoint::CountTokens | Endpoint::OllamaChat => Ability::Chat,
        // Ollama itself makes a chat of it where the model is one for chats.
        Endpoint::OllamaGenerate => Ability::Chat,
        Endpoint::Completions => Ability::Completions,
        Endpoint::Embeddings | Endpoint::OllamaEmbed => Ability::Embeddings,
        Endpoint::Responses => Ability::Responses,
        Endpoint::Rerank => Ability::Rerank,
        Endpoint::Moderations => Ability::Moderation,
        Endpoint::Images | Endpoint::ImageEdits | Endpoint::ImageVariations => Ability::ImageGeneration,
        Endpoint::Speech => Ability::Speech,
        Endpoint::Transcriptions | Endpoint::Translations => Ability::Transcription,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
