//! Files that served well, kept on disk for rollbacks, and what was decided about policies: both survive a restart.
//!
//! They lie in a folder of our own that nobody else can write to, one for each policy folder. A file is found by its
//! SHA-256, which is compared each time it is read; compiled code is never kept here. Whatever is wrong with the folder
//! costs a rollback, never a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, path};

use serde::{Deserialize, Serialize};
use witgate_wasm::{FolderRefusal, Hashed, open_private_folder, write_in_private_folder};

use super::standing::{Digest, Standing};

/// What is kept about the policies of one folder.
#[derive(Debug, Default)]
pub struct Revisions {
    /// `None`: nothing survives a restart.
    folder: Option<PathBuf>,
    state: State,
}

/// The content of the file `state.json`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// For people: the policy folder that all of this is about.
    #[serde(default)]
    about: PathBuf,
    #[serde(default)]
    policies: BTreeMap<Arc<str>, Standing>,
}

impl Revisions {
    /// In the folder `base`, about the policies of another.
    pub fn open(base: &Path, policies: &Path) -> Self {
        let about = path::absolute(policies).unwrap_or_else(|_| policies.to_owned());
        let key = Digest::of(about.as_os_str().as_encoded_bytes()).revision();
        let opened = open_private_folder(base).and_then(|()| {
            let folder = base.join(key);
            open_private_folder(&folder)?;
            Ok(folder)
        });
        match opened {
            Ok(folder) => {
                let state = State { about, policies: read_state(&folder) };
                Self { folder: Some(folder), state }
            }
            Err(refusal) => {
                refused(base, &refusal);
                Self::default()
            }
        }
    }

    /// Whether files survive.
    pub(super) fn on_disk(&self) -> bool {
        self.folder.is_some()
    }

    /// What is known about a policy.
    pub(super) fn standing(&self, policy: &str) -> Standing {
        self.state.policies.get(policy).cloned().unwrap_or_default()
    }

    /// Names of policies that are pinned.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &Arc<str>> {
        self.state.policies.iter().filter(|(_, standing)| standing.pinned.is_some()).map(|(name, _)| name)
    }

    /// What is known about a policy from now on.
    pub(super) fn record(&mut self, policy: &Arc<str>, standing: &Standing) {
        let same = self.state.policies.get(policy).is_some_and(|known| known == standing);
        if same || (standing.is_blank() && !self.state.policies.contains_key(policy)) {
            return;
        }
        if standing.is_blank() {
            self.state.policies.remove(policy);
        } else {
            self.state.policies.insert(Arc::clone(policy), standing.clone());
        }
        self.write();
    }

    /// Forgets the policies that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        let before = self.state.policies.len();
        self.state.policies.retain(|name, _| is_there(name));
        if self.state.policies.len() != before {
            self.write();
        }
    }

    /// Keeps a file; to be called before it is recorded.
    pub(super) fn keep(&self, digest: Digest, bytes: &[u8]) {
        let Some(folder) = &self.folder else { return };
        let file = wasm(folder, digest);
        if file.exists() {
            return;
        }
        if let Err(error) = write(folder, &file, bytes) {
            let (file, revision) = (file.display(), digest.revision());
            tracing::warn!(%file, revision, %error, "not kept; there is no way back to this revision after a restart");
        }
    }

    /// A file that was kept and has not changed since.
    pub(super) fn read(&self, digest: Digest) -> Option<Hashed<Vec<u8>>> {
        let file = wasm(self.folder.as_ref()?, digest);
        match fs::read(&file).map(Hashed::new) {
            Ok(kept) if Digest::from(kept.digest()) == digest => Some(kept),
            Ok(_) => {
                tracing::warn!(file = %file.display(), "a kept policy is damaged and is not used");
                None
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "a kept policy cannot be read");
                None
            }
        }
    }

    fn write(&self) {
        let Some(folder) = &self.folder else { return };
        let written = serde_json::to_vec_pretty(&self.state).map_err(io::Error::other).and_then(|text| {
            write(folder, &folder.join(STATE), &text)?;
            self.prune(folder)
        });
        if let Err(error) = written {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "what was decided about policies is forgotten at a restart");
        }
    }

    /// Removes the files that nothing refers to.
    fn prune(&self, folder: &Path) -> io::Result<()> {
        let needed: BTreeSet<Digest> = self.state.policies.values().flat_map(Standing::needed).collect();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let digest = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.to_owned().try_into().ok());
            let is_ours = path.extension() == Some(OsStr::new("wasm"));
            if is_ours && digest.is_some_and(|digest: Digest| !needed.contains(&digest)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn read_state(folder: &Path) -> BTreeMap<Arc<str>, Standing> {
    let file = folder.join(STATE);
    let read = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => Err(error.to_string()),
        Ok(text) => serde_json::from_slice::<State>(&text).map_err(|error| error.to_string()),
    };
    read.map(|state| state.policies).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), error, "what was decided about policies is not known any more");
        BTreeMap::new()
    })
}

fn refused(base: &Path, refusal: &FolderRefusal) {
    let folder = base.display();
    tracing::warn!(%folder, reason = %refusal, "the folder for revisions is not used; none survives a restart");
}

fn write(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    write_in_private_folder(folder, &format!("{}.tmp", std::process::id()), file, bytes)
}

fn wasm(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}.wasm"))
}

const STATE: &str = "state.json";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn kept(revisions: &mut Revisions, policy: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut standing = revisions.standing(policy);
        standing.serves_new(digest, 1);
        revisions.keep(digest, bytes);
        revisions.record(&policy.into(), &standing);
        digest
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_is_not_mixed_up_with_another_folder_s() {
        let base = tempfile::tempdir().expect("a folder");
        let open = |policies: &str| Revisions::open(&base.path().join("r"), Path::new(policies));
        let digest = kept(&mut open("/one"), "p", b"file");
        let again = open("/one");
        assert_eq!((again.read(digest), again.standing("p").good.len()), (Some(Hashed::new(b"file".to_vec())), 1));
        assert_eq!((open("/two").read(digest), open("/two").standing("p")), (None, Standing::default()));
    }

    #[test]
    fn a_file_that_somebody_changed_is_not_used() {
        let base = tempfile::tempdir().expect("a folder");
        let mut revisions = Revisions::open(&base.path().join("r"), Path::new("/one"));
        let digest = kept(&mut revisions, "p", b"file");
        fs::write(wasm(revisions.folder.as_ref().expect("a folder"), digest), b"evil").expect("a file");
        assert_eq!(revisions.read(digest), None);
    }

    #[test]
    fn a_folder_that_somebody_removed_is_made_again() {
        let base = tempfile::tempdir().expect("a folder");
        let mut revisions = Revisions::open(&base.path().join("r"), Path::new("/one"));
        kept(&mut revisions, "p", b"0");
        fs::remove_dir_all(base.path().join("r")).expect("a removal");
        let digest = kept(&mut revisions, "p", b"1");
        let again = Revisions::open(&base.path().join("r"), Path::new("/one"));
        assert_eq!((again.read(digest).is_some(), again.standing("p").good.len()), (true, 2));
        let mode = fs::metadata(base.path().join("r")).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn files_that_nobody_needs_are_removed() {
        let base = tempfile::tempdir().expect("a folder");
        let mut revisions = Revisions::open(&base.path().join("r"), Path::new("/one"));
        let first = kept(&mut revisions, "p", b"0");
        let shared = kept(&mut revisions, "q", b"1");
        for version in b"123456" {
            kept(&mut revisions, "p", &[*version]);
        }
        assert_eq!((revisions.read(first), revisions.read(shared).is_some()), (None, true));
        revisions.retain(|name| name == "q");
        assert_eq!((revisions.standing("p"), revisions.read(shared).is_some()), (Standing::default(), true));
        revisions.record(&"q".into(), &Standing::default());
        assert_eq!(revisions.read(shared), None);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        let base = tempfile::tempdir().expect("a folder");
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
        let mut revisions = Revisions::open(base.path(), Path::new("/one"));
        let digest = kept(&mut revisions, "p", b"file");
        assert_eq!((revisions.on_disk(), revisions.read(digest)), (false, None));
        assert_eq!(revisions.standing("p").good.len(), 1, "it is known until the end of the process");
    }

    #[test]
    fn a_state_that_cannot_be_read_is_as_none() {
        let base = tempfile::tempdir().expect("a folder");
        let mut revisions = Revisions::open(base.path(), Path::new("/one"));
        kept(&mut revisions, "p", b"file");
        fs::write(revisions.folder.as_ref().expect("a folder").join(STATE), b"{").expect("a file");
        assert_eq!(Revisions::open(base.path(), Path::new("/one")).standing("p"), Standing::default());
    }
}
