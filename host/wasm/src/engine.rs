//! The one engine of the gateway: how policies are compiled and run, the clock that stops them, and the thread that
//! replaces their instances.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use parking_lot::Mutex;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, EngineWeak, WasmFeatures};

use crate::bindings::imports;
use crate::code_cache::CodeCache;
use crate::crash::{Crash, Crashes};
use crate::deadline::TICK;
use crate::meter::Meter;
use crate::optimise::{self, Job};
use crate::replace::{self, Replacement};
use crate::state::State;
use crate::tier::{Target, Tier};

/// How policies are run.
#[derive(Clone, Default)]
pub struct EngineOptions {
    /// A directory for compiled code, which is made if need be. It must be ours alone; otherwise it is not used.
    pub code_cache: Option<PathBuf>,
    /// Threads that call policies; each finds a warm instance. At least 1.
    pub workers: usize,
    /// Where calls are counted.
    pub meter: Option<Arc<dyn Meter>>,
    /// How the compiler shares the machine.
    pub compiling: Compiling,
}

/// How the compiler shares the machine with everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compiling {
    /// At low priority and on few threads: it takes what requests leave. A large policy is compiled quickly first, and
    /// well while it serves.
    #[default]
    Aside,
    /// At normal priority and on all processors, because somebody waits for it.
    AtOnce,
}

/// Loads, binds and runs policies. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) optimised: Target,
    /// For large policies until their optimised code is there; `None` where somebody waits for that.
    pub(crate) quick: Option<Target>,
    pub(crate) cache: Option<CodeCache>,
    pub(crate) workers: usize,
    pub(crate) meter: Option<Arc<dyn Meter>>,
    pub(crate) compiling: Compiling,
    /// Compiling a Python policy takes 350 MiB: one at a time, and one more that is compiled for the second time.
    pub(crate) compiler: Mutex<()>,
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) replacements: SyncSender<Replacement>,
    pub(crate) crashes: Crashes,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine cannot run it.
    #[error("the WebAssembly engine cannot run on this machine: {0}")]
    Unsupported(String),
    /// No thread.
    #[error("the WebAssembly engine could not start its thread `{name}`")]
    Thread {
        /// Which one.
        name: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl Engine {
    /// Starts the engine and its three threads, which end when nothing of the engine is left.
    ///
    /// # Errors
    /// When the machine cannot run compiled WebAssembly, or gives no threads. A code cache that cannot be used is only
    /// logged.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let unsupported = |error: wasmtime::Error| EngineError::Unsupported(error.to_string());
        let optimised = target(Tier::Optimised).map_err(unsupported)?;
        let quick = match options.compiling {
            Compiling::Aside => Some(target(Tier::Quick).map_err(unsupported)?),
            Compiling::AtOnce => None,
        };
        let cache = options.code_cache.and_then(|directory| {
            CodeCache::open(&directory)
                .inspect_err(|refusal| {
                    let directory = directory.display();
                    tracing::warn!(%directory, reason = %refusal, "the code cache is not used; policies are compiled anew");
                })
                .ok()
        });
        let ticking = optimised.wasm.weak();
        let ticking_too = quick.as_ref().map(|quick| quick.wasm.weak());
        thread("witgate-tick", move || tick(&ticking, ticking_too.as_ref()))?;
        let (jobs, waiting) = optimise::queue();
        thread("witgate-optimise", move || optimise::run(&waiting))?;
        let (replacements, queue) = replace::queue();
        thread("witgate-replace", move || replace::run(&queue))?;
        Ok(Self {
            inner: Arc::new(Inner {
                optimised,
                quick,
                cache,
                workers: options.workers.max(1),
                meter: options.meter,
                compiling: options.compiling,
                compiler: Mutex::new(()),
                jobs,
                replacements,
                crashes: Crashes::default(),
            }),
        })
    }

    /// Whom to tell about policies that fail too often. Called by whoever called the policy, so it must be quick. There
    /// is one listener: a second one is not told anything.
    pub fn on_crash(&self, listener: impl Fn(&Crash) + Send + Sync + 'static) {
        self.inner.crashes.listen(Box::new(listener));
    }
}

/// Runs until the engines are gone. A thread of the operating system, because a busy async runtime would let it wait.
fn tick(optimised: &EngineWeak, quick: Option<&EngineWeak>) {
    loop {
        // Instances of either may outlive the rest.
        let engines = [optimised.upgrade(), quick.and_then(EngineWeak::upgrade)];
        if engines.iter().all(Option::is_none) {
            return;
        }
        engines.iter().flatten().for_each(wasmtime::Engine::increment_epoch);
        drop(engines);
        std::thread::sleep(TICK);
    }
}

fn thread(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map(drop).map_err(|source| EngineError::Thread { name, source })
}

fn target(tier: Tier) -> wasmtime::Result<Target> {
    let wasm = wasmtime::Engine::new(&config(tier))?;
    let linker = linker(&wasm)?;
    Ok(Target { tier, wasm, linker })
}

/// What is fast and what is allowed. Features are switched off here and not by leaving them out of the build, because
/// builds without them have had vulnerabilities of their own. Memory is allocated on demand: instances are made off
/// the request path, so a pool, which reserves gigabytes of addresses and has a fixed number of places, gains nothing.
fn config(tier: Tier) -> Config {
    let mut config = Config::new();
    // Calls: synchronous, bounded by the epoch clock and by a stack that fits every thread.
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(tier.stack())
        .cranelift_opt_level(tier.opt_level())
        .cranelift_regalloc_algorithm(tier.registers())
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(None);
    // The same inputs give the same verdict, on every machine.
    config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    // On the threads that `compiler` makes for it.
    config.parallel_compilation(true);
    config.shared_memory(false).wasm_features(REFUSED, false);
    config
}

/// What no policy needs and most vulnerabilities are in.
const REFUSED: WasmFeatures = WasmFeatures::THREADS
    .union(WasmFeatures::SHARED_EVERYTHING_THREADS)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::STACK_SWITCHING)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::CM_ASYNC)
    .union(WasmFeatures::CM_ASYNC_STACKFUL)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
    .union(WasmFeatures::CM_THREADING)
    .union(WasmFeatures::CM_ERROR_CONTEXT)
    .union(WasmFeatures::CM_MAP)
    .union(WasmFeatures::CM_FIXED_LENGTH_LISTS)
    .union(WasmFeatures::CM_GC)
    .union(WasmFeatures::CM64);

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    imports::types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imports::log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imports::cells::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imports::names::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imports::headers::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imports::prompt::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use wasmtime::{Engine, Instance, Module, Store};

    use super::*;

    /// Bits of numbers that are not numbers, which WebAssembly leaves to the machine, and of a relaxed operation.
    const MODULE: &str = r#"(module
        (func (export "a") (param f64 f64) (result i64) (i64.reinterpret_f64 (f64.div (local.get 0) (local.get 1))))
        (func (export "b") (param f64 f64) (result i64)
            (i64.reinterpret_f64 (f64.mul (f64.neg (f64.sqrt (local.get 0))) (f64.min (local.get 0) (local.get 1)))))
        (func (export "c") (param f64 f64) (result i64)
            (i64x2.extract_lane 0 (f64x2.relaxed_madd
                (f64x2.splat (local.get 0)) (f64x2.splat (local.get 1)) (f64x2.splat (f64.neg (local.get 0))))))
        (func (export "d") (param f64 f64) (result i64)
            (i64x2.extract_lane 0 (i32x4.relaxed_trunc_f32x4_s
                (f32x4.splat (f32.demote_f64 (f64.div (local.get 0) (local.get 1))))))))"#;

    #[test]
    fn both_tiers_give_the_same_bits() {
        let run = |tier| {
            let engine = Engine::new(&config(tier)).unwrap();
            let module = Module::new(&engine, wat::parse_str(MODULE).unwrap()).unwrap();
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1_000_000);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let mut bits = Vec::new();
            for name in ["a", "b", "c", "d"] {
                let function = instance.get_typed_func::<(f64, f64), i64>(&mut store, name).unwrap();
                let odd = f64::from_bits(0xfff0_0000_dead_beef);
                for pair in [(0.0, 0.0), (-1.0, f64::INFINITY), (odd, 1.0), (1.0, odd), (0.1, 10.0), (1e300, 1e300)] {
                    bits.push(function.call(&mut store, pair).unwrap());
                }
            }
            bits
        };
        assert_eq!(run(Tier::Quick), run(Tier::Optimised));
    }
}
