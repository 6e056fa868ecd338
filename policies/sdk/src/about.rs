//! What a policy says about itself.

use crate::bindings::imports::types::PolicyInfo;

/// Name, version, one sentence, and the schema of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    name: &'static str,
    version: &'static str,
    summary: &'static str,
    settings_schema: &'static str,
}

impl About {
    /// A policy without settings. The version is a semantic one, usually `env!("CARGO_PKG_VERSION")`.
    pub const fn new(name: &'static str, version: &'static str, summary: &'static str) -> Self {
        const NO_SETTINGS: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;
        Self { name, version, summary, settings_schema: NO_SETTINGS }
    }

    /// With settings that the host checks against this JSON Schema (draft 2020-12) before the policy sees them.
    pub const fn with_settings(self, schema: &'static str) -> Self {
        Self { settings_schema: schema, ..self }
    }
}

impl From<About> for PolicyInfo {
    fn from(about: About) -> Self {
        Self {
            name: about.name.to_owned(),
            version: about.version.to_owned(),
            summary: about.summary.to_owned(),
            settings_schema: about.settings_schema.to_owned(),
        }
    }
}
