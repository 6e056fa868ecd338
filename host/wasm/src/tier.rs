//! The two ways to compile a policy: quickly, so that a large one serves soon, and well, for the rest of its life.
//!
//! Both answer alike: the settings that make verdicts the same everywhere are the same in both. They differ in time, and
//! in how deep a policy can recurse before it traps.

use std::time::Duration;

use wasmtime::component::{Component as Code, InstancePre, Linker};
use wasmtime::{OptLevel, RegallocAlgorithm};

use crate::hooks::Hooks;
use crate::inspect::Imports;
use crate::instance::Exports;
use crate::state::State;
use crate::wasi;

/// How a policy's code was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In half the time. A large policy serves with it until the optimised code is there.
    Quick,
    /// What every policy has in the end, and what the code cache keeps.
    Optimised,
}

impl Tier {
    /// For people and the admin API.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Optimised => "optimised",
        }
    }

    /// What a call may take of the time that its rules give. A policy that keeps its deadline must not miss it, be
    /// suspended and rolled back, because its better code is not there yet.
    pub(crate) fn allows(self, limit: Duration) -> Duration {
        match self {
            Self::Quick => limit * SLACK,
            Self::Optimised => limit,
        }
    }

    /// For a message that names the limit.
    pub(crate) const fn slack(self) -> &'static str {
        match self {
            Self::Quick => ", and five times that, which it has until its code is optimised",
            Self::Optimised => "",
        }
    }

    pub(crate) const fn opt_level(self) -> OptLevel {
        match self {
            Self::Quick => OptLevel::None,
            Self::Optimised => OptLevel::Speed,
        }
    }

    pub(crate) const fn registers(self) -> RegallocAlgorithm {
        match self {
            Self::Quick => RegallocAlgorithm::SinglePass,
            Self::Optimised => RegallocAlgorithm::Backtracking,
        }
    }

    /// Bytes of stack. Quick code keeps in its frames what optimised code keeps in registers.
    pub(crate) const fn stack(self) -> usize {
        match self {
            Self::Quick => 1024 * 1024,
            Self::Optimised => 512 * 1024,
        }
    }
}

/// Quick code was measured to take 2.8 times as long in QuickJS and CPython, 3.7 times in Go.
const SLACK: u32 = 5;

/// What code of one tier is compiled by and linked with.
pub(crate) struct Target {
    pub(crate) tier: Tier,
    pub(crate) wasm: wasmtime::Engine,
    /// With everything of the contract; WASI is added for the components that import it.
    pub(crate) linker: Linker<State>,
}

/// A component's code, ready to be instantiated.
pub(crate) struct Program {
    pub(crate) tier: Tier,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
}

impl Target {
    pub(crate) fn link(&self, code: &Code, hooks: Hooks, imports: &Imports) -> wasmtime::Result<Program> {
        let pre = if imports.wasi {
            let mut linker: Linker<State> = self.linker.clone();
            wasi::link(&mut linker, &self.wasm, code)?;
            linker.instantiate_pre(code)
        } else {
            self.linker.instantiate_pre(code)
        }?;
        let exports = Exports::find(&pre, hooks)?;
        Ok(Program { tier: self.tier, pre, exports })
    }
}

/// Whether compiling this component well takes so long that it is worth compiling it quickly first. A megabyte of code
/// takes about two seconds on one core; a policy in Rust, C or Zig has some 50 kB, an interpreter a megabyte or more.
pub(crate) fn is_large(component: &[u8]) -> bool {
    let code = wasmparser::Parser::new(0).parse_all(component).map_while(Result::ok).map(|payload| match payload {
        wasmparser::Payload::CodeSectionStart { size, .. } => u64::from(size),
        _ => 0,
    });
    code.sum::<u64>() >= LARGE
}

/// Bytes of code; half a second of compiling.
const LARGE: u64 = 256 * 1024;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_code_makes_a_policy_large() {
        // a function has a length (3 bytes), no locals (1 byte) and an end (1 byte)
        let code = |bytes: usize| format!("(core module (func {}))", "nop ".repeat(bytes - 5));
        let component = |parts: &str| wat::parse_str(format!("(component {parts})")).unwrap();
        let large = LARGE as usize;
        assert!(is_large(&component(&code(large))));
        assert!(!is_large(&component(&code(large - 1))));
        assert!(is_large(&component(&format!("{} {}", code(large / 2), code(large / 2)))));
        let data = format!("(core module (memory 9) (data (i32.const 0) \"{}\"))", "x".repeat(large));
        assert!(!is_large(&component(&data)));
    }
}
