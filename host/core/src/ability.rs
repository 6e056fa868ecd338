//! What a model can do, as far as it is known: yes, no, or not known.
//!
//! What is not known may be tried: only a known no keeps a request from a deployment.

/// Something that a request can need and that not every model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ability {
    /// Chat completions, in either dialect.
    Chat,
    /// Completions of a plain prompt.
    Completions,
    /// Vectors of texts.
    Embeddings,
    /// Tools and functions that the model may call.
    Tools,
    /// Images in the prompt.
    Vision,
    /// An answer that follows a JSON schema.
    JsonSchema,
    /// An effort of reasoning that can be asked for.
    Reasoning,
    /// Audio in the prompt or in the answer.
    Audio,
    /// Ranking of documents.
    Rerank,
    /// Making and changing images.
    ImageGeneration,
    /// Text to speech.
    Speech,
    /// Speech to text.
    Transcription,
    /// Judging of texts.
    Moderation,
    /// OpenAI's Responses.
    Responses,
}

impl Ability {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Tools,
        Self::Vision,
        Self::JsonSchema,
        Self::Reasoning,
        Self::Audio,
        Self::Rerank,
        Self::ImageGeneration,
        Self::Speech,
        Self::Transcription,
        Self::Moderation,
        Self::Responses,
    ];

    /// The word for it in `capabilities` and `lacks`, which policies see too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Tools => "tools",
            Self::Vision => "vision",
            Self::JsonSchema => "json-schema",
            Self::Reasoning => "reasoning",
            Self::Audio => "audio",
            Self::Rerank => "rerank",
            Self::ImageGeneration => "image-generation",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Moderation => "moderation",
            Self::Responses => "responses",
        }
    }

    /// The ability of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ability| ability.name() == name)
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// Several abilities: what a request needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbilitySet(u16);

impl AbilitySet {
    /// With one more, if so.
    #[must_use]
    pub const fn and(self, ability: Ability, needed: bool) -> Self {
        if needed { Self(self.0 | ability.bit()) } else { self }
    }
}

/// What is known of a model. Nothing is both a yes and a no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    yes: u16,
    no: u16,
}

impl Abilities {
    /// It can, or cannot; what was known of it before is forgotten.
    #[must_use]
    pub const fn with(self, ability: Ability, can: bool) -> Self {
        let bit = ability.bit();
        if can {
            Self { yes: self.yes | bit, no: self.no & !bit }
        } else {
            Self { yes: self.yes & !bit, no: self.no | bit }
        }
    }

    /// What is not known here is as it is `there`.
    #[must_use]
    pub const fn or(self, there: Self) -> Self {
        Self { yes: self.yes | (there.yes & !self.no), no: self.no | (there.no & !self.yes) }
    }

    /// Whether it can; `None` where that is not known.
    pub const fn can(self, ability: Ability) -> Option<bool> {
        match (self.yes & ability.bit() != 0, self.no & ability.bit() != 0) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// The first of what is needed that is a known no.
    pub fn lacking(self, needed: AbilitySet) -> Option<Ability> {
        let lacking = self.no & needed.0;
        // The usual case, on the path of every request.
        if lacking == 0 {
            return None;
        }
        Ability::ALL.into_iter().find(|ability| lacking & ability.bit() != 0)
    }

    /// Whether nothing is known.
    pub const fn is_unknown(self) -> bool {
        self.yes | self.no == 0
    }

    /// What it can, or what it cannot.
    pub fn which(self, can: bool) -> impl Iterator<Item = Ability> {
        Ability::ALL.into_iter().filter(move |ability| self.can(*ability) == Some(can))
    }

    /// In four bytes, for what has to be read and written in one step.
    pub(crate) const fn to_bits(self) -> u32 {
        (self.yes as u32) << 16 | self.no as u32
    }

    /// Out of four bytes.
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self { yes: (bits >> 16) as u16, no: (bits & 0xffff) as u16 & !((bits >> 16) as u16) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again() {
        for (place, ability) in Ability::ALL.into_iter().enumerate() {
            assert_eq!((ability as usize, Ability::from_name(ability.name())), (place, Some(ability)));
        }
        assert_eq!(Ability::from_name("code_generation"), None);
    }

    #[test]
    fn what_is_said_first_counts_and_the_rest_is_filled_in() {
        let said = Abilities::default().with(Ability::Tools, true).with(Ability::Vision, false);
        let known = Abilities::default()
            .with(Ability::Tools, false)
            .with(Ability::Vision, true)
            .with(Ability::Audio, false)
            .with(Ability::Chat, true);
        let both = said.or(known);
        let can = [Ability::Tools, Ability::Vision, Ability::Audio, Ability::Chat, Ability::Rerank];
        assert_eq!(can.map(|ability| both.can(ability)), [Some(true), Some(false), Some(false), Some(true), None]);
        assert_eq!(Abilities::from_bits(both.to_bits()), both);
        assert!(both.which(false).eq([Ability::Vision, Ability::Audio]));
    }

    #[test]
    fn only_a_known_no_is_lacking() {
        let known = Abilities::default().with(Ability::Tools, true).with(Ability::Vision, false);
        let needs = |ability| AbilitySet::default().and(ability, true);
        assert_eq!(known.lacking(needs(Ability::Tools)), None);
        assert_eq!(known.lacking(needs(Ability::Audio)), None);
        assert_eq!(known.lacking(needs(Ability::Vision)), Some(Ability::Vision));
        assert_eq!(known.lacking(needs(Ability::Tools).and(Ability::Vision, false)), None);
        assert!(!known.is_unknown() && Abilities::default().is_unknown());
    }
}
