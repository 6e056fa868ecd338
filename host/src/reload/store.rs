//! The policies that this gateway has: shipped in the binary, or files in the policy folder or artifacts of a registry,
//! which override them.
//!
//! A file that is new or changed is compiled here, off the request path, and becomes *next*. It is *good* once it
//! has been configured and tried for every stage that names it, and the snapshot with it is in service. A file that
//! fails at any point leaves the good one serving and is remembered with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use witgate_core::config::Policies;
use witgate_wasm::{Component, Engine, Hook, LoadError};

use crate::reload::folder::{Content, Folder, Signed};
use crate::supply::{Arrived, Provenance, PullStatus, Supplies};

/// All known policies by name.
pub struct PolicyStore {
    engine: Engine,
    folder: Folder,
    shelves: BTreeMap<Arc<str>, Shelf>,
    strange: Vec<String>,
    supplies: Supplies,
    /// Came from a registry by the configuration before.
    withdrawn: Vec<Arc<str>>,
}

#[derive(Default)]
struct Shelf {
    shipped: Option<&'static [u8]>,
    file: bool,
    good: Option<Loaded>,
    next: Option<Loaded>,
    /// Was next, and could not be configured.
    refused: Option<Loaded>,
    problem: Option<String>,
}

/// A compiled policy and where it came from.
#[derive(Clone)]
pub struct Loaded {
    /// Compiled and described.
    pub component: Arc<Component>,
    /// Where its bytes were.
    pub source: Source,
    /// What proved its bytes; `None` for what is in the binary.
    pub provenance: Option<Arc<Provenance>>,
    since: SystemTime,
}

/// Where a policy's bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// In the binary.
    Shipped,
    /// In the policy folder.
    File,
    /// In a registry.
    Oci,
}

/// What a look at the folder led to.
#[derive(Debug, Default)]
pub struct Looked {
    /// Policies with a new revision to try, or whose file is gone.
    pub changed: BTreeSet<Arc<str>>,
    /// Policies whose new file was refused, with the reason.
    pub refused: Vec<(Arc<str>, String)>,
    /// A file is still being written.
    pub unsettled: bool,
}

/// Why a policy that the configuration names is not there.
#[derive(Debug, thiserror::Error)]
pub enum MissingPolicy {
    /// No such name.
    #[error("there is no policy `{name}`: no file {folder}/{name}.wasm, and none of this name is shipped ({shipped})")]
    Unknown {
        /// As the configuration says.
        name: Arc<str>,
        /// The policy folder.
        folder: String,
        /// Names of the shipped policies.
        shipped: String,
    },
    /// Its only file is bad, or it has not been pulled.
    #[error("{reason}")]
    Refused {
        /// Of the load.
        reason: String,
    },
}

/// One policy as the admin API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyStatus {
    /// Used in the configuration.
    pub name: Arc<str>,
    /// `serving`, `idle` (loaded, no route names it), `shipped` (in the binary, not loaded) or `refused`.
    pub state: &'static str,
    /// Revision in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Arc<str>>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What proved its bytes.
    #[serde(flatten)]
    pub provenance: Option<Arc<Provenance>>,
    /// How its pulls go, if it comes from a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullStatus>,
    /// What the policy says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Hooks that it exports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<&'static str>,
    /// Length of the file, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Seconds since 1970 when it was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<u64>,
    /// Why its newest file is not in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl PolicyStore {
    /// The shipped policies, and `folder`, which has not been looked at yet.
    pub fn new(engine: Engine, folder: PathBuf) -> Self {
        let shelves = witgate_shipped::ALL
            .iter()
            .map(|shipped| (Arc::from(shipped.name), Shelf { shipped: Some(shipped.bytes), ..Shelf::default() }))
            .collect();
        let folder = Folder::new(folder);
        Self { engine, folder, shelves, strange: Vec::new(), supplies: Supplies::default(), withdrawn: Vec::new() }
    }

    /// The same, with policies from registries, and with bytes that must prove what the configuration asks for.
    #[must_use]
    pub fn with_supplies(self, supplies: Supplies) -> Self {
        Self { supplies, ..self }
    }

    /// Where policies come from.
    pub fn supplies(&self) -> &Supplies {
        &self.supplies
    }

    /// Goes by the newest configuration from the next look on: files and artifacts have to prove themselves anew if
    /// it asks for something else.
    pub fn follow(&mut self, policies: &Policies) {
        if let Some(withdrawn) = self.supplies.follow(policies) {
            self.withdrawn.extend(withdrawn);
            self.folder.forget();
        }
    }

    /// The engine that runs them.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The policy folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Looks at the folder and compiles what is new there. With `settle`, a file must have kept still since the
    /// look before.
    ///
    /// # Errors
    /// When the folder cannot be listed; everything stays as it was.
    pub fn look(&mut self, settle: bool) -> io::Result<Looked> {
        let changes = self.folder.look(settle)?;
        let mut looked = Looked { unsettled: changes.unsettled, ..Looked::default() };
        self.strange = changes.strange.iter().map(ToString::to_string).collect();
        for (name, content) in changes.files {
            if !self.supplies.is_remote(&name) {
                self.take_file(name, content, &mut looked);
            }
        }
        let withdrawn = std::mem::take(&mut self.withdrawn).into_iter().filter(|name| !self.folder.has(name));
        for name in withdrawn.chain(changes.gone).collect::<Vec<_>>() {
            if !self.supplies.is_remote(&name) {
                self.file_is_gone(name, &mut looked);
            }
        }
        for (name, arrival) in self.supplies.arrivals() {
            self.take_artifact(name, arrival, &mut looked);
        }
        let hidden = self.shelves.keys().filter(|name| self.supplies.is_remote(name) && self.folder.has(name));
        self.strange.extend(hidden.map(|name| {
            format!(
                "{name}.wasm: is not used, because `policies.supply.{name}.source` names an artifact; remove the file \
                 or the source"
            )
        }));
        Ok(looked)
    }

    fn take_file(&mut self, name: Arc<str>, content: Content, looked: &mut Looked) {
        let loaded = content.map_err(|error| error.to_string()).and_then(|Signed { bytes, signature }| {
            let provenance = self.supplies.prove_file(&name, &bytes, signature.as_deref())?;
            self.load_proven(&name, &bytes, Source::File, provenance)
        });
        self.take(name, loaded, looked);
    }

    fn take_artifact(&mut self, name: Arc<str>, arrival: Result<Arrived, String>, looked: &mut Looked) {
        let loaded =
            arrival.and_then(|arrived| self.load_proven(&name, &arrived.bytes, Source::Oci, arrived.provenance()));
        self.take(name, loaded, looked);
    }

    fn load_proven(&self, name: &str, bytes: &[u8], source: Source, provenance: Provenance) -> Result<Loaded, String> {
        let loaded = load(&self.engine, name, bytes, source).map_err(|error| error.to_string())?;
        Ok(Loaded { provenance: Some(provenance.into()), ..loaded })
    }

    fn take(&mut self, name: Arc<str>, loaded: Result<Loaded, String>, looked: &mut Looked) {
        let shelf = self.shelves.entry(Arc::clone(&name)).or_default();
        shelf.file = true;
        shelf.refused = None;
        match loaded {
            // Touched, or put back: what is in service is this very content.
            Ok(loaded) if shelf.serves(&loaded) => {
                (shelf.next, shelf.problem) = (None, None);
                self.supplies.in_service(&name, loaded.provenance.as_deref());
                shelf.good = Some(loaded);
            }
            Ok(loaded) => {
                (shelf.next, shelf.problem) = (Some(loaded), None);
                looked.changed.insert(name);
            }
            Err(problem) => {
                shelf.problem = Some(problem.clone());
                looked.refused.push((name, problem));
            }
        }
    }

    fn file_is_gone(&mut self, name: Arc<str>, looked: &mut Looked) {
        let Some(shelf) = self.shelves.get_mut(&name) else { return };
        shelf.file = false;
        (shelf.next, shelf.refused, shelf.problem) = (None, None, None);
        if let Some(bytes) = shelf.shipped {
            match load(&self.engine, &name, bytes, Source::Shipped) {
                Ok(loaded) => shelf.next = Some(loaded),
                Err(error) => shelf.problem = Some(error.to_string()),
            }
        }
        looked.changed.insert(name);
    }

    /// The newest revision of a policy that may be put into service; the shipped one is compiled when it is first
    /// asked for.
    ///
    /// # Errors
    /// When there is none.
    pub fn newest(&mut self, name: &Arc<str>) -> Result<Loaded, MissingPolicy> {
        let Some(shelf) = self.shelves.get_mut(name) else { return Err(self.unknown(name)) };
        if let Some(loaded) = shelf.next.as_ref().or(shelf.good.as_ref()) {
            return Ok(loaded.clone());
        }
        match (shelf.shipped, &shelf.problem) {
            (Some(bytes), _) => {
                let loaded = load(&self.engine, name, bytes, Source::Shipped)
                    .map_err(|error| MissingPolicy::Refused { reason: error.to_string() })?;
                shelf.next = Some(loaded.clone());
                Ok(loaded)
            }
            (None, Some(problem)) => Err(MissingPolicy::Refused { reason: problem.clone() }),
            (None, None) => Err(self.unknown(name)),
        }
    }

    /// Whether there is anything of this name that may be put into service.
    pub fn has(&self, name: &str) -> bool {
        self.shelves.get(name).is_some_and(|shelf| {
            shelf.shipped.is_some() || (shelf.file && (shelf.next.is_some() || shelf.good.is_some()))
        })
    }

    /// The next revision of `name` cannot be put into service; says whether an older one is left to go on with.
    pub fn refuse_next(&mut self, name: &str, problem: String) -> bool {
        let Some(shelf) = self.shelves.get_mut(name) else { return false };
        // With nothing new, it is the configuration that does not fit.
        let Some(refused) = shelf.next.take() else { return false };
        let is_file = refused.source != Source::Shipped;
        let older = shelf.good.is_some() || (is_file && shelf.shipped.is_some());
        if is_file || older {
            (shelf.refused, shelf.problem) = (Some(refused), Some(problem));
        }
        older
    }

    /// The configuration has changed, so revisions that could not be configured may be now; gives their names.
    pub fn reconsider(&mut self) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        for (name, shelf) in &mut self.shelves {
            if let Some(refused) = shelf.refused.take() {
                (shelf.next, shelf.problem) = (Some(refused), None);
                names.insert(Arc::clone(name));
            }
        }
        names
    }

    /// The snapshot made with the next revisions is in service. `in_use` says which policies a route names; a
    /// policy without a file, without a shipped version and without a route is forgotten.
    pub fn commit(&mut self, in_use: &BTreeSet<Arc<str>>) {
        for (name, shelf) in &mut self.shelves {
            if let Some(next) = shelf.next.take() {
                self.supplies.in_service(name, next.provenance.as_deref());
                shelf.good = Some(next);
            }
        }
        self.shelves.retain(|name, shelf| shelf.file || shelf.shipped.is_some() || in_use.contains(name));
    }

    /// Every policy, by name, and after them the files that cannot be one.
    pub fn status(&self, in_use: &BTreeSet<Arc<str>>) -> Vec<PolicyStatus> {
        let known = self.shelves.iter().map(|(name, shelf)| PolicyStatus {
            pull: self.supplies.status(name),
            ..shelf.status(name, in_use.contains(name))
        });
        let strange = self.strange.iter().map(|problem| PolicyStatus {
            name: problem.split(':').next().unwrap_or_default().into(),
            state: "refused",
            revision: None,
            source: Some(Source::File),
            provenance: None,
            pull: None,
            version: None,
            summary: None,
            hooks: Vec::new(),
            bytes: None,
            loaded_at: None,
            problem: Some(problem.clone()),
        });
        known.chain(strange).collect()
    }

    /// Files that are there but not in service.
    pub fn problems(&self) -> usize {
        self.shelves.values().filter(|shelf| shelf.problem.is_some()).count() + self.strange.len()
    }

    fn unknown(&self, name: &Arc<str>) -> MissingPolicy {
        if let Some(reason) = self.supplies.why_missing(name) {
            return MissingPolicy::Refused { reason };
        }
        let shipped: Vec<&str> = witgate_shipped::ALL.iter().map(|shipped| shipped.name).collect();
        MissingPolicy::Unknown {
            name: Arc::clone(name),
            folder: self.folder.path().display().to_string(),
            shipped: shipped.join(", "),
        }
    }
}

impl Shelf {
    fn serves(&self, loaded: &Loaded) -> bool {
        self.good.as_ref().is_some_and(|good| good.component.revision() == loaded.component.revision())
    }

    fn status(&self, name: &Arc<str>, in_use: bool) -> PolicyStatus {
        let problem = self.problem.clone().or_else(|| {
            let orphan = self.good.is_some() && !self.file && self.shipped.is_none();
            orphan.then(|| "its file is gone; the last good revision serves on until the gateway restarts".to_owned())
        });
        let loaded = self.good.as_ref();
        let state = match (loaded, in_use) {
            (Some(_), true) => "serving",
            (Some(_), false) => "idle",
            (None, _) if problem.is_some() => "refused",
            (None, _) => "shipped",
        };
        PolicyStatus {
            name: Arc::clone(name),
            state,
            revision: loaded.map(|loaded| Arc::clone(loaded.component.revision())),
            source: loaded.map(|loaded| loaded.source),
            provenance: loaded.and_then(|loaded| loaded.provenance.clone()),
            pull: None,
            version: loaded.map(|loaded| loaded.component.info().version.clone()),
            summary: loaded.map(|loaded| loaded.component.info().summary.clone()),
            hooks: loaded.map(|loaded| loaded.component.hooks().iter().map(Hook::name).collect()).unwrap_or_default(),
            bytes: loaded.map(|loaded| loaded.component.file_size()),
            loaded_at: loaded.and_then(|loaded| Some(loaded.since.duration_since(UNIX_EPOCH).ok()?.as_secs())),
            problem,
        }
    }
}

fn load(engine: &Engine, name: &str, bytes: &[u8], source: Source) -> Result<Loaded, LoadError> {
    let component = engine.load(name, bytes)?;
    Ok(Loaded { component, source, provenance: None, since: SystemTime::now() })
}
