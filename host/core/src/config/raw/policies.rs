//! What is written about policies: where they come from, what each may do, and when one counts as crashing.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::raw_supply::{RawPull, RawRegistry, RawSupply, RawVerify};
use crate::config::shapes::{DurationText, Named, SizeText};

/// Where policies come from, and what each may do.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Policies")]
pub(in crate::config) struct RawPolicies {
    /// The watched folder; a file `name.wasm` in it is the policy `name`.
    #[schemars(extend("default" = "policies"))]
    pub(in crate::config) directory: Option<String>,
    /// How often the folder is looked through besides the system's file events.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) poll: Option<DurationText>,
    /// Where compiled policies are kept, or `off`. Without it: `witgate` in the user's cache folder.
    pub(in crate::config) code_cache: Option<String>,
    /// Where files that served well are kept for rollbacks, with what was decided about them, or `off`: then the last
    /// one is kept in memory. Without it: the folder `revisions` in that of `code_cache`.
    pub(in crate::config) revisions: Option<String>,
    /// Where the last good copies of pulled policies are kept, so that a start without the registry works, or `off`.
    /// Without it: `witgate-policies` in the user's cache folder.
    pub(in crate::config) copies: Option<String>,
    /// Where policies come from and what proves them, by policy name.
    pub(in crate::config) supply: Option<Named<RawSupply>>,
    /// Whether every policy that is not shipped must be signed.
    #[schemars(extend("default" = false))]
    pub(in crate::config) require_signature: Option<bool>,
    /// Whose signatures count where `require_signature` asks for one and `supply` does not say.
    pub(in crate::config) verify: Option<RawVerify>,
    /// How policies are pulled from registries.
    pub(in crate::config) pull: Option<RawPull>,
    /// How to talk to registries that need more than HTTPS, by host, with the port if there is one.
    pub(in crate::config) registries: Option<Named<RawRegistry>>,
    /// Limits and grants of policies that `rules` does not name, and of what a rule leaves out.
    pub(in crate::config) defaults: Option<RawRules>,
    /// Limits and grants by policy name.
    pub(in crate::config) rules: Option<Named<RawRules>>,
}

/// Limits and grants. What a rule leaves out is as in `policies.defaults`; the defaults here are those of that map.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rules")]
pub(in crate::config) struct RawRules {
    /// For one call: the time that its thread works. Five times that while a large policy is not yet optimised.
    #[schemars(extend("default" = "5ms"))]
    pub(in crate::config) deadline: Option<DurationText>,
    /// Linear memory of one instance.
    #[schemars(extend("default" = "64MiB"))]
    pub(in crate::config) memory: Option<SizeText>,
    /// Instances at once, and so calls at once: one more waits for at most its deadline, and then fails. Without it:
    /// twice the worker threads.
    #[schemars(range(min = 1, max = 1024))]
    pub(in crate::config) instances: Option<u64>,
    /// Calls after which an instance is replaced.
    #[schemars(range(min = 1, max = 2_147_483_647), extend("default" = 1_000_000))]
    pub(in crate::config) calls: Option<u64>,
    /// Whether an instance serves one call after another (`reuse`), or each call gets a new one (`fresh`), made ready
    /// beforehand where there is time: then nothing in its memory outlives a call, and each call costs an instance.
    #[schemars(extend("default" = "reuse"))]
    pub(in crate::config) isolation: Option<RawIsolation>,
    /// What the policy may use besides numbers: `headers` and `prompt` of a request, and `fleet-cells`, which it shares
    /// with other gateways. A list in a rule replaces that of the defaults.
    #[schemars(extend("default" = []))]
    pub(in crate::config) grants: Option<Vec<RawGrant>>,
    /// Whether a policy that reads headers or prompts may have `fleet-cells` too, through which it could carry what it
    /// reads to other gateways.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_covert_channel: Option<bool>,
    /// Log lines a second.
    #[schemars(range(max = 1_000_000), extend("default" = 100))]
    pub(in crate::config) log_lines: Option<u64>,
    /// Tables of cells.
    #[schemars(range(max = 1024), extend("default" = 16))]
    pub(in crate::config) tables: Option<u64>,
    /// Cells in all tables together, 8 bytes each.
    #[schemars(range(max = 16_777_216), extend("default" = 65_536))]
    pub(in crate::config) cells: Option<u64>,
    /// When it counts as crashing.
    pub(in crate::config) crash: Option<RawCrash>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Grant", inline)]
pub(in crate::config) enum RawGrant {
    Headers,
    Prompt,
    FleetCells,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Isolation", inline)]
pub(in crate::config) enum RawIsolation {
    Reuse,
    Fresh,
}

/// When a policy counts as crashing: so many of its calls failed, and such a share of them, within a time. Traps, missed
/// deadlines and impossible verdicts count, errors that it declares do not. It is then asked no more, and the revision
/// before takes its place; without one, it is suspended for 10s, tried again, and suspended for longer each time, up to
/// 5m.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Crash")]
pub(in crate::config) struct RawCrash {
    /// At least so many.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 3))]
    pub(in crate::config) failures: Option<u64>,
    /// At least such a share of its calls, 0 to 1.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.05))]
    pub(in crate::config) share: Option<f64>,
    /// Within such a time, to an eighth.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) window: Option<DurationText>,
}
