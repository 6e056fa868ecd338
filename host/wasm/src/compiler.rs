//! The threads that the compiler runs on: made for one compilation, and gone with it.
//!
//! A gateway compiles beside its requests. The threads for that have a low priority, so that they take processors that are
//! idle and leave those that are not; there are few, because memory and caches know no priorities.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::Compiling;

/// Beside requests. More of them make an interpreter live hardly sooner.
const ASIDE: usize = 4;

/// Runs the compiler; what it does in parallel stays on these threads. `Err` says why it did not end.
pub(crate) fn run<T: Send>(compiling: Compiling, compile: impl FnOnce() -> T + Send) -> Result<T, String> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = match compiling {
        Compiling::Aside => processors.min(ASIDE),
        Compiling::AtOnce => processors,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|_| "witgate-compile".to_owned())
        .start_handler(move |_| {
            if compiling == Compiling::Aside {
                step_back();
            }
        })
        .build()
        .map_err(|error| format!("no thread for the compiler: {error}"))?;
    // Nothing of a compilation that panicked is used again.
    catch_unwind(AssertUnwindSafe(|| pool.install(compile))).map_err(|_| "the compiler panicked".to_owned())
}

/// Lets every other thread go first. On Linux the priority belongs to the thread.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOW) {
        tracing::debug!(%error, "the compiler runs at normal priority");
    }
}

#[cfg(target_os = "linux")]
const LOW: i32 = 10;

#[cfg(test)]
#[expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_gateway_compiles_at_low_priority() {
        let niceness = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let usual = niceness();
        assert_eq!(run(Compiling::Aside, niceness), Ok(LOW));
        assert_eq!(run(Compiling::AtOnce, niceness), Ok(usual));
        assert_eq!(niceness(), usual);
    }

    #[test]
    fn what_runs_in_parallel_stays_on_the_threads_of_the_compiler() {
        let names = || {
            let names = rayon::broadcast(|_| std::thread::current().name().unwrap().to_owned());
            names.into_iter().collect::<std::collections::BTreeSet<_>>()
        };
        let processors = std::thread::available_parallelism().unwrap().get();
        for (compiling, threads) in [(Compiling::Aside, processors.min(ASIDE)), (Compiling::AtOnce, processors)] {
            assert_eq!(run(compiling, || (names(), rayon::current_num_threads())).unwrap().1, threads);
            assert_eq!(run(compiling, names).unwrap(), ["witgate-compile".to_owned()].into());
        }
    }

    #[test]
    fn a_panic_of_the_compiler_is_told() {
        assert_eq!(run(Compiling::AtOnce, || panic!("as it may")), Err::<(), _>("the compiler panicked".to_owned()));
    }
}
