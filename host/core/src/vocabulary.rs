//! The open vocabularies of the policy contract: signals, facts, failure kinds, outcome fields and endings.
//!
//! A policy names these as text, so a list may grow without breaking a policy that was built against an older one.
//! An entry, once released, keeps its name, its unit and its meaning. `wit/vocabulary.md` is generated from the
//! tables here, and a test holds it to them.

use std::fmt::Write as _;

macro_rules! vocabulary {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal, $unit:literal, $neutral:expr, $summary:literal;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $summary] $variant,)* }

        impl $name {
            /// Every entry, in the order of its index in the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name that a policy uses.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Unit or range, for people.
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }

            /// The value where nothing is known.
            pub const fn neutral(self) -> f64 {
                match self { $(Self::$variant => $neutral,)* }
            }

            /// What it means, in one sentence.
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }

            /// Its place in the catalogue's list.
            pub const fn index(self) -> u32 {
                self as u32
            }

            /// The entry of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|entry| entry.name() == name)
            }
        }
    };
}

vocabulary! {
    /// A number about one candidate, fresh at each decision.
    Signal {
        InFlight = "in-flight", "requests", 0.0, "Requests of this gateway that are running at the deployment now.";
        TokensInFlight = "tokens-in-flight", "tokens", 0.0, "Estimated prompt and output tokens of the requests in flight.";
        TtftEwmaMs = "ttft-ewma-ms", "ms", 0.0, "Time to first token (to the whole answer where it is not streamed), exponentially weighted mean over 10 s.";
        TtftPeakEwmaMs = "ttft-peak-ewma-ms", "ms", 0.0, "The same, but it jumps to a higher sample at once, a failure counts as its penalty, and it decays towards 0 over 10 s while nothing is sent. After trouble and then a probe that succeeds it is 0, unknown, until one request has begun.";
        TtftP50Ms = "ttft-p50-ms", "ms", 0.0, "Median time to first token over about the last minute.";
        TtftP90Ms = "ttft-p90-ms", "ms", 0.0, "90th percentile of it.";
        TtftP99Ms = "ttft-p99-ms", "ms", 0.0, "99th percentile of it.";
        LatencyEwmaMs = "latency-ewma-ms", "ms", 0.0, "Time to the end of the answer, exponentially weighted mean over 10 s.";
        LatencyP50Ms = "latency-p50-ms", "ms", 0.0, "Median time to the end of the answer over about the last minute.";
        LatencyP90Ms = "latency-p90-ms", "ms", 0.0, "90th percentile of it.";
        LatencyP99Ms = "latency-p99-ms", "ms", 0.0, "99th percentile of it.";
        TokensPerSecond = "tokens-per-second", "tokens/s", 0.0, "Output tokens a second of one request, exponentially weighted mean.";
        ErrorRate = "error-rate", "0 to 1", 0.0, "Share of failed attempts, exponentially weighted mean over 30 s.";
        ConsecutiveFailures = "consecutive-failures", "attempts", 0.0, "Failures in a row; 0 after a success.";
        Samples = "samples", "attempts", 0.0, "Attempts that ended since the gateway started; 0 means that all times above are unknown.";
        RpmUsed = "rpm-used", "requests/min", 0.0, "Requests started in the sliding last minute.";
        TpmUsed = "tpm-used", "tokens/min", 0.0, "Tokens used in the sliding last minute: estimated while in flight, true afterwards.";
        RpmHeadroom = "rpm-headroom", "0 to 1", 1.0, "Unused share of the configured requests a minute; 1 when there is no limit.";
        TpmHeadroom = "tpm-headroom", "0 to 1", 1.0, "Unused share of the configured tokens a minute; 1 when there is no limit.";
        CooldownMs = "cooldown-ms", "ms", 0.0, "Time until the deployment wants to be asked again (Retry-After of a 503) and one of its provider's keys is ready (429, 401, 403, an empty account); 0 when it may be asked.";
        UsdPerMtokIn = "usd-per-mtok-in", "USD per million tokens", 0.0, "Price of input tokens, by the configuration or else the catalogue; 0 when free or not known.";
        UsdPerMtokOut = "usd-per-mtok-out", "USD per million tokens", 0.0, "Price of output tokens, by the configuration or else the catalogue; 0 when free or not known.";
        Weight = "weight", "above 0", 1.0, "Configured weight.";
        ContextTokens = "context-tokens", "tokens", 0.0, "Context window, by the configuration, the catalogue, or else the server itself; 0 when not known.";
        MaxOutputTokens = "max-output-tokens", "tokens", 0.0, "Largest answer, by the configuration or else the catalogue; 0 when not known.";
        Score = "score", "0 to 1", 0.0, "Weighted mean of the scores of the chain's scorers; 0 when there is none.";
        BreakerState = "breaker-state", "0, 1, 2", 0.0, "0 closed; 1 half-open: a request may try; 2 open: to be left alone, also while the trials of a half-open one are under way.";
        BreakerOpenMs = "breaker-open-ms", "ms", 0.0, "Time until an open breaker is half-open, unless a probe succeeds sooner; 0 when it is not open.";
        WarmUp = "warm-up", "0 to 1", 1.0, "How far the slow start of a deployment that has just come back is: rises from 0 to 1; 0 while its breaker is not closed.";
        ReadyKeys = "ready-keys", "keys", 1.0, "API keys of the provider that do not cool down; 1 for a provider that needs none.";
        FreeSlots = "free-slots", "requests", 1_000_000.0, "Requests that could be sent now without waiting, below the configured `max_concurrency`; 1000000 when there is no limit.";
        QueueDepth = "queue-depth", "requests", 0.0, "Requests of this gateway that wait for a free slot of the deployment.";
        UpstreamQueue = "upstream-queue", "requests", 0.0, "Requests that wait at the server itself, whoever sent them, as it said last; 0 where it does not say.";
        UpstreamRunning = "upstream-running", "requests", 0.0, "Requests that the server carries out, whoever sent them, as it said last; 0 where it does not say.";
        UpstreamFreeSlots = "upstream-free-slots", "requests", 1_000_000.0, "Requests that the server could take up at once, as it said last; 1000000 where it does not say.";
        KvUsed = "kv-used", "0 to 1", 0.0, "Share of the server's cache of keys and values that is in use, as it said last; 0 where it does not say.";
        ModelLoaded = "model-loaded", "0 or 1", 1.0, "0 when the server would have to load the model first, as it said last; 1 where it does not say.";
        UsdPerMtokCached = "usd-per-mtok-cached", "USD per million tokens", 0.0, "Price of input tokens that the provider had cached; that of input tokens where it has none of its own.";
    }
}

vocabulary! {
    /// A number about the request.
    Fact {
        PromptTokens = "prompt-tokens", "tokens", 0.0, "Estimated length of the prompt.";
        MaxOutputTokens = "max-output-tokens", "tokens", 0.0, "What the client set as `max_tokens` or `max_completion_tokens`; 0 when not set.";
        Streaming = "streaming", "0 or 1", 0.0, "1 when the client wants a stream.";
        Endpoint = "endpoint", "0 to 16", 0.0, "0 chat completions, 1 completions, 2 embeddings, 3 messages, 4 counting the tokens of messages, 5 responses, 6 rerank, 7 moderations, 8 images, 9 image edits, 10 image variations, 11 speech, 12 transcriptions, 13 translations; of Ollama's 14 chat, 15 generate, 16 embed.";
        Tenant = "tenant", "interned id", 0.0, "Who asks; `names.tenant` gives the text. 0 is the anonymous tenant.";
        Route = "route", "index", 0.0, "The route's place in the catalogue.";
        Model = "model", "interned id", 0.0, "The model name that the client sent; `names.model` gives the text.";
        Affinity = "affinity", "hash below 2^31", 0.0, "The same for requests that belong together: of the header `x-session-id`, else `prompt_cache_key`, else `user`; 0 when there is none.";
        DeadlineMs = "deadline-ms", "ms", 0.0, "Time left until the request's total deadline.";
        BodyBytes = "body-bytes", "bytes", 0.0, "Length of the request body.";
        Messages = "messages", "count", 0.0, "Messages of a chat request.";
        Tools = "tools", "count", 0.0, "Tools or functions offered to the model.";
        Images = "images", "count", 0.0, "Image parts in the messages.";
        Audio = "audio", "count", 0.0, "Audio parts in the messages, plus 1 when audio output is asked for.";
        JsonSchema = "json-schema", "0 or 1", 0.0, "1 when `response_format` asks for a JSON schema.";
        Choices = "choices", "count", 1.0, "`n`.";
        AttemptsLeft = "attempts-left", "attempts", 0.0, "Attempts that the host still allows for this request.";
        RetriesLeft = "retries-left", "attempts", 0.0, "Attempts that the route's retry budget allows at this moment; only in `after-failure`.";
        Idempotent = "idempotent", "0 or 1", 1.0, "1 when the route allows a request to be sent again that an upstream may have carried out.";
    }
}

vocabulary! {
    /// Why an attempt failed. The third column says whether the request may have been carried out upstream.
    FailureKind {
        Connect = "connect", "not carried out", 0.0, "No connection: refused, unreachable, name not found, TLS.";
        ConnectTimeout = "connect-timeout", "not carried out", 0.0, "No connection within the connect timeout.";
        Reset = "reset", "perhaps", 0.0, "The connection broke before any byte of the answer.";
        FirstByteTimeout = "first-byte-timeout", "perhaps", 0.0, "No byte of the answer within its timeout.";
        Deadline = "deadline", "perhaps", 0.0, "The request's total deadline passed.";
        Stalled = "stalled", "perhaps", 0.0, "The answer began and then nothing came for the idle timeout.";
        Cut = "cut", "perhaps", 0.0, "The answer began and broke off.";
        RateLimited = "rate-limited", "not carried out", 0.0, "429: too many requests or tokens.";
        Overloaded = "overloaded", "not carried out", 0.0, "503, 529, 408 or 425: busy, starting or overloaded.";
        ServerError = "server-error", "perhaps", 0.0, "Any other 5xx.";
        Unauthorised = "unauthorised", "not carried out", 0.0, "401 or 403: the provider refused our key.";
        ModelNotFound = "model-not-found", "not carried out", 0.0, "404: no such model or path at the provider.";
        ContextLength = "context-length", "not carried out", 0.0, "The prompt is longer than the model's context, or the body than the provider takes.";
        BadRequest = "bad-request", "not carried out", 0.0, "Any other 4xx: the request is refused as it stands.";
        Malformed = "malformed", "perhaps", 0.0, "The answer is not what the dialect says it must be.";
        ErrorInStream = "error-in-stream", "perhaps", 0.0, "An error inside a 200: instead of the answer, or in the stream.";
        FirstTokenTimeout = "first-token-timeout", "perhaps", 0.0, "The head of a stream came, but no event of it within the timeout.";
        QuotaExhausted = "quota-exhausted", "not carried out", 0.0, "402, or a word that says that the account's credit is used up: waiting does not help.";
        ContentPolicy = "content-policy", "not carried out", 0.0, "The provider's filter refused the prompt.";
        Unsupported = "unsupported", "not carried out", 0.0, "The deployment cannot do what the request needs: images, tools, embeddings, a parameter.";
        QueueFull = "queue-full", "not carried out", 0.0, "The request was not sent: no slot of the deployment (`max_concurrency`) was free in time, or too many waited for one.";
    }
}

vocabulary! {
    /// A field of an outcome, as `observer` gets it.
    OutcomeField {
        Decision = "decision", "number", 0.0, "`request.decision` of the decision that the attempt belongs to.";
        Attempt = "attempt", "number", 0.0, "0 for the first attempt of a request.";
        Target = "target", "deployment number", 0.0, "Where it went.";
        Tag = "tag", "number", 0.0, "`plan.tag`.";
        Ending = "ending", "index", 0.0, "A place in `catalogue.endings`.";
        Failure = "failure", "index", -1.0, "A place in `catalogue.failures`; -1 when it did not fail.";
        Status = "status", "HTTP status", 0.0, "Of the upstream; 0 when there was none.";
        TtftMs = "ttft-ms", "ms", 0.0, "Time to the first token, or to the whole answer where it was not streamed; 0 when none came.";
        LatencyMs = "latency-ms", "ms", 0.0, "Time to the end.";
        TokensIn = "tokens-in", "tokens", 0.0, "As the upstream says, else the estimate.";
        TokensOut = "tokens-out", "tokens", 0.0, "As the upstream says, else counted chunks.";
        CachedTokens = "cached-tokens", "tokens", 0.0, "Input tokens that the upstream had cached.";
        Usd = "usd", "USD", 0.0, "Cost by the prices of the configuration or else of the catalogue; 0 when free or not known.";
        Tenant = "tenant", "interned id", 0.0, "As the fact.";
        Route = "route", "index", 0.0, "As the fact.";
        Model = "model", "interned id", 0.0, "As the fact.";
        Affinity = "affinity", "hash", 0.0, "As the fact.";
        Streaming = "streaming", "0 or 1", 0.0, "As the fact.";
        CacheWriteTokens = "cache-write-tokens", "tokens", 0.0, "Input tokens that the upstream has put into its cache.";
        ReasoningTokens = "reasoning-tokens", "tokens", 0.0, "Output tokens that the model thought and did not say.";
    }
}

vocabulary! {
    /// How an attempt ended.
    Ending {
        Served = "served", "", 0.0, "The client got the whole answer.";
        Failed = "failed", "", 0.0, "It failed; the outcome field `failure` says how.";
        Cancelled = "cancelled", "", 0.0, "The client went away.";
        HedgeLost = "hedge-lost", "", 0.0, "Another attempt answered first.";
    }
}

impl FailureKind {
    /// Whether the upstream may have carried the request out although the attempt failed, so that trying again may
    /// run it twice.
    pub const fn may_have_run(self) -> bool {
        match self {
            Self::Connect
            | Self::ConnectTimeout
            | Self::RateLimited
            | Self::Overloaded
            | Self::Unauthorised
            | Self::ModelNotFound
            | Self::ContextLength
            | Self::BadRequest
            | Self::QuotaExhausted
            | Self::ContentPolicy
            | Self::Unsupported
            | Self::QueueFull => false,
            Self::Reset
            | Self::FirstByteTimeout
            | Self::FirstTokenTimeout
            | Self::Deadline
            | Self::Stalled
            | Self::Cut
            | Self::ServerError
            | Self::Malformed
            | Self::ErrorInStream => true,
        }
    }

    /// Whether the failure speaks against the deployment's health. A request that is wrong in itself, or wrong for
    /// this deployment, does not.
    pub const fn blames_deployment(self) -> bool {
        !self.is_the_requests_fault() && !matches!(self, Self::Deadline | Self::QueueFull)
    }

    /// Whether the client could mend it, so that the upstream's own words are the best answer.
    pub const fn is_the_requests_fault(self) -> bool {
        matches!(self, Self::ContextLength | Self::BadRequest | Self::ContentPolicy | Self::Unsupported)
    }
}

/// The text of `wit/vocabulary.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Names that a policy may use\n\n\
         Generated from `host/core/src/vocabulary.rs`. A list may grow; an entry keeps its name, unit and meaning.\n\
         A policy finds the list of the host that it runs on in the catalogue.\n",
    );
    section(&mut text, "Signals: numbers per candidate", Signal::ALL, |entry| {
        (entry.name(), entry.unit(), Some(entry.neutral()), entry.summary())
    });
    section(&mut text, "Facts: numbers per request", Fact::ALL, |entry| {
        (entry.name(), entry.unit(), Some(entry.neutral()), entry.summary())
    });
    section(&mut text, "Failure kinds: why an attempt failed", FailureKind::ALL, |entry| {
        (entry.name(), entry.unit(), None, entry.summary())
    });
    section(&mut text, "Outcome fields: what an observer is told", OutcomeField::ALL, |entry| {
        (entry.name(), entry.unit(), Some(entry.neutral()), entry.summary())
    });
    section(&mut text, "Endings: how an attempt ended", Ending::ALL, |entry| {
        (entry.name(), entry.unit(), None, entry.summary())
    });
    text
}

type Row = (&'static str, &'static str, Option<f64>, &'static str);

fn section<T: Copy>(text: &mut String, title: &str, entries: &[T], row: impl Fn(T) -> Row) {
    let with_neutral = entries.first().is_some_and(|entry| row(*entry).2.is_some());
    let (head, rule) = if with_neutral { (" unknown is |", "---|") } else { ("", "") };
    let _ = write!(text, "\n## {title}\n\n| index | name | unit or range |{head} meaning |\n|---|---|---|{rule}---|\n");
    for (index, entry) in entries.iter().enumerate() {
        let (name, unit, neutral, summary) = row(*entry);
        let neutral = neutral.map(|value| format!(" {value} |")).unwrap_or_default();
        let _ = writeln!(text, "| {index} | `{name}` | {unit} |{neutral} {summary} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_list_is_the_code() {
        crate::golden::hold("wit/vocabulary.md", &markdown());
    }

    #[test]
    fn names_are_unique_and_found_again() {
        for signal in Signal::ALL {
            assert_eq!(Signal::from_name(signal.name()), Some(*signal));
        }
        for fact in Fact::ALL {
            assert_eq!(Fact::from_name(fact.name()), Some(*fact));
        }
        assert_eq!(Signal::from_name("no-such-signal"), None);
    }
}
