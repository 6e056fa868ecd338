//! The thread that compiles large policies a second time, well, while they serve with what was compiled quickly.
//!
//! Nothing else of a policy changes: its revision, its cells, its counters. Its instances are replaced one by one, each
//! between two calls, as when they retire. Whatever goes wrong leaves the policy serving as it does.

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
        let job = Job { engine: Arc::downgrade(self), component: Arc::downgrade(component), bytes, key };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                tracing::warn!(%policy, %revision, problem = "too many wait", "{STAYS_QUICK}");
            }
        }
    }
}

impl Job {
    fn run(self) {
        let Some(engine) = self.engine.upgrade() else { return };
        // It may have been replaced while it waited.
        let Some((policy, revision)) = self.component.upgrade().map(|it| (it.name.clone(), it.revision.clone())) else {
            return;
        };
        let started = Instant::now();
        match self.optimise(&engine) {
            Ok(()) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::info!(%policy, %revision, tier = Tier::Optimised.label(), seconds, "policy optimised");
            }
            Err(problem) => tracing::warn!(%policy, %revision, problem, "{STAYS_QUICK}"),
        }
    }

    fn optimise(&self, engine: &Inner) -> Result<(), String> {
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
        // What was replaced meanwhile needs nothing any more.
        let Some(component) = self.component.upgrade() else { return Ok(()) };
        let program = target.link(&code, component.hooks, &component.imports).map_err(|error| chain(&error))?;
        component.put(program);
        Ok(())
    }
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
        let job = |bytes: &[u8]| Job {
            engine: Arc::downgrade(&engine.inner),
            component: Arc::downgrade(&component),
            bytes: bytes.to_vec(),
            key: String::new(),
        };
        job(&GUEST[..GUEST.len() - 1]).run();
        assert_eq!(component.tier(), Tier::Quick);
        job(GUEST).run();
        assert_eq!(component.tier(), Tier::Optimised);
    }
}
