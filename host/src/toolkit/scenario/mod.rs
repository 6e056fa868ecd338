//! A file of scenarios: deployments on paper, situations, and what a policy must answer in them.
//!
//! [`read`] gives cases and properties in which every name is known and every number is finite.

mod expect;
mod property;
mod raw;
mod resolve;

use serde_json::Value;

pub use expect::{Expect, Mismatch, Wanted};
pub use property::{Property, Rule};
pub use resolve::{fact, signal};

use super::scene::{Scene, Script};
use super::situation::Situation;

/// A file of scenarios, read.
pub struct Scenarios {
    /// Where they play.
    pub scene: Scene,
    /// In the order of the file.
    pub cases: Vec<Case>,
    /// In the order of the file.
    pub properties: Vec<Property>,
}

/// One situation, and what must come of it.
pub struct Case {
    /// What must hold.
    pub name: String,
    /// A JSON object.
    pub settings: Value,
    /// What the policy is asked.
    pub situation: Situation,
    /// What it must answer.
    pub expect: Expect,
}

/// Reads a file's text; `name` is what messages call it.
///
/// # Errors
/// The first thing that is wrong with the YAML, or with a name in it.
pub fn read(name: &str, text: &str) -> anyhow::Result<Scenarios> {
    let raw: raw::RawScenarios = serde_yaml::from_str(text).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    resolve::scenarios(raw).map_err(|error| error.context(name.to_owned()))
}

/// Milliseconds since 1970 of a time such as `2026-01-01T12:00:00Z`, or of a number of them.
pub fn moment(text: &str) -> Option<f64> {
    raw::parse_moment(text).or_else(|| text.parse().ok().filter(|millis: &f64| millis.is_finite()))
}

impl Scenarios {
    /// The case of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn case(&self, name: &str) -> anyhow::Result<&Case> {
        let found = self.cases.iter().find(|case| case.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.cases.iter().map(|case| &*case.name).collect();
            anyhow::anyhow!("there is no case `{name}`; {}", witgate_core::config::suggest(name, known))
        })
    }
}

impl raw::RawScenarios {
    fn script(&self) -> Script {
        Script {
            deployments: self.deployments.clone(),
            routes: self.routes.clone(),
            tenants: self.tenants.clone(),
            grants: self.grants.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
