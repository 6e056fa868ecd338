//! How one attempt ended: exactly one [`Outcome`] for each attempt, whatever happened to it.

use std::time::Duration;

use crate::vocabulary::{Ending, FailureKind, OutcomeField};

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// `request.decision` of the decision that the attempt belongs to.
    pub decision: u32,
    /// 0 for the first attempt of a request.
    pub attempt: u32,
    /// Deployment number.
    pub target: u32,
    /// The plan's tag.
    pub tag: u32,
    /// How it ended.
    pub ending: Ending,
    /// Why it failed; `Some` exactly when `ending` is [`Ending::Failed`].
    pub failure: Option<FailureKind>,
    /// HTTP status of the upstream, 0 when there was none.
    pub status: u16,
    /// What the upstream asked for.
    pub retry_after: Option<Duration>,
    /// To the first token, or to the whole answer where it was not streamed; `None` when none came.
    pub ttft: Option<Duration>,
    /// To the end.
    pub latency: Duration,
    /// As the upstream says, else the estimate.
    pub tokens_in: u32,
    /// As the upstream says, else counted chunks.
    pub tokens_out: u32,
    /// Input tokens that the upstream had cached.
    pub cached_tokens: u32,
    /// Input tokens that the upstream has put into its cache.
    pub cache_write_tokens: u32,
    /// Output tokens that the model thought and did not say.
    pub reasoning_tokens: u32,
    /// Cost by the prices of the configuration or else of the catalogue.
    pub usd: f64,
    /// The facts of the same names.
    pub asked: Asked,
}

/// Facts of the request that outcomes repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    /// Interned id.
    pub tenant: u32,
    /// Place in the catalogue.
    pub route: u32,
    /// Interned id.
    pub model: u32,
    /// Hash below 2^31.
    pub affinity: u32,
    /// Whether the client wanted a stream.
    pub streaming: bool,
}

/// One value for each [`OutcomeField`], as observers are fed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutcomeRow(pub [f64; OutcomeField::COUNT]);

impl Outcome {
    /// Whether an answer came, or began to: what an attempt without one has is only the estimate of its prompt, which
    /// nobody is billed for.
    pub fn was_answered(&self) -> bool {
        self.failure.is_none() && self.ttft.is_some()
    }

    /// The outcome as numbers.
    pub fn row(&self) -> OutcomeRow {
        let mut row = [0.0; OutcomeField::COUNT];
        for field in OutcomeField::ALL {
            row[*field as usize] = self.field(*field);
        }
        OutcomeRow(row)
    }

    fn field(&self, field: OutcomeField) -> f64 {
        match field {
            OutcomeField::Decision => f64::from(self.decision),
            OutcomeField::Attempt => f64::from(self.attempt),
            OutcomeField::Target => f64::from(self.target),
            OutcomeField::Tag => f64::from(self.tag),
            OutcomeField::Ending => f64::from(self.ending.index()),
            OutcomeField::Failure => self.failure.map_or(field.neutral(), |kind| f64::from(kind.index())),
            OutcomeField::Status => f64::from(self.status),
            OutcomeField::TtftMs => self.ttft.map_or(field.neutral(), millis),
            OutcomeField::LatencyMs => millis(self.latency),
            OutcomeField::TokensIn => f64::from(self.tokens_in),
            OutcomeField::TokensOut => f64::from(self.tokens_out),
            OutcomeField::CachedTokens => f64::from(self.cached_tokens),
            OutcomeField::Usd => self.usd,
            OutcomeField::Tenant => f64::from(self.asked.tenant),
            OutcomeField::Route => f64::from(self.asked.route),
            OutcomeField::Model => f64::from(self.asked.model),
            OutcomeField::Affinity => f64::from(self.asked.affinity),
            OutcomeField::CacheWriteTokens => f64::from(self.cache_write_tokens),
            OutcomeField::ReasoningTokens => f64::from(self.reasoning_tokens),
            OutcomeField::Streaming => f64::from(u8::from(self.asked.streaming)),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
