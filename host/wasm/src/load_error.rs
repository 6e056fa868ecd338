//! Why a file is not taken as a policy.

use std::sync::Arc;

use crate::failure::FailureCause;

/// A file that is not taken, with the policy's name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("policy `{policy}`: {problem}")]
pub struct LoadError {
    /// The file's name without `.wasm`.
    pub policy: Arc<str>,
    /// What is wrong with it.
    pub problem: LoadProblem,
}

/// What is wrong with a policy's file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LoadProblem {
    /// Something else than WebAssembly.
    #[error("the file is not WebAssembly: {0}")]
    NotWasm(&'static str),
    /// Above the cap.
    #[error("the file has {got} bytes, at most {allowed} are taken")]
    TooLarge {
        /// Bytes of the file.
        got: usize,
        /// The cap.
        allowed: usize,
    },
    /// Its end is missing.
    #[error(
        "the file ends in the middle, after {got} bytes; copy it again, or write it beside the folder and rename it into \
         it when it is whole"
    )]
    Truncated {
        /// Bytes that are there.
        got: usize,
    },
    /// A core module that does not say which world it implements.
    #[error(
        "the file is a core WebAssembly module without a component type, so its functions cannot be told; generate its \
         bindings with wit-bindgen for a world of `witgate:policy`, or build it as a component"
    )]
    NoComponentType,
    /// A core module that wit-component cannot wrap.
    #[error("the file is a core WebAssembly module that cannot be made a component: {0}")]
    NotWrapped(String),
    /// Not valid, or a feature that policies may not use.
    #[error("the file is not valid WebAssembly, or uses a feature that policies may not: {0}")]
    Invalid(String),
    /// The compiler broke down.
    #[error("the file could not be compiled: {0}")]
    Compile(String),
    /// Another version of the contract.
    #[error(
        "it was built for version {theirs} of the contract `witgate:policy`, this gateway speaks {ours}; build it \
         against this gateway's `wit/policy.wit`"
    )]
    WrongVersion {
        /// The policy's.
        theirs: String,
        /// The host's.
        ours: &'static str,
    },
    /// `lifecycle` is missing.
    #[error("it does not export `witgate:policy/lifecycle`, which every policy does; it exports {}", listed(exports))]
    NoLifecycle {
        /// What it exports instead.
        exports: Vec<String>,
    },
    /// No hook at all.
    #[error(
        "it exports `witgate:policy/lifecycle` but no hook, so it could never do anything; export at least one of \
         `router`, `fallback`, `filter`, `scorer`, `observer`"
    )]
    NoHook,
    /// Imports that no policy can have.
    #[error(
        "it imports {}, which this gateway does not offer; a policy may import `log`, `cells`, `names`, `headers` and \
         `prompt` of `witgate:policy`",
        listed(imports)
    )]
    UnknownImports {
        /// Their names.
        imports: Vec<String>,
    },
    /// An import or export of another type than the contract's.
    #[error("it does not fit the contract `witgate:policy@{version}`: {text}")]
    Mismatch {
        /// The host's version.
        version: &'static str,
        /// What does not fit.
        text: String,
    },
    /// Built for a newer version of the contract, with something in it that is not here.
    #[error(
        "it was built for version {theirs} of the contract `witgate:policy` and uses something of it that this gateway, \
         which speaks {ours}, does not have: {text}; update the gateway, or build it against this gateway's \
         `wit/policy.wit`"
    )]
    NewerContract {
        /// The policy's.
        theirs: String,
        /// The host's.
        ours: &'static str,
        /// What does not fit.
        text: String,
    },
    /// It cannot be instantiated.
    #[error("it cannot be started: {0}")]
    Start(FailureCause),
    /// `describe` failed.
    #[error("its `describe` failed: {0}")]
    Describe(FailureCause),
    /// The settings schema is no JSON schema.
    #[error("its settings schema is not a JSON Schema: {0}")]
    Schema(String),
}

/// Names for people: `a`, `b` and `c`.
pub(crate) fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_for_people() {
        let names = |names: &[&str]| listed(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names(&[]), "nothing");
        assert_eq!(names(&["a"]), "`a`");
        assert_eq!(names(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
