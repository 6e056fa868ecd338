//! The policies that this gateway has: shipped in the binary, or files in the policy folder or artifacts of a registry,
//! which override them.
//!
//! A file that is new or changed is compiled here, off the request path, and becomes *next*. It is *good* once it
//! has been configured and tried for every stage that names it, and the snapshot with it is in service. A file that
//! fails at any point leaves the good one serving and is remembered with its reason. What was good is kept, so that a
//! rollback, or a start with a bad file, finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use witgate_core::config::Policies;
use witgate_wasm::{Component, Engine, Hashed, may_be_policy};

use super::folder::{Content, Folder, Signed, Writers};
use super::load::{NotKept, Offer, load, load_kept, load_offer};
use super::revisions::Revisions;
use super::shelf::Shelf;
pub use super::shelf::{Loaded, PolicyStatus, Source};
use super::standing::Digest;
use super::workshop::Workshop;
use crate::supply::{Arrived, Papers, Supplies};

/// All known policies by name.
pub struct PolicyStore {
    pub(super) engine: Engine,
    pub(super) folder: Folder,
    pub(super) revisions: Revisions,
    pub(super) shelves: BTreeMap<Arc<str>, Shelf>,
    strange: Vec<String>,
    pub(super) supplies: Supplies,
    /// Came from a registry by the configuration before.
    withdrawn: Vec<Arc<str>>,
    /// Artifacts that the next look takes once more.
    again: Vec<(Arc<str>, Offer)>,
    /// Whose file the next look compiles itself.
    at_once: BTreeSet<Arc<str>>,
    /// Compiles everything else that is new; not there yet at the start, which waits for all.
    pub(super) workshop: Option<Workshop>,
    /// Files that are in service and not on disk yet.
    unkept: Vec<(Digest, Arc<[u8]>)>,
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

impl PolicyStore {
    /// The shipped policies, and `folder`, which has not been looked at yet.
    pub fn new(engine: Engine, folder: PathBuf) -> Self {
        let shelves = witgate_shipped::ALL
            .iter()
            .map(|shipped| (Arc::from(shipped.name), Shelf { shipped: Some(shipped.bytes), ..Shelf::default() }))
            .collect();
        Self {
            engine,
            folder: Folder::new(folder),
            revisions: Revisions::default(),
            shelves,
            strange: Vec::new(),
            supplies: Supplies::default(),
            withdrawn: Vec::new(),
            again: Vec::new(),
            at_once: BTreeSet::new(),
            workshop: None,
            unkept: Vec::new(),
        }
    }

    /// The same with what was kept and decided before.
    #[must_use]
    pub fn with_revisions(mut self, revisions: Revisions) -> Self {
        for name in revisions.pinned() {
            self.shelves.entry(Arc::clone(name)).or_default();
        }
        for (name, shelf) in &mut self.shelves {
            shelf.standing = revisions.standing(name);
        }
        self.revisions = revisions;
        self
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
        let Some(withdrawn) = self.supplies.follow(policies) else { return };
        self.withdrawn.extend(withdrawn);
        self.folder.forget();
        self.again.clear();
        for shelf in self.shelves.values_mut() {
            // Proven by what was asked for before; all of it comes again.
            (shelf.refused, shelf.waiting, shelf.compiling) = (None, None, None);
            shelf.next.take_if(|next| next.source != Source::Shipped);
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

    /// What is known of the writers of files, for the next look.
    pub fn hear(&mut self, writers: Writers) {
        self.folder.hear(writers);
    }

    /// Looks at the folder, has what is new there compiled, and takes what has been compiled since. With `settle`, a file
    /// must have kept still since the look before, or be known to be written.
    ///
    /// # Errors
    /// When the folder cannot be listed; everything stays as it was.
    pub fn look(&mut self, settle: bool) -> io::Result<Looked> {
        let changes = self.folder.look(settle)?;
        let mut looked = Looked { unsettled: changes.unsettled, ..Looked::default() };
        let strange: Vec<String> = changes.strange.iter().map(ToString::to_string).collect();
        for problem in strange.iter().filter(|problem| !self.strange.contains(problem)) {
            looked.refused.push((file_of(problem).into(), problem.clone()));
        }
        self.strange = strange;
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
        for (name, offer) in std::mem::take(&mut self.again) {
            self.take(name, Ok(offer), &mut looked);
        }
        for (name, arrival) in self.supplies.arrivals() {
            self.take_artifact(name, arrival, &mut looked);
        }
        // Last: what was compiled of a file that has changed again is old now.
        self.take_done(&mut looked);
        self.at_once.clear();
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
        let offer = content.map_err(|error| error.to_string()).map(|Signed { bytes, signature }| {
            let file = Hashed::new(Arc::from(bytes));
            let proven = self.supplies.prove_file(&name, file.borrowed(), signature.as_deref());
            let papers = Papers { signature: signature.map(Into::into), artifact: None };
            Offer { file, source: Source::File, papers, proven }
        });
        self.take(name, offer, looked);
    }

    fn take_artifact(&mut self, name: Arc<str>, arrival: Result<Arrived, String>, looked: &mut Looked) {
        let offer = arrival.map(|arrived| {
            let (proven, papers) = (Ok(arrived.provenance()), arrived.papers());
            Offer { file: arrived.file.shared(), source: Source::Oci, papers, proven }
        });
        self.take(name, offer, looked);
    }

    fn take(&mut self, name: Arc<str>, offer: Result<Offer, String>, looked: &mut Looked) {
        let Self { engine, revisions, shelves, workshop, at_once, .. } = self;
        let new = || Shelf { standing: revisions.standing(&name), ..Shelf::default() };
        let shelf = shelves.entry(Arc::clone(&name)).or_insert_with(new);
        shelf.file = true;
        (shelf.next, shelf.refused, shelf.content, shelf.waiting, shelf.compiling) = (None, None, None, None, None);
        shelf.unfit.clear();
        if let Some(workshop) = workshop {
            workshop.take_back(&name);
        }
        let proven = offer.and_then(|offer| {
            shelf.content = Some(Digest::from(offer.file.digest()));
            // Before it may wait: what waits comes into service later.
            offer.proven.clone().map(|_| offer)
        });
        match (proven, workshop) {
            (Err(problem), _) => shelf.refuse(name, problem, looked),
            // What is no policy is not kept waiting for the compiler to be told so.
            (Ok(offer), Some(workshop)) if !at_once.remove(&name) && may_be_policy(offer.file.bytes()) => {
                if let Some(offer) = shelf.unless_left_alone(&name, offer) {
                    shelf.compiling = Some(workshop.order(&name, offer));
                }
            }
            (Ok(offer), _) => {
                if let Some(offer) = shelf.unless_left_alone(&name, offer) {
                    let loaded = load_offer(engine, &name, &offer);
                    self.took(name, loaded, looked);
                }
            }
        }
    }

    pub(super) fn took(&mut self, name: Arc<str>, loaded: Result<Loaded, String>, looked: &mut Looked) {
        let Self { revisions, supplies, shelves, .. } = self;
        let Some(shelf) = shelves.get_mut(&name) else { return };
        match loaded {
            // Touched, signed anew, or put back: what is in service is this very content.
            Ok(loaded) if shelf.serves(&loaded) && !shelf.is_out() => {
                shelf.problem = None;
                supplies.in_service(&name, loaded.provenance.as_deref());
                shelf.is_the_file(loaded.digest());
                shelf.standing.prove(loaded.digest(), &loaded.papers);
                let bytes = loaded.bytes.filter(|_| !revisions.on_disk());
                shelf.good = Some(Loaded { bytes, ..loaded });
            }
            Ok(loaded) => {
                (shelf.next, shelf.problem) = (Some(loaded), None);
                looked.changed.insert(name);
            }
            Err(problem) => shelf.refuse(name, problem, looked),
        }
    }

    /// The next look takes the newest file or artifact of a policy once more, however lately it was written, and compiles
    /// it here and now: a command waits for it.
    pub(super) fn again_at_once(&mut self, name: &Arc<str>) {
        self.again(name);
        self.folder.at_once(name);
        self.at_once.insert(Arc::clone(name));
    }

    /// The next look takes the newest file or artifact of a policy once more.
    pub(super) fn again(&mut self, name: &Arc<str>) {
        self.folder.again(name);
        let waiting = self.shelves.get_mut(name).and_then(|shelf| shelf.waiting.take());
        self.again.extend(waiting.map(|offer| (Arc::clone(name), offer)));
    }

    pub(super) fn file_is_gone(&mut self, name: Arc<str>, looked: &mut Looked) {
        let Some(shelf) = self.shelves.get_mut(&name) else { return };
        if let Some(workshop) = &self.workshop {
            workshop.take_back(&name);
        }
        (shelf.file, shelf.content) = (false, None);
        (shelf.next, shelf.refused, shelf.problem, shelf.compiling) = (None, None, None, None);
        if shelf.standing.pinned.is_some() {
            return;
        }
        if let Some(bytes) = shelf.shipped {
            match load(&self.engine, &name, Hashed::new(bytes), Source::Shipped) {
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
        while let Some(digest) = shelf.stand_in() {
            match load_kept(&self.engine, (&self.revisions, &self.supplies), name, shelf, digest) {
                Ok(loaded) => {
                    shelf.next = Some(loaded.clone());
                    return Ok(loaded);
                }
                Err(NotKept::Gone) => {}
                Err(NotKept::Refused(problem)) => {
                    tracing::warn!(policy = &**name, problem, "a kept policy is not used");
                    shelf.add_problem(&problem);
                }
            }
            shelf.unfit.insert(digest);
        }
        match (shelf.shipped, &shelf.problem) {
            (Some(bytes), _) => {
                let loaded = load(&self.engine, name, Hashed::new(bytes), Source::Shipped)
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
            let loaded = shelf.file && (shelf.next.is_some() || shelf.good.is_some());
            !shelf.is_out() && (shelf.shipped.is_some() || loaded || shelf.stand_in().is_some())
        })
    }

    /// Whether this revision is what serves, or would if a route named it.
    pub(super) fn serves(&self, component: &Component) -> bool {
        let shelf = self.shelves.get(component.name()).filter(|shelf| !shelf.is_out());
        let good = shelf.and_then(|shelf| shelf.good.as_ref());
        good.is_some_and(|good| good.component.digest() == component.digest())
    }

    /// Whether the operator has taken the policy out of service, so that chains go on without it.
    pub fn is_out(&self, name: &str) -> bool {
        self.shelves.get(name).is_some_and(Shelf::is_out)
    }

    /// The next revision of `name` cannot be put into service; says whether an older one is left to go on with.
    pub fn refuse_next(&mut self, name: &str, problem: String) -> bool {
        let Some(shelf) = self.shelves.get_mut(name) else { return false };
        // With nothing new, it is the configuration that does not fit.
        let Some(refused) = shelf.next.take() else { return false };
        shelf.unfit.insert(refused.digest());
        let is_file = refused.source != Source::Shipped;
        let older = shelf.good.is_some() || shelf.stand_in().is_some() || (is_file && shelf.shipped.is_some());
        if refused.source == Source::Kept {
            // The file's own problem, where there is one, is what the operator can mend.
            shelf.problem.get_or_insert(problem);
        } else if is_file || older {
            let problem = match refused.source {
                Source::File => format!("{name}.wasm is refused: {problem}"),
                Source::Oci | Source::Shipped | Source::Kept => problem,
            };
            (shelf.refused, shelf.problem) = (Some(refused), Some(problem));
        }
        older
    }

    /// The configuration has changed, so revisions that could not be configured may be now; gives their names.
    pub fn reconsider(&mut self) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        for (name, shelf) in &mut self.shelves {
            shelf.unfit.clear();
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
        let on_disk = self.revisions.on_disk();
        for (name, shelf) in &mut self.shelves {
            if let Some(next) = &shelf.next {
                self.supplies.in_service(name, next.provenance.as_deref());
            }
            self.unkept.extend(shelf.commit(in_use.contains(name), on_disk));
        }
        self.shelves.retain(|name, shelf| {
            let Shelf { file, shipped, standing, .. } = shelf;
            *file || shipped.is_some() || standing.pinned.is_some() || in_use.contains(name)
        });
    }

    /// Writes down what a restart must find. Separate from [`Self::commit`], because nobody needs to wait for the disk.
    pub fn persist(&mut self) {
        for (digest, bytes) in self.unkept.drain(..) {
            self.revisions.keep(digest, &bytes);
        }
        for (name, shelf) in &self.shelves {
            self.revisions.record(name, &shelf.standing);
        }
        self.revisions.retain(|name| self.shelves.contains_key(name));
    }

    /// What is wrong with the newest file or artifact of a policy. That it is left alone, as somebody wanted, is nothing
    /// wrong.
    pub(super) fn refusal(&self, name: &str) -> Option<&str> {
        let shelf = self.shelves.get(name)?;
        let left_alone = shelf.why_left_alone(name);
        shelf.problem.as_deref().filter(|problem| left_alone.as_deref() != Some(problem))
    }

    /// Every policy, by name, and after them the files that cannot be one.
    pub fn status(&self, in_use: &BTreeSet<Arc<str>>) -> Vec<PolicyStatus> {
        let known = self.shelves.iter().map(|(name, shelf)| PolicyStatus {
            pull: self.supplies.status(name),
            ..shelf.status(name, in_use.contains(name))
        });
        let strange = self.strange.iter().map(|problem| PolicyStatus {
            name: file_of(problem).into(),
            state: "refused",
            source: Some(Source::File),
            problem: Some(problem.clone()),
            ..PolicyStatus::default()
        });
        known.chain(strange).collect()
    }

    fn unknown(&self, name: &Arc<str>) -> MissingPolicy {
        if self.is_compiling(name) {
            return MissingPolicy::Refused { reason: format!("policy `{name}` is being compiled") };
        }
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

/// The file that a message is about.
fn file_of(problem: &str) -> &str {
    problem.split(':').next().unwrap_or_default()
}
