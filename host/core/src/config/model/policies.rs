//! Policies: where they come from, what each may do, and what becomes of requests where one fails.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Supply;

/// One policy in a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// File name without `.wasm`.
    pub policy: Arc<str>,
    /// A JSON object.
    pub settings: Arc<serde_json::Value>,
    /// For scorers: its share in the mean. Default 1.
    pub weight: f64,
    /// Left out while there is no such policy, instead of being an error. Default false.
    pub optional: bool,
}

/// What happens to a request whose policy chain fails (trap, deadline, declared error, impossible verdict).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FailureMode {
    /// The shipped `in-order` policy decides; if that fails too, configured order. The default.
    #[default]
    InOrder,
    /// The failed stage is skipped and the rest of the chain decides; if none does, as `InOrder`.
    Skip,
    /// The client gets a 503 that names the policy.
    Refuse,
}

/// Where policies come from, and what each may do.
#[derive(Clone, Debug)]
pub struct Policies {
    /// The watched folder. Default `policies`.
    pub directory: PathBuf,
    /// How often it is looked through besides file events. Default 5 s.
    pub poll: Duration,
    /// Where compiled code is kept; `None` = not at all. Default: a folder in the user's cache directory.
    pub code_cache: Option<PathBuf>,
    /// Where files that served well are kept; `None` = only the last one, in memory. Default: in `code_cache`.
    pub revisions: Option<PathBuf>,
    /// Where the last good copies of pulled policies are kept; `None` = not at all. Default: a folder in the user's
    /// cache directory.
    pub copies: Option<PathBuf>,
    /// Where policies come from, and what proves them.
    pub supply: Arc<Supply>,
    /// For policies that are not named in `rules`.
    pub default_rules: PolicyRules,
    /// By policy name.
    pub rules: Vec<(Arc<str>, PolicyRules)>,
}

impl Policies {
    /// The rules for one policy.
    pub fn rules_for(&self, policy: &str) -> &PolicyRules {
        self.rules.iter().find(|(name, _)| &**name == policy).map_or(&self.default_rules, |(_, rules)| rules)
    }
}

/// Limits and grants of one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRules {
    /// For one call. Default 5 ms; at least 2 ms, because the clock that traps ticks once a millisecond.
    pub deadline: Duration,
    /// Linear memory of one instance, bytes. Default 64 MiB.
    pub memory: usize,
    /// Instances at once. Default: twice the worker threads.
    pub instances: Option<NonZeroUsize>,
    /// Calls after which an instance is replaced. Default 1,000,000.
    pub calls: NonZeroU32,
    /// Whether instances serve more than one call. Default `Reuse`.
    pub isolation: Isolation,
    /// May read request headers. Default false.
    pub grant_headers: bool,
    /// May read prompts. Default false.
    pub grant_prompt: bool,
    /// May share cells with other gateways. Default false. Together with headers or prompts this is a way for them to
    /// leave the gateway, so [`super::load`] gives both only where the operator said that this is meant.
    pub grant_fleet_cells: bool,
    /// Log lines a second. Default 100.
    pub log_lines: u32,
    /// Tables of cells. Default 16.
    pub tables: usize,
    /// Cells in all tables together. Default 65,536.
    pub cells: usize,
    /// When it counts as crashing.
    pub crash: CrashRules,
}

impl Default for PolicyRules {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(5),
            memory: 64 << 20,
            instances: None,
            calls: NonZeroU32::MIN.saturating_add(999_999),
            isolation: Isolation::Reuse,
            grant_headers: false,
            grant_prompt: false,
            grant_fleet_cells: false,
            log_lines: 100,
            tables: 16,
            cells: 65_536,
            crash: CrashRules::default(),
        }
    }
}

/// Whether a policy's instances serve more than one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Isolation {
    /// One call after another. The default.
    #[default]
    Reuse,
    /// A new instance for each call.
    Fresh,
}

/// When a policy counts as crashing: both the number and the share of failed calls within the window are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct CrashRules {
    /// Failed calls. Default 3.
    pub failures: NonZeroU32,
    /// Of all calls, 0 to 1. Default 0.05.
    pub share: f64,
    /// Default 30 s.
    pub window: Duration,
}

impl Default for CrashRules {
    fn default() -> Self {
        Self { failures: NonZeroU32::MIN.saturating_add(2), share: 0.05, window: Duration::from_secs(30) }
    }
}
