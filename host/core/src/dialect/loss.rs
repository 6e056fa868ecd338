//! What a translation cannot carry over, and what is done about it.

use serde_json::value::RawValue;

use super::json::is_neutral;
use crate::openai::ErrorBody;

/// What is done about something that the target's dialect cannot say.
///
/// A *hint* leaves the answer what it is, only perhaps a little better or cheaper: a seed, a penalty, a cache key. A
/// *demand* shapes the answer: several choices, log probabilities, audio. Who makes one relies on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Demands are refused, hints are left out and told.
    #[default]
    RefuseDemands,
    /// Both are refused.
    Refuse,
    /// Both are left out and told.
    Drop,
}

/// Keeps account of the losses of one request.
#[derive(Debug)]
pub struct Losses {
    on_loss: OnLoss,
    target: &'static str,
    dropped: Vec<String>,
}

impl Losses {
    /// None so far. `target` is the dialect's name, for people.
    pub fn new(on_loss: OnLoss, target: &'static str) -> Self {
        Self { on_loss, target, dropped: Vec::new() }
    }

    /// A hint is lost.
    pub(super) fn hint(&mut self, param: &str) -> Result<(), Refusal> {
        match self.on_loss {
            OnLoss::Refuse => Err(self.refusal(param)),
            OnLoss::RefuseDemands | OnLoss::Drop => {
                self.drop(param);
                Ok(())
            }
        }
    }

    /// A demand is lost.
    pub(super) fn demand(&mut self, param: &str) -> Result<(), Refusal> {
        match self.on_loss {
            OnLoss::Refuse | OnLoss::RefuseDemands => Err(self.refusal(param)),
            OnLoss::Drop => {
                self.drop(param);
                Ok(())
            }
        }
    }

    /// A hint is lost, unless the value is there only for form.
    pub(super) fn hint_unless_neutral(&mut self, param: &str, value: &RawValue) -> Result<(), Refusal> {
        if is_neutral(value) { Ok(()) } else { self.hint(param) }
    }

    /// A demand is lost, unless the value is there only for form.
    pub(super) fn demand_unless_neutral(&mut self, param: &str, value: &RawValue) -> Result<(), Refusal> {
        if is_neutral(value) { Ok(()) } else { self.demand(param) }
    }

    /// What was left out.
    pub(super) fn into_dropped(self) -> Vec<String> {
        self.dropped
    }

    fn drop(&mut self, param: &str) {
        if !self.dropped.iter().any(|known| known == param) {
            self.dropped.push(param.to_owned());
        }
    }

    fn refusal(&self, param: &str) -> Refusal {
        Refusal::Unsupported { param: param.to_owned(), target: self.target }
    }
}

/// Why a request is not translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not what its own dialect says it must be.
    #[error("Invalid '{param}': {problem}.")]
    Invalid {
        /// Where.
        param: String,
        /// What is wrong there.
        problem: String,
    },
    /// The target's dialect has no word for it.
    #[error(
        "'{param}' cannot be carried over to {target}, which this model is served by. Leave it out, or ask for a model \
         that takes it."
    )]
    Unsupported {
        /// What.
        param: String,
        /// The dialect's name.
        target: &'static str,
    },
}

impl Refusal {
    pub(super) fn invalid(param: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { param: param.into(), problem: problem.into() }
    }

    /// With the name that the client knows the field by.
    #[must_use]
    pub fn renamed(self, name: fn(&str) -> &str) -> Self {
        match self {
            Self::Invalid { param, problem } => Self::Invalid { param: name(&param).to_owned(), problem },
            Self::Unsupported { param, target } => Self::Unsupported { param: name(&param).to_owned(), target },
        }
    }

    /// What the client is told.
    pub fn body(&self) -> ErrorBody {
        let (param, code) = match self {
            Self::Invalid { param, .. } => (param, "invalid_value"),
            Self::Unsupported { param, .. } => (param, "unsupported_parameter"),
        };
        ErrorBody::invalid(self.to_string()).with_param(param.clone()).with_code(code)
    }
}
