//! From the bytes of a file to a [`Component`]: told apart, wrapped, compiled, looked at, described.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use wasmtime::component::Component as Code;
use witgate_core::config::PolicyRules;
use witgate_core::decision::Names;

use crate::bindings::VERSION;
use crate::cells::{CellStore, OpenTables, Quota};
use crate::code_cache::{CodeCache, hex};
use crate::compiler::{self, Effort};
use crate::component::{Component, PolicyInfo};
use crate::engine::{Engine, Inner};
use crate::failure::FailureCause;
use crate::hashed::Hashed;
use crate::inspect::{Outside, inspect, is_newer};
use crate::instance::Instance;
use crate::load_error::{LoadError, LoadProblem};
use crate::logbook::{Logbook, printable};
use crate::preview1;
use crate::settings::Schema;
use crate::sniff::{Kind, sniff};
use crate::state::{FleetCells, State, Surroundings};
use crate::tier::{Target, is_large};

/// Largest file, bytes. CPython with its library is 40 MB.
const MAX_FILE: usize = 64 << 20;
/// For instantiating and describing: nobody waits, but an endless loop must end.
const SETUP: Duration = Duration::from_secs(2);
/// Linear memory while it is described; no configuration says anything about it yet.
const MEMORY: usize = 256 << 20;
/// Log lines a second while it is described.
const LOG_LINES: u32 = 20;

impl Engine {
    /// Takes a policy file: a component, or a core module with a `component-type` section, which is wrapped. Heavy (a
    /// Python policy takes seconds), so call it off the request path; the compiler runs on threads of its own, as
    /// [`crate::Compiling`] says, and only one at a time.
    ///
    /// # Errors
    /// When the file cannot be a policy for this host; the message says what to do.
    pub fn load(&self, name: &str, bytes: &[u8]) -> Result<Arc<Component>, LoadError> {
        self.load_hashed(name, Hashed::new(bytes))
    }

    /// The same, for whoever has needed the file's digest before.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_hashed(&self, name: &str, file: Hashed<&[u8]>) -> Result<Arc<Component>, LoadError> {
        let name: Arc<str> = name.into();
        self.inner.load(&name, file).map_err(|problem| LoadError { policy: name, problem })
    }
}

/// Whether a file can be a policy, as far as its size, its head and the names of its sections tell. Of any other,
/// [`Engine::load`] says at once what it is.
pub fn may_be_policy(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_FILE && sniff(bytes).is_ok()
}

/// Code to make a component of.
struct Found<'a> {
    code: Code,
    target: &'a Target,
    from_cache: bool,
    /// What to compile well later.
    later: Option<Vec<u8>>,
}

impl Inner {
    fn load(self: &Arc<Self>, name: &Arc<str>, file: Hashed<&[u8]>) -> Result<Arc<Component>, LoadProblem> {
        let bytes = file.bytes();
        if bytes.len() > MAX_FILE {
            return Err(LoadProblem::TooLarge { got: bytes.len(), allowed: MAX_FILE });
        }
        let kind = sniff(bytes)?;
        let digest = *file.digest();
        let revision: Arc<str> = hex(&digest[..6]).into();
        let key = CodeCache::key(&self.optimised.wasm, &digest);
        let Found { code, target, from_cache, later } = self.code(kind, bytes, &key)?;
        let Outside { hooks, imports, version } = inspect(&target.wasm, &code.component_type())?;

        let mismatch = |error: wasmtime::Error| {
            let text = chain(&error);
            if is_newer(&version) {
                return LoadProblem::NewerContract { theirs: version.clone(), ours: VERSION, text };
            }
            LoadProblem::Mismatch { version: VERSION, text }
        };
        let program = target.link(&code, hooks, &imports).map_err(mismatch)?;
        let state = State::new(Arc::new(alone(name, &revision)), MEMORY);
        let limit = SETUP;
        let mut instance = Instance::new(&program, state, limit).map_err(|error| {
            if error.is::<wasmtime::Trap>() {
                LoadProblem::Start(FailureCause::from_engine(&error, limit, program.tier))
            } else {
                mismatch(error)
            }
        })?;
        let info = instance.describe(limit).map_err(LoadProblem::Describe)?;
        let schema =
            Schema::parse(&info.settings_schema).map_err(|problem| LoadProblem::Schema(printable(&problem)))?;
        let component = Arc::new(Component {
            name: Arc::clone(name),
            revision,
            digest,
            contract: version,
            hooks,
            imports,
            info: PolicyInfo {
                name: printable(&info.name),
                version: printable(&info.version),
                summary: printable(&info.summary),
                settings_schema: info.settings_schema,
            },
            schema,
            file_size: bytes.len(),
            from_cache,
            program: RwLock::new(Arc::new(program)),
            withdrawn: AtomicBool::new(false),
            bound: Mutex::default(),
        });
        if let Some(bytes) = later {
            self.optimise_later(&component, bytes, key);
        }
        Ok(component)
    }

    /// Optimised code from the cache, if there is one and the code is in it.
    pub(crate) fn kept(&self, key: &str) -> Option<Code> {
        self.cache.as_ref()?.find(&self.optimised.wasm, key)
    }

    /// Puts optimised code into the cache, if there is one.
    pub(crate) fn keep(&self, key: &str, code: &Code) {
        if let Some(cache) = &self.cache {
            cache.keep(key, code);
        }
    }

    /// The code of the file, from the cache or the compiler.
    fn code(&self, kind: Kind, bytes: &[u8], key: &str) -> Result<Found<'_>, LoadProblem> {
        let target = &self.optimised;
        if let Some(code) = self.kept(key) {
            return Ok(Found { code, target, from_cache: true, later: None });
        }
        let component = match kind {
            Kind::Component => Cow::Borrowed(bytes),
            Kind::Wrappable => Cow::Owned(wrap(bytes)?),
        };
        if let Some(target) = self.quick.as_ref().filter(|_| is_large(&component)) {
            let code = self.compile(target, &component)?;
            return Ok(Found { code, target, from_cache: false, later: Some(component.into_owned()) });
        }
        let code = self.compile(target, &component)?;
        self.keep(key, &code);
        Ok(Found { code, target, from_cache: false, later: None })
    }

    fn compile(&self, target: &Target, component: &[u8]) -> Result<Code, LoadProblem> {
        let _one_at_a_time = self.compiler.lock();
        compiler::run(Effort::Wanted(self.compiling), || Code::from_binary(&target.wasm, component))
            .map_err(LoadProblem::Compile)?
            .map_err(|error| LoadProblem::Invalid(chain(&error)))
    }
}

/// Makes a component of a core module. What it imports of WASI 0.1 is answered within the component, so that nothing
/// is left to ask the host for.
fn wrap(module: &[u8]) -> Result<Vec<u8>, LoadProblem> {
    let encode = || {
        let mut encoder = wit_component::ComponentEncoder::default();
        encoder.validate(true).module(module)?.adapter(preview1::MODULE, preview1::ADAPTER)?.encode()
    };
    encode().map_err(|error: anyhow::Error| LoadProblem::NotWrapped(format!("{error:#}")))
}

/// What `describe` can reach: nothing.
fn alone(name: &Arc<str>, revision: &Arc<str>) -> Surroundings {
    let store = CellStore::default();
    let PolicyRules { tables, cells, .. } = PolicyRules::default();
    let quota = Quota { tables, cells };
    Surroundings {
        names: Arc::new(Nobody),
        tables: OpenTables::new(store.group(name, &serde_json::Value::Null), quota),
        fleet_cells: FleetCells::NotGranted,
        log: Logbook::new(Arc::clone(name), Arc::clone(revision), LOG_LINES),
    }
}

/// No names.
struct Nobody;

impl Names for Nobody {
    fn tenant(&self, _: u32) -> Arc<str> {
        "".into()
    }
    fn tenant_label(&self, _: u32, _: &str) -> Option<Arc<str>> {
        None
    }
    fn route(&self, _: u32) -> Arc<str> {
        "".into()
    }
    fn model(&self, _: u32) -> Arc<str> {
        "".into()
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}")
}
