//! The last good copies of pulled policies on disk, so that a start without the registry works.
//!
//! What has been pulled is kept under the digest of its bytes, and becomes what its reference stands for once it has
//! served. Bytes that no longer have their digest are not used. Whatever is wrong here costs a pull, never a policy.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use witgate_core::config::OciReference;
use witgate_wasm::{FolderRefusal, open_private_folder, write_in_private_folder};

use super::registry::Artifact;
use super::{Arrived, hex};

/// A private folder of pulled policies, or none.
#[derive(Debug, Default)]
pub struct Copies {
    path: Option<PathBuf>,
    /// Made when it is first needed; `None` when it is not safe.
    folder: OnceLock<Option<Folder>>,
}

/// A folder that nobody else can write to.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// For names of files being written.
    serial: AtomicU64,
}

/// What a reference stands for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reference: String,
    digest: String,
    sha256: String,
    signature: Option<String>,
}

impl Copies {
    /// Copies in this folder; without one, or with one that is not safe, nothing is kept.
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path, folder: OnceLock::new() }
    }

    /// The last good artifact of `reference`, if it is here and intact.
    pub fn find(&self, reference: &OciReference) -> Option<Artifact> {
        let folder = self.folder()?;
        let entry: Entry = serde_json::from_slice(&fs::read(folder.file(&good(reference))).ok()?).ok()?;
        let bytes = fs::read(folder.file(&blob(&entry.sha256))).ok()?;
        if entry.reference != reference.to_string() || hex(&Sha256::digest(&bytes)) != entry.sha256 {
            tracing::warn!(source = %reference, "the kept copy is damaged and not used");
            return None;
        }
        // A refused timestamp only makes it look unused.
        let now = |file: fs::File| file.set_modified(SystemTime::now());
        let _ = fs::File::options().append(true).open(folder.file(&good(reference))).and_then(now);
        Some(Artifact { digest: entry.digest, bytes, signature: entry.signature })
    }

    /// Keeps an artifact that has just been pulled; it counts once it [is good](Self::is_good).
    pub fn keep(&self, arrived: &Arrived) {
        let Some(folder) = self.folder() else { return };
        let Arrived { file, reference, digest, signature, proven } = arrived;
        let entry = Entry {
            reference: reference.to_string(),
            digest: digest.to_string(),
            sha256: proven.sha256.to_string(),
            signature: signature.clone(),
        };
        let kept = serde_json::to_vec(&entry).map_err(io::Error::other).and_then(|text| {
            folder.write(&blob(&entry.sha256), file.bytes())?;
            folder.write(&pulled(reference), &text)
        });
        if let Err(error) = kept.and_then(|()| prune(folder)) {
            tracing::warn!(folder = %folder.path.display(), %error, "a pulled policy could not be kept");
        }
    }

    /// The artifact with these bytes is in service: the next start begins with it.
    pub fn is_good(&self, reference: &OciReference, sha256: &str) {
        let Some(folder) = self.folder() else { return };
        let entry = folder.file(&pulled(reference));
        let fits = |entry: &Entry| entry.sha256 == sha256;
        let Ok(text) = fs::read(&entry) else { return };
        if serde_json::from_slice(&text).is_ok_and(|entry| fits(&entry))
            && let Err(error) = fs::rename(&entry, folder.file(&good(reference)))
        {
            tracing::warn!(folder = %folder.path.display(), %error, "a pulled policy could not be kept");
        }
    }

    fn folder(&self) -> Option<&Folder> {
        let path = self.path.as_deref()?;
        let opened = self.folder.get_or_init(|| {
            Folder::open(path)
                .inspect_err(|refusal| {
                    let folder = path.display();
                    tracing::warn!(%folder, reason = %refusal, "pulled policies are not kept: a start needs the registry");
                })
                .ok()
        });
        opened.as_ref()
    }
}

impl Folder {
    fn open(path: &Path) -> Result<Self, FolderRefusal> {
        open_private_folder(path)?;
        Ok(Self { path: path.to_owned(), serial: AtomicU64::new(0) })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        write_in_private_folder(&self.path, &format!("{}-{serial}.tmp", std::process::id()), &self.file(name), bytes)
    }
}

/// Removes the references that were not needed for longest, and old bytes that none stands for. What is young may be
/// on its way into service elsewhere.
fn prune(folder: &Folder) -> io::Result<()> {
    let (mut entries, mut blobs) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(&folder.path)? {
        let path = entry?.path();
        let found = match path.extension().and_then(OsStr::to_str) {
            Some("json") => &mut entries,
            Some("wasm") => &mut blobs,
            _ => continue,
        };
        found.push((fs::metadata(&path)?.modified()?, path));
    }
    entries.sort();
    let named = entries.split_off(entries.len().saturating_sub(KEEP));
    for (_, path) in entries {
        fs::remove_file(path)?;
    }
    let named: BTreeSet<String> = named
        .iter()
        .filter_map(|(_, path)| Some(serde_json::from_slice::<Entry>(&fs::read(path).ok()?).ok()?.sha256))
        .collect();
    for (modified, path) in blobs {
        let is_named = path.file_stem().and_then(OsStr::to_str).is_some_and(|stem| named.contains(stem));
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if !is_named && age > UNNAMED {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn good(reference: &OciReference) -> String {
    format!("{}.json", hex(&Sha256::digest(reference.to_string())))
}

fn pulled(reference: &OciReference) -> String {
    format!("{}.pulled.json", hex(&Sha256::digest(reference.to_string())))
}

fn blob(sha256: &str) -> String {
    format!("{sha256}.wasm")
}

/// References that are kept; a gateway that follows digests gets a new one with every release.
const KEEP: usize = 128;
const UNNAMED: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use witgate_core::config::Supply;

    use super::*;

    fn reference() -> OciReference {
        OciReference::parse("oci://registry.example/budget:v1").expect("a reference")
    }

    fn artifact(text: &str) -> Artifact {
        let digest = format!("sha256:{}", hex(&Sha256::digest(format!("manifest of {text}"))));
        Artifact { digest, bytes: text.into(), signature: Some("signed".to_owned()) }
    }

    fn arrived(text: &str) -> Arrived {
        Arrived::prove(&Supply::default(), "budget", &reference(), artifact(text)).expect("nothing is asked of it")
    }

    fn sha256(text: &str) -> String {
        hex(&Sha256::digest(text))
    }

    #[test]
    fn what_has_served_is_found_and_what_was_only_pulled_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let copies = Copies::at(Some(dir.path().join("copies")));
        copies.keep(&arrived("one"));
        assert_eq!(copies.find(&reference()), None);
        copies.is_good(&reference(), &sha256("one"));
        assert_eq!(copies.find(&reference()), Some(artifact("one")));
        // the next one is pulled and never serves
        copies.keep(&arrived("two"));
        copies.is_good(&reference(), &sha256("one"));
        assert_eq!(copies.find(&reference()), Some(artifact("one")));
        copies.is_good(&reference(), &sha256("two"));
        assert_eq!(copies.find(&reference()), Some(artifact("two")));
        let other = OciReference::parse("oci://registry.example/budget:v2").expect("a reference");
        assert_eq!(copies.find(&other), None);
    }

    #[test]
    fn damaged_bytes_are_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let copies = Copies::at(Some(dir.path().to_owned()));
        copies.keep(&arrived("one"));
        copies.is_good(&reference(), &sha256("one"));
        fs::write(dir.path().join(blob(&sha256("one"))), "on1").expect("a file");
        assert_eq!(copies.find(&reference()), None);
    }

    #[test]
    fn old_bytes_that_nothing_stands_for_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let copies = Copies::at(Some(dir.path().to_owned()));
        for text in ["one", "two"] {
            copies.keep(&arrived(text));
            copies.is_good(&reference(), &sha256(text));
        }
        let file = |text: &str| dir.path().join(blob(&sha256(text)));
        assert!(file("one").exists(), "young");
        let old = SystemTime::now() - UNNAMED - Duration::from_secs(1);
        for text in ["one", "two"] {
            fs::File::options().append(true).open(file(text)).and_then(|file| file.set_modified(old)).expect("a file");
        }
        copies.keep(&arrived("three"));
        assert_eq!([file("one").exists(), file("two").exists(), file("three").exists()], [false, true, true]);
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_made_private_and_one_that_others_may_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("copies");
        let keep = || {
            let copies = Copies::at(Some(path.clone()));
            copies.keep(&arrived("one"));
            copies.is_good(&reference(), &sha256("one"));
            copies.find(&reference())
        };
        assert_eq!(keep(), Some(artifact("one")));
        assert_eq!(fs::metadata(&path).expect("a folder").permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).expect("ours");
        assert_eq!(keep(), None);
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let copies = Copies::at(None);
        copies.keep(&arrived("one"));
        copies.is_good(&reference(), &sha256("one"));
        assert_eq!(copies.find(&reference()), None);
    }
}
