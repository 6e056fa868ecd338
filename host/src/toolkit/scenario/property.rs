//! What must hold whatever is asked.

use anyhow::{bail, ensure};
use serde_json::Value;
use witgate_core::vocabulary::Signal;

use super::raw::RawProperty;
use super::resolve::{finite, signal};
use crate::toolkit::scene::Scene;
use crate::toolkit::situation::Situation;

/// What must hold over many situations.
pub struct Property {
    /// What must hold.
    pub name: String,
    /// A JSON object.
    pub settings: Value,
    /// What is stated; the rest is made up, unless the rule wants it to stay.
    pub situation: Situation,
    /// How many.
    pub over: u32,
    /// What is looked at.
    pub rule: Rule,
}

/// What is looked at.
pub enum Rule {
    /// Nobody with such a signal is chosen while there is somebody else.
    Never {
        /// Which signal.
        signal: Signal,
        /// Bad above this.
        above: Option<f64>,
        /// Bad below this.
        below: Option<f64>,
    },
    /// Only these are chosen.
    AlwaysAmong(Vec<u32>),
    /// The same question gets the same answer in another instance.
    Deterministic,
    /// Each gets its share of the decisions about one situation.
    Balanced {
        /// Of the share that is expected.
        within: f64,
        /// Sum 1.
        shares: Vec<(u32, f64)>,
    },
}

impl Rule {
    /// How many situations are enough when the file does not say.
    pub fn usual_over(&self) -> u32 {
        match self {
            Self::Balanced { .. } => 1000,
            Self::Never { .. } | Self::AlwaysAmong(_) | Self::Deterministic => 200,
        }
    }

    /// Whether a signal of a candidate is one that must not be chosen.
    pub fn is_bad(value: f64, above: Option<f64>, below: Option<f64>) -> bool {
        above.is_some_and(|above| value > above) || below.is_some_and(|below| value < below)
    }
}

pub(super) fn rule(raw: &RawProperty, scene: &Scene) -> anyhow::Result<Rule> {
    ensure!(raw.over != Some(0), "`over` is 0, so nothing would be tested");
    ensure!(raw.over.is_none_or(|over| over <= MOST), "`over` is more than {MOST}");
    let mut rules = Vec::new();
    if let Some(never) = &raw.never {
        let (above, below) = (never.above, never.below);
        ensure!(above.is_some() || below.is_some(), "`never` needs `above` or `below`");
        rules.push(Rule::Never { signal: signal(&never.signal)?, above, below });
    }
    if let Some(ids) = &raw.always_among {
        ensure!(!ids.is_empty(), "`always-among` is empty");
        let targets = ids.iter().map(|id| scene.target(id)).collect::<anyhow::Result<_>>()?;
        rules.push(Rule::AlwaysAmong(targets));
    }
    match raw.deterministic {
        Some(true) => rules.push(Rule::Deterministic),
        Some(false) => bail!("`deterministic: false` says nothing"),
        None => {}
    }
    if let Some(balanced) = &raw.balanced {
        let within = finite(balanced.within.0, "within")?;
        ensure!(within > 0.0, "`within` must be above 0");
        let named = balanced.shares.0.iter().map(|(id, share)| Ok((scene.target(id)?, finite(*share, id)?)));
        let mut shares = named.collect::<anyhow::Result<Vec<_>>>()?;
        if shares.is_empty() {
            let candidates =
                raw.candidates.as_ref().map(|candidates| candidates.0.iter().map(|(id, _)| scene.target(id)));
            let targets = candidates.map_or_else(|| Ok(scene.targets()), Iterator::collect::<anyhow::Result<_>>)?;
            shares = targets.into_iter().map(|target| (target, 1.0)).collect();
        }
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        ensure!(
            total > 0.0 && shares.iter().all(|(_, share)| *share >= 0.0),
            "`shares` are numbers, 0 or more, not all 0"
        );
        shares.iter_mut().for_each(|(_, share)| *share /= total);
        rules.push(Rule::Balanced { within, shares });
    }
    ensure!(rules.len() < 2, "there can be only one of `never`, `always-among`, `deterministic` and `balanced`");
    rules.pop().ok_or_else(|| {
        anyhow::anyhow!("it says nothing: give one of `never`, `always-among`, `deterministic` and `balanced`")
    })
}

const MOST: u32 = 1_000_000;
