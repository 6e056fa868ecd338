//! Compiled code on disk, so that a restart does not compile again what it compiled before.
//!
//! Loading compiled code is as dangerous as running any native program, so only what this gateway wrote is ever
//! loaded: from a directory of its own that nobody else can write to, under a name made of the digest of the `.wasm`
//! and everything that the compiler's output depends on, after the digest of the artifact itself was compared.
//! Whatever is wrong with the cache costs a compilation, never a policy.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::private_folder::{FolderRefusal, open_private_folder, write_in_private_folder};

/// Artifacts that are kept; the longest unused goes first. A Python policy's has 35 MB.
const KEEP: usize = 64;

/// A private directory of compiled code.
#[derive(Debug)]
pub(crate) struct CodeCache {
    directory: PathBuf,
    /// For names of files being written.
    serial: AtomicU64,
}

impl CodeCache {
    /// Makes the directory if need be, and refuses one that somebody else could put code into.
    pub(crate) fn open(directory: &Path) -> Result<Self, FolderRefusal> {
        open_private_folder(directory)?;
        Ok(Self { directory: directory.to_owned(), serial: AtomicU64::new(0) })
    }

    /// The name under which code for these bytes is kept: another engine, configuration or version of this crate
    /// (which wraps core modules) has another.
    pub(crate) fn key(engine: &Engine, bytes_digest: &[u8; 32]) -> String {
        let mut hasher = Sha256Hasher(Sha256::new());
        hasher.0.update(bytes_digest);
        hasher.0.update(env!("CARGO_PKG_VERSION"));
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hex(&hasher.0.finalize())
    }

    /// The component, if its code is here and intact.
    pub(crate) fn find(&self, engine: &Engine, key: &str) -> Option<Component> {
        let artifact = self.artifact(key);
        let expected = fs::read_to_string(self.digest(key)).ok()?;
        if digest_of_file(&artifact).ok()? != expected {
            tracing::warn!(file = %artifact.display(), "compiled code is damaged; compiling anew");
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the file lies in a directory that only we can write to, under a name that only our own compilation \
                      gives, and its digest was just compared with the one that we wrote beside it; it is read-only and \
                      replaced by renaming, so a mapped file never changes"
        )]
        // SAFETY: see the reason above; artifacts of another engine are rejected by wasmtime itself.
        let component = unsafe { Component::deserialize_file(engine, &artifact) };
        match component {
            Ok(component) => {
                // A refused timestamp only makes the file look unused.
                let _ = File::open(&artifact).and_then(|file| file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = %artifact.display(), %error, "compiled code is not usable; compiling anew");
                None
            }
        }
    }

    /// Keeps the code of a component; failing to is logged and changes nothing else.
    pub(crate) fn keep(&self, key: &str, component: &Component) {
        if let Err(error) = self.try_keep(key, component) {
            tracing::warn!(directory = %self.directory.display(), %error, "compiled code could not be kept");
        }
        if let Err(error) = self.prune() {
            tracing::warn!(directory = %self.directory.display(), %error, "old compiled code could not be removed");
        }
    }

    fn try_keep(&self, key: &str, component: &Component) -> io::Result<()> {
        let artifact = component.serialize().map_err(|error| io::Error::other(error.to_string()))?;
        // The digest first: an artifact without one is not used, and one with a wrong one neither.
        self.write(&self.digest(key), blake3::hash(&artifact).to_hex().as_bytes())?;
        self.write(&self.artifact(key), &artifact)
    }

    /// Whole or not at all, for readers and after a crash.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{}-{serial}.tmp", std::process::id());
        write_in_private_folder(&self.directory, &temporary, path, bytes)?;
        // It is mapped while it runs: a write into it would end the gateway, so nobody shall do that by mistake.
        fs::set_permissions(path, fs::Permissions::from_mode(0o400))
    }

    fn prune(&self) -> io::Result<()> {
        let mut artifacts = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("cwasm")) {
                artifacts.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        artifacts.sort();
        let surplus = artifacts.len().saturating_sub(KEEP);
        for (_, artifact) in &artifacts[..surplus] {
            for file in [artifact, &artifact.with_extension(DIGEST)] {
                // Another gateway may have removed it, and an older version has named its digests otherwise.
                fs::remove_file(file).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
        }
        Ok(())
    }

    fn artifact(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.cwasm"))
    }

    fn digest(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.{DIGEST}"))
    }
}

/// BLAKE3, because a policy is not live before all of its artifact was hashed: SHA-256 takes three times as long.
const DIGEST: &str = "blake3";

/// Of a file that is mapped, not read: it is mapped to be run anyway.
fn digest_of_file(path: &Path) -> io::Result<String> {
    Ok(blake3::Hasher::new().update_mmap(path)?.finalize().to_hex().to_string())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Feeds whatever is hashed into SHA-256; its 64-bit result is not used.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn compiled(directory: &Path) -> (CodeCache, Engine, String) {
        let cache = CodeCache::open(directory).unwrap();
        let engine = Engine::default();
        let key = CodeCache::key(&engine, &Sha256::digest(EMPTY).into());
        cache.keep(&key, &Component::new(&engine, EMPTY).unwrap());
        (cache, engine, key)
    }

    #[test]
    fn what_was_kept_is_found_and_what_was_damaged_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, engine, key) = compiled(&directory.path().join("code"));
        assert!(cache.find(&engine, &key).is_some());
        assert!(cache.find(&engine, "other").is_none());
        let mut artifact = fs::read(cache.artifact(&key)).unwrap();
        let last = artifact.len() - 1;
        artifact[last] ^= 1;
        fs::remove_file(cache.artifact(&key)).unwrap();
        fs::write(cache.artifact(&key), artifact).unwrap();
        assert!(cache.find(&engine, &key).is_none());
    }

    #[test]
    fn the_directory_is_made_private() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, ..) = compiled(&directory.path().join("a/b"));
        assert_eq!(fs::metadata(&cache.directory).unwrap().mode() & 0o777, 0o700);
        let left: Vec<_> = fs::read_dir(&cache.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.iter().all(|path| path.extension() != Some(OsStr::new("tmp"))), "{left:?}");
    }

    #[test]
    fn nobody_writes_into_code_that_may_be_running() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, _, key) = compiled(&directory.path().join("code"));
        for file in [cache.artifact(&key), cache.digest(&key)] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o400);
        }
    }

    #[test]
    fn a_directory_that_somebody_removed_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, engine, key) = compiled(&directory.path().join("code"));
        fs::remove_dir_all(&cache.directory).unwrap();
        assert!(cache.find(&engine, &key).is_none());
        cache.keep(&key, &Component::new(&engine, EMPTY).unwrap());
        assert!(cache.find(&engine, &key).is_some());
        assert_eq!(fs::metadata(&cache.directory).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let chmod = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        chmod(0o755);
        assert!(CodeCache::open(directory.path()).is_ok());
        chmod(0o770);
        assert_eq!(
            CodeCache::open(directory.path()).unwrap_err().to_string(),
            "its mode is 770: others may write to it; `chmod 700` it"
        );
    }

    #[test]
    fn the_longest_unused_code_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, engine, key) = compiled(directory.path());
        let component = Component::new(&engine, EMPTY).unwrap();
        let old = SystemTime::now() - std::time::Duration::from_secs(60);
        File::open(cache.artifact(&key)).unwrap().set_modified(old).unwrap();
        for n in 1..KEEP {
            cache.keep(&format!("{n}"), &component);
        }
        assert!(cache.artifact(&key).exists());
        cache.keep("one more", &component);
        assert!(!cache.artifact(&key).exists() && !cache.digest(&key).exists());
        assert!(cache.artifact("1").exists());
    }

    #[test]
    fn one_without_a_digest_goes_too_and_is_not_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, engine, key) = compiled(directory.path());
        let component = Component::new(&engine, EMPTY).unwrap();
        // as an older version of the gateway, with digests of its own, has left them
        for n in 0..3 {
            fs::copy(cache.artifact(&key), cache.artifact(&format!("old-{n}"))).unwrap();
            let old = SystemTime::now() - std::time::Duration::from_secs(60);
            File::open(cache.artifact(&format!("old-{n}"))).unwrap().set_modified(old).unwrap();
        }
        for n in 0..KEEP {
            cache.keep(&format!("{n}"), &component);
        }
        assert!((0..3).all(|n| !cache.artifact(&format!("old-{n}")).exists()));
    }
}
