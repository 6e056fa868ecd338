//! One policy: which of its revisions serves, which comes next, and what is known about the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use witgate_wasm::{Component, Hook};

use super::load::Offer;
use super::standing::{Digest, Kept, LeftAlone, Rollback, Standing};
use super::store::Looked;
use super::workshop::Ticket;
use crate::supply::{Papers, Provenance, PullStatus};

/// One policy of the store.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) shipped: Option<&'static [u8]>,
    /// There is a file in the folder, or an artifact.
    pub(super) file: bool,
    /// What it holds, as far as it could be read.
    pub(super) content: Option<Digest>,
    /// What it holds is being compiled.
    pub(super) compiling: Option<Ticket>,
    /// The artifact, while it is left alone.
    pub(super) waiting: Option<Offer>,
    pub(super) good: Option<Loaded>,
    pub(super) next: Option<Loaded>,
    /// Served before; only where nothing is kept on disk.
    pub(super) before: Option<Loaded>,
    /// Was next, and could not be configured.
    pub(super) refused: Option<Loaded>,
    /// Kept files that could not be configured as things are.
    pub(super) unfit: BTreeSet<Digest>,
    pub(super) problem: Option<String>,
    pub(super) standing: Standing,
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
    /// What proves them again.
    pub(super) papers: Papers,
    pub(super) since: SystemTime,
    /// Until they are kept on disk; without a disk, as long as a rollback may go here.
    pub(super) bytes: Option<Arc<[u8]>>,
}

impl Loaded {
    pub(super) fn digest(&self) -> Digest {
        Digest::from(self.component.digest())
    }
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
    /// In the folder of files that served well; the policy folder or the registry holds something else now.
    Kept,
}

/// One policy as the admin API shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PolicyStatus {
    /// Used in the configuration.
    pub name: Arc<str>,
    /// `serving`, `idle` (loaded, no route names it), `shipped` (in the binary, not loaded), `compiling` (for the first
    /// time), `refused`, or `unloaded` (by the operator).
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
    /// Whether it stays in service whatever the folder says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
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
    /// The last rollback, until a new file is in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Files that were in service, the one that came last first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionStatus>,
}

/// A file that was in service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionStatus {
    /// As a rollback names it.
    pub revision: String,
    /// When it first was, in seconds since 1970.
    pub since: u64,
    /// It was rolled back from, so no rollback goes there unless it is named.
    pub failed: bool,
}

impl Shelf {
    /// What serves, or served before the operator unloaded it, has this content.
    pub(super) fn serves(&self, loaded: &Loaded) -> bool {
        self.good.as_ref().is_some_and(|good| good.digest() == loaded.digest())
    }

    /// It is unloaded, and there is no new file to end that.
    pub(super) fn is_out(&self) -> bool {
        self.standing.unloaded.is_some() && self.next.is_none()
    }

    /// Its newest file or artifact cannot serve.
    pub(super) fn refuse(&mut self, name: Arc<str>, problem: String, looked: &mut Looked) {
        self.problem = Some(problem.clone());
        looked.refused.push((name, problem));
    }

    /// The newest file or artifact, unless it is not wanted as things are; then it is said why.
    pub(super) fn unless_left_alone(&mut self, name: &str, offer: Offer) -> Option<Offer> {
        let digest = Digest::from(offer.file.digest());
        let Some(why) = self.standing.leaves_alone(digest) else { return Some(offer) };
        self.problem = self.left_alone(name, digest, why);
        // The folder hands out a file again when asked, a registry does not.
        self.waiting = Some(offer).filter(|offer| offer.source == Source::Oci);
        None
    }

    /// Something else is wrong too.
    pub(super) fn add_problem(&mut self, problem: &str) {
        match &mut self.problem {
            Some(known) if known.contains(problem) => {}
            Some(known) => known.extend(["; ", problem]),
            None => self.problem = Some(problem.to_owned()),
        }
    }

    /// A kept file that may serve instead of the one in the folder.
    pub(super) fn stand_in(&self) -> Option<Digest> {
        if !self.file && self.standing.pinned.is_none() {
            // Whoever takes the file away does not want an older one of it.
            return None;
        }
        self.standing.stand_ins().find(|digest| !self.unfit.contains(digest))
    }

    /// The policy's file is what serves: where that came of a rollback, the file has changed, and what was rolled back
    /// from may come again.
    pub(super) fn is_the_file(&mut self, file: Digest) {
        if self.standing.held.is_some() {
            self.standing.serves_new(file, now());
        }
    }

    /// The next revision is in service. Gives the file when it is worth keeping.
    pub(super) fn commit(&mut self, in_use: bool, on_disk: bool) -> Option<(Digest, Arc<[u8]>)> {
        let mut next = self.next.take()?;
        let digest = next.digest();
        let bytes = if on_disk { next.bytes.take() } else { None };
        let worth_keeping = matches!(next.source, Source::File | Source::Oci) && in_use;
        match next.source {
            Source::File | Source::Oci if in_use => {
                self.standing.serves_new(digest, now());
                self.standing.prove(digest, &next.papers);
            }
            // Never asked for anything, so nobody knows whether it is good.
            Source::File | Source::Oci => (self.standing.held, self.standing.unloaded) = (None, None),
            Source::Shipped => self.standing.unloaded = None,
            Source::Kept => {}
        }
        let before = self.good.replace(next).filter(|before| before.digest() != digest);
        if let Some(before) = before.filter(|_| !on_disk) {
            self.before = Some(before);
        }
        bytes.filter(|_| worth_keeping).map(|bytes| (digest, bytes))
    }

    /// Where a rollback may go, the nearest first.
    pub(super) fn earlier(&self) -> Vec<Earlier> {
        let Some(good) = self.good.as_ref().filter(|good| good.source != Source::Shipped) else { return Vec::new() };
        let kept = self.standing.earlier(good.digest()).map(Earlier::Kept);
        kept.chain(self.shipped.map(Earlier::Shipped)).collect()
    }

    /// What this revision names.
    pub(super) fn named(&self, revision: &str) -> Option<Earlier> {
        let shipped = self.shipped.filter(|bytes| Digest::of(bytes).is_named(revision));
        self.standing.named(revision).map(Earlier::Kept).or(shipped.map(Earlier::Shipped))
    }

    pub(super) fn status(&self, name: &Arc<str>, in_use: bool) -> PolicyStatus {
        let orphan = || {
            let orphan = self.good.is_some() && !self.file && self.shipped.is_none() && self.standing.pinned.is_none();
            orphan.then(|| "its file is gone; the last good revision serves on until the gateway restarts".to_owned())
        };
        let problem = self.problem.clone().or_else(orphan);
        let loaded = self.good.as_ref();
        let state = match (loaded, in_use) {
            _ if self.is_out() => "unloaded",
            (Some(_), true) => "serving",
            (Some(_), false) => "idle",
            (None, _) if self.compiling.is_some() => "compiling",
            (None, _) if problem.is_some() => "refused",
            (None, _) => "shipped",
        };
        let info = loaded.map(|loaded| loaded.component.info());
        PolicyStatus {
            name: Arc::clone(name),
            state,
            revision: loaded.map(|loaded| Arc::clone(loaded.component.revision())),
            source: loaded.map(|loaded| loaded.source),
            provenance: loaded.and_then(|loaded| loaded.provenance.clone()),
            pull: None,
            pinned: self.standing.pinned.is_some(),
            version: info.map(|info| info.version.clone()),
            summary: info.map(|info| info.summary.clone()),
            hooks: loaded.map(|loaded| loaded.component.hooks().iter().map(Hook::name).collect()).unwrap_or_default(),
            bytes: loaded.map(|loaded| loaded.component.file_size()),
            loaded_at: loaded.and_then(|loaded| Some(loaded.since.duration_since(UNIX_EPOCH).ok()?.as_secs())),
            problem,
            rollback: self.standing.rollback.clone(),
            revisions: self.standing.good.iter().map(RevisionStatus::of).collect(),
        }
    }

    /// Says why the file in the folder is not in service, if it is left alone.
    pub(super) fn explain(&mut self, name: &str) {
        let told = self.why_left_alone(name);
        if told.is_some() {
            self.problem = told;
        }
    }

    /// What is told about the file in the folder, if it is left alone.
    pub(super) fn why_left_alone(&self, name: &str) -> Option<String> {
        let file = self.content?;
        self.left_alone(name, file, self.standing.leaves_alone(file)?)
    }

    /// What the operator is told about a file that is left alone.
    pub(super) fn left_alone(&self, name: &str, file: Digest, why: LeftAlone) -> Option<String> {
        let revision = file.revision();
        match why {
            LeftAlone::Unloaded => None,
            LeftAlone::Pinned(pinned) => Some(format!(
                "policy `{name}` is pinned at revision {}; its file, revision {revision}, waits until it is unpinned",
                pinned.revision()
            )),
            LeftAlone::Held => Some(format!(
                "policy `{name}`: its file, revision {revision}, was rolled back from and is not tried again until it \
                 changes"
            )),
        }
    }
}

/// Something that a rollback may go to.
#[derive(Clone, Copy)]
pub(super) enum Earlier {
    Kept(Digest),
    Shipped(&'static [u8]),
}

impl Earlier {
    pub(super) fn digest(self) -> Digest {
        match self {
            Self::Kept(digest) => digest,
            Self::Shipped(bytes) => Digest::of(bytes),
        }
    }
}

impl RevisionStatus {
    fn of(kept: &Kept) -> Self {
        Self { revision: kept.digest.revision(), since: kept.since, failed: kept.failed }
    }
}

/// A rollback that has just been made.
pub(super) struct Made<'a> {
    pub(super) from: &'a Loaded,
    pub(super) to: &'a Loaded,
    pub(super) by: super::standing::By,
    pub(super) why: String,
    pub(super) failures: BTreeMap<String, u64>,
    /// The operator named the revision, so nothing is said against the one before.
    pub(super) named: bool,
}

impl Shelf {
    /// Notes a rollback, so that the file in the folder does not undo it.
    pub(super) fn rolled_back(&mut self, made: Made<'_>) {
        let Made { from, to, by, why, failures, named } = made;
        self.standing.mark(from.digest(), !named);
        self.standing.mark(to.digest(), false);
        // What is being compiled was not rolled back from: it may be the cure.
        let tried = self.content.filter(|_| self.compiling.is_none());
        self.standing.held = tried.filter(|content| *content != to.digest());
        self.problem = None;
        let (from, to) = (from.digest().revision(), to.digest().revision());
        self.standing.rollback = Some(Rollback { from, to, by, why, at: now(), failures });
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
