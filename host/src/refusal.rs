//! Why a policy is not put into service, for whoever has to mend it.

use std::fmt::Display;

use witgate_wasm::{BindError, BindProblem};

/// The error, and how to see what would be right. `file` is what `witgate policy inspect` takes: a path, or the name of a
/// shipped policy.
pub fn told(error: &BindError, file: impl Display) -> String {
    match &error.problem {
        BindProblem::Settings(_) => {
            format!("{error}; `witgate policy inspect --schema {file}` shows all that it accepts")
        }
        BindProblem::NotGranted { .. }
        | BindProblem::Refused(_)
        | BindProblem::Configure(_)
        | BindProblem::Subscription(_)
        | BindProblem::Trial { .. } => error.to_string(),
    }
}
