//! The thread that compiles large policies a second time, well, while they serve with what was compiled quickly.
//!
//! Nothing else of a policy changes: its revision, its cells, its counters. Its instances are replaced one by one, each
//! between two calls, as when they retire. Whatever goes wrong leaves the policy serving as it does.
//!
//! What serves no more is not worth its twelve seconds of processor: it is not begun. The compiler cannot be stopped on its
//! way; what it still makes is at most put into the code cache, where a way back to this revision finds it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Instant;

use wasmtime::component::Component as Code;

use crate::compiler::{self, Effort};
use crate::component::Component;
use crate::engine::Inner;
use crate::load::chain;
use crate::tier::Tier;

/// Components that may wait. More than that at once come at a start with an empty cache; the rest go on with quick code
/// until they are loaded again.
const QUEUE: usize = 32;

/// A component to be compiled well.
pub(crate) struct Job {
    engine: Weak<Inner>,
    policy: Arc<str>,
    revision: Arc<str>,
    /// It may be replaced, and gone, while the job waits.
    component: Weak<Component>,
    bytes: Vec<u8>,
    /// Where its code is kept.
    key: String,
}

pub(crate) fn queue() -> (SyncSender<Job>, Receiver<Job>) {
    sync_channel(QUEUE)
}

/// Runs until the engine is gone.
pub(crate) fn run(queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        job.run();
    }
}

impl Inner {
    /// To be called once the component is loaded.
    pub(crate) fn optimise_later(self: &Arc<Self>, component: &Arc<Component>, bytes: Vec<u8>, key: String) {
        let (policy, revision) = (&component.name, &component.revision);
        tracing::info!(%policy, %revision, tier = Tier::Quick.label(), "compiled quickly; optimised while it serves");
        match self.jobs.try_send(Job::new(self, component, bytes, key)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                tracing::warn!(%policy, %revision, problem = "too many wait", "{STAYS_QUICK}");
            }
        }
    }
}

impl Job {
    fn new(engine: &Arc<Inner>, component: &Arc<Component>, bytes: Vec<u8>, key: String) -> Self {
        let (policy, revision) = (Arc::clone(&component.name), Arc::clone(&component.revision));
        Self { engine: Arc::downgrade(engine), policy, revision, component: Arc::downgrade(component), bytes, key }
    }

    fn run(self) {
        let Some(engine) = self.engine.upgrade() else { return };
        let started = Instant::now();
        let ended = self.optimise(&engine);
        let seconds = started.elapsed().as_secs_f64();
        let Self { policy, revision, .. } = self;
        match ended {
            Ok(Ended::Optimised) => {
                tracing::info!(%policy, %revision, tier = Tier::Optimised.label(), seconds, "policy optimised");
            }
            Ok(Ended::Abandoned) => tracing::info!(%policy, %revision, seconds, "not optimised; it serves no more"),
            Err(problem) => tracing::warn!(%policy, %revision, problem, "{STAYS_QUICK}"),
        }
    }

    /// The component, as long as it serves. It is not held while its code is compiled: it may be the last to hold it.
    fn serving(&self) -> Option<Arc<Component>> {
        self.component.upgrade().filter(|component| !component.is_withdrawn())
    }

    fn optimise(&self, engine: &Inner) -> Result<Ended, String> {
        if self.serving().is_none() {
            return Ok(Ended::Abandoned);
        }
        let target = &engine.optimised;
        let code = match engine.kept(&self.key) {
            // The same file was loaded twice.
            Some(code) => code,
            None => {
                let compiled = compiler::run(Effort::Least, || Code::from_binary(&target.wasm, &self.bytes))?;
                let code = compiled.map_err(|error| chain(&error))?;
                engine.keep(&self.key, &code);
                code
            }
        };
        let Some(component) = self.serving() else { return Ok(Ended::Abandoned) };
        let program = target.link(&code, component.hooks, &component.imports).map_err(|error| chain(&error))?;
        component.put(program);
        Ok(Ended::Optimised)
    }
}

/// What became of a job.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Optimised,
    Abandoned,
}

const STAYS_QUICK: &str = "the policy could not be optimised; it serves on with quickly compiled code";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineOptions};

    const GUEST: &[u8] = include_bytes!("../../../tests/conformance/rust-wasip2.wasm");

    #[test]
    fn a_component_that_cannot_be_optimised_stays_what_it_is() {
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let component = engine.load("p", GUEST).unwrap();
        assert_eq!(component.tier(), Tier::Optimised, "it is small");
        let quick = engine.inner.quick.as_ref().unwrap();
        let code = Code::from_binary(&quick.wasm, GUEST).unwrap();
        component.put(quick.link(&code, component.hooks, &component.imports).unwrap());
        let job = |bytes: &[u8]| Job::new(&engine.inner, &component, bytes.to_vec(), String::new());
        job(&GUEST[..GUEST.len() - 1]).run();
        assert_eq!(component.tier(), Tier::Quick);
        job(GUEST).run();
        assert_eq!(component.tier(), Tier::Optimised);
    }

    #[test]
    fn what_serves_no_more_is_not_compiled_again() {
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let component = engine.load("p", GUEST).unwrap();
        let job = |bytes: &[u8]| Job::new(&engine.inner, &component, bytes.to_vec(), String::new());
        let ended = |bytes| job(bytes).optimise(&engine.inner);
        assert_eq!(ended(GUEST), Ok(Ended::Optimised));
        assert!(ended(b"what no compiler takes").is_err());
        component.withdraw();
        assert_eq!(ended(b"what no compiler takes"), Ok(Ended::Abandoned));
    }
}
