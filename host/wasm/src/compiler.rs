//! The threads that the compiler runs on: made for one compilation, and gone with it.
//!
//! A gateway compiles beside its requests. The threads for that have a low priority, so that they take processors that are
//! idle and leave those that are not; there are few, because memory and caches know no priorities. What nobody waits for
//! at all has one thread.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::Compiling;

/// Beside requests. More of them make an interpreter live hardly sooner.
const ASIDE: usize = 4;

/// How much of the machine a compilation may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As the engine's owner wants it.
    Wanted(Compiling),
    /// After everything else: what it makes is only better than what is there.
    Least,
}

impl Effort {
    fn threads(self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        match self {
            Self::Wanted(Compiling::Aside) => processors.min(ASIDE),
            Self::Wanted(Compiling::AtOnce) => processors,
            Self::Least => 1,
        }
    }

    #[cfg(target_os = "linux")]
    const fn niceness(self) -> Option<i32> {
        match self {
            Self::Wanted(Compiling::Aside) | Self::Least => Some(LOW),
            Self::Wanted(Compiling::AtOnce) => None,
        }
    }
}

/// Runs the compiler; what it does in parallel stays on these threads. `Err` says why it did not end.
pub(crate) fn run<T: Send>(effort: Effort, compile: impl FnOnce() -> T + Send) -> Result<T, String> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(effort.threads())
        .thread_name(|_| "witgate-compile".to_owned())
        .start_handler(move |_| step_back(effort))
        .build()
        .map_err(|error| format!("no thread for the compiler: {error}"))?;
    // Nothing of a compilation that panicked is used again.
    catch_unwind(AssertUnwindSafe(|| pool.install(compile))).map_err(|_| "the compiler panicked".to_owned())
}

/// Lets other threads go first. On Linux the priority belongs to the thread.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "there is no priority of a thread"))]
fn step_back(effort: Effort) {
    #[cfg(target_os = "linux")]
    if let Some(niceness) = effort.niceness()
        && let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), niceness)
    {
        tracing::debug!(%error, "the compiler runs at normal priority");
    }
}

/// A tenth of what a request's thread gets. Whoever gets less can stand still while it holds the lock on the process's memory
/// map, which requests need too: at 19, on a core without rest, one in a hundred of them took 110 ms.
#[cfg(target_os = "linux")]
const LOW: i32 = 10;

#[cfg(test)]
#[expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const ASIDE_EFFORT: Effort = Effort::Wanted(Compiling::Aside);

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_gateway_compiles_at_low_priority() {
        let niceness = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let usual = niceness();
        assert_eq!(run(ASIDE_EFFORT, niceness), Ok(LOW));
        assert_eq!(run(Effort::Wanted(Compiling::AtOnce), niceness), Ok(usual));
        assert_eq!(run(Effort::Least, niceness), Ok(LOW));
        assert_eq!(niceness(), usual);
    }

    #[test]
    fn what_runs_in_parallel_stays_on_the_threads_of_the_compiler() {
        let names = || {
            let names = rayon::broadcast(|_| std::thread::current().name().unwrap().to_owned());
            names.into_iter().collect::<std::collections::BTreeSet<_>>()
        };
        let processors = std::thread::available_parallelism().unwrap().get();
        let at_once = Effort::Wanted(Compiling::AtOnce);
        for (effort, threads) in [(ASIDE_EFFORT, processors.min(ASIDE)), (at_once, processors), (Effort::Least, 1)] {
            assert_eq!(run(effort, || (names(), rayon::current_num_threads())).unwrap().1, threads);
            assert_eq!(run(effort, names).unwrap(), ["witgate-compile".to_owned()].into());
        }
    }

    #[test]
    fn a_panic_of_the_compiler_is_told() {
        assert_eq!(run(ASIDE_EFFORT, || panic!("as it may")), Err::<(), _>("the compiler panicked".to_owned()));
    }
}
