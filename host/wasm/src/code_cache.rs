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
use std::io::{self, Seek as _};
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
        let code = Sealed::copy(&artifact).ok()?;
        if code.digest().ok()? != expected {
            tracing::warn!(file = %artifact.display(), "compiled code is damaged; compiling anew");
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the code is from a directory that only we can write to, under a name that only our own compilation gives, \
                      and the digest of the copy that is mapped, which does not change, is the one that we wrote beside it"
        )]
        // SAFETY: see the reason above; artifacts of another engine are rejected by wasmtime itself.
        let component = unsafe { Component::deserialize_file(engine, &code.path) };
        match component {
            Ok(component) => {
                // A refused timestamp only makes the file look unused.
                let _ =
                    File::options().append(true).open(&artifact).and_then(|file| file.set_modified(SystemTime::now()));
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
    }

    fn try_keep(&self, key: &str, component: &Component) -> io::Result<()> {
        let artifact = component.serialize().map_err(|error| io::Error::other(error.to_string()))?;
        // The digest first: an artifact without one is not used, and one with a wrong one neither.
        self.write(&self.digest(key), blake3::hash(&artifact).to_hex().as_bytes())?;
        self.write(&self.artifact(key), &artifact)?;
        self.prune()
    }

    /// Whole or not at all, for readers and after a crash.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{}-{serial}.tmp", std::process::id());
        write_in_private_folder(&self.directory, &temporary, path, bytes)
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
            fs::remove_file(artifact)?;
            fs::remove_file(artifact.with_extension(DIGEST))?;
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

/// A copy of a file in memory that nobody can change any more. The file itself must not be mapped: whoever damages or shortens
/// it later, and be it a bad disk, would damage code that is running. The copy is mapped, since that costs less than handing
/// its bytes over.
struct Sealed {
    file: File,
    /// For as long as `file` is open.
    path: PathBuf,
}

impl Sealed {
    #[cfg(target_os = "linux")]
    fn copy(original: &Path) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;

        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        let mut file = File::from(memfd_create(c"witgate-code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        io::copy(&mut File::open(original)?, &mut file)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        Ok(Self { file, path })
    }

    /// The file itself: elsewhere there are no such copies.
    #[cfg(not(target_os = "linux"))]
    fn copy(original: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(original)?, path: original.to_owned() })
    }

    fn digest(&self) -> io::Result<String> {
        (&self.file).rewind()?;
        Ok(blake3::Hasher::new().update_reader(&self.file)?.finalize().to_hex().to_string())
    }
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

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
        File::options().append(true).open(cache.artifact(&key)).unwrap().set_modified(old).unwrap();
        for n in 1..KEEP {
            cache.keep(&format!("{n}"), &component);
        }
        assert!(cache.artifact(&key).exists());
        cache.keep("one more", &component);
        assert!(!cache.artifact(&key).exists() && !cache.digest(&key).exists());
        assert!(cache.artifact("1").exists());
    }
}
