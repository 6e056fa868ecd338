//! Looks through the policy folder and says which files are new, changed or gone.
//!
//! A file counts once its writer has closed it or renamed it into place, as far as events tell ([`Writers`]);
//! else once it has kept its size and times over two looks, so a half-written one is left for the next look. One that is
//! empty or ends in the middle is given some time more: another writer may have begun anew since, or not be heard of yet.
//! Its signature, `name.wasm.minisig`, belongs to it: a new signature is a change of the file. Symbolic
//! links are followed: a Kubernetes ConfigMap is a link to a folder that is swapped. Hidden files (`..data`,
//! `.name.swp`), and whatever does not end in `.wasm` (`name.wasm~`, `name.wasm.tmp`), are not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use witgate_wasm::is_unfinished;

/// What the folder held at the last look.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    seen: BTreeMap<Arc<str>, Seen>,
    /// For the next look.
    writers: Writers,
    /// Files that the next look does not wait for.
    at_once: BTreeSet<Arc<str>>,
    /// How long the rest of a file is waited for.
    patience: Duration,
}

/// What events have told of files since the last look.
#[derive(Debug, Default)]
pub struct Writers {
    /// Files that their writers have closed or renamed into place: the next look need not wait for them to keep still.
    pub done: BTreeSet<PathBuf>,
    /// Files that somebody has begun to write and not closed yet: that they keep still does not make them whole.
    pub at_it: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
struct Seen {
    stamp: Stamp,
    /// The content of this stamp has been handed out.
    taken: bool,
    /// The content of this stamp has been read, and is not all that there will be.
    unfinished: bool,
}

/// What changes when a file's content does, or its signature's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    /// Or why it is no file that can be read.
    file: Result<FileStamp, FileError>,
    signature: Option<FileStamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Device-wide number, and the time of the last change of anything about the file, in seconds and nanoseconds: a
    /// file that may be read at last, or that was written with its old time, has the same time of modification.
    #[cfg(unix)]
    change: (u64, i64, i64),
}

/// What one look found.
#[derive(Debug, Default)]
pub struct Changes {
    /// Complete new content, by policy name.
    pub files: Vec<(Arc<str>, Content)>,
    /// Names whose file is gone.
    pub gone: Vec<Arc<str>>,
    /// Files whose names no policy can have; every look names them again.
    pub strange: Vec<FileError>,
    /// Some file is still being written: look again soon.
    pub unsettled: bool,
}

/// What a file holds, or why it cannot be known.
pub type Content = Result<Signed, FileError>;

/// A file's bytes, and the text of the signature beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The `.wasm`.
    pub bytes: Vec<u8>,
    /// The `.wasm.minisig`, if there is one.
    pub signature: Option<String>,
}

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The name cannot be written in the configuration.
    #[error(
        "{file}: a policy's name may have letters, digits, `-`, `_` and `.` only, and at most 64 of them; rename the file"
    )]
    Name {
        /// As the folder lists it.
        file: String,
    },
    /// Only the small letters make it a policy.
    #[error("{file}: a policy's file ends in `.wasm`, in small letters; rename the file")]
    Case {
        /// As the folder lists it.
        file: String,
    },
    /// The configuration takes names with this ending for files' names.
    #[error("{file}: ends in `.wasm` twice; rename the file")]
    Suffix {
        /// As the folder lists it.
        file: String,
    },
    /// The system refuses.
    #[error("{file}: cannot be read: {reason}")]
    Read {
        /// Name of the file.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// A link to something that is not there.
    #[error("{file}: is a symbolic link that leads nowhere; let it lead to a file, or remove it")]
    LinkToNothing {
        /// Name of the file.
        file: String,
    },
    /// A link that never ends.
    #[error("{file}: is a symbolic link that leads in a circle; let it lead to a file")]
    LinkLoop {
        /// Name of the file.
        file: String,
    },
    /// Not a regular file.
    #[error("{file}: is not a regular file; put the policy's file in its place, or remove it")]
    NotAFile {
        /// Name of the file.
        file: String,
    },
    /// Too large to be worth reading.
    #[error("{file}: has {length} bytes, the limit is {limit}; {cure}")]
    TooLarge {
        /// Name of the file.
        file: String,
        /// Its length.
        length: u64,
        /// The limit.
        limit: u64,
        /// What would help.
        cure: &'static str,
    },
}

impl Folder {
    /// A folder that has not been looked at yet; it need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: BTreeMap::new(), writers: Writers::default(), at_once: BTreeSet::new(), patience: PATIENCE }
    }

    /// What is known of files' writers, for the next look.
    pub fn hear(&mut self, writers: Writers) {
        self.writers.done.extend(writers.done);
        self.writers.at_it = writers.at_it;
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was a file of this policy at the last look.
    pub fn has(&self, policy: &str) -> bool {
        self.seen.contains_key(policy)
    }

    /// The next look hands out every file again.
    pub fn forget(&mut self) {
        self.seen.values_mut().for_each(|seen| seen.taken = false);
    }

    /// Compares the folder with the last look. `settle` is false at start-up, when nobody may be writing and every
    /// file is taken as it is.
    ///
    /// # Errors
    /// When the folder exists and cannot be listed. Nothing is forgotten then.
    pub fn look(&mut self, settle: bool) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let mut present = BTreeMap::new();
        for entry in self.entries()? {
            match candidate(&entry, &self.path) {
                None => {}
                Some(Err(problem)) => changes.strange.push(problem),
                Some(Ok((name, stamp))) => {
                    let seen = self.visit(&name, stamp, settle, &mut changes);
                    present.insert(name, seen);
                }
            }
        }
        self.writers = Writers::default();
        self.at_once.clear();
        changes.gone = self.seen.keys().filter(|name| !present.contains_key(*name)).cloned().collect();
        self.seen = present;
        Ok(changes)
    }

    /// The next look hands out this file's content once more, if it is there.
    pub fn again(&mut self, name: &str) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.taken = false;
        }
    }

    /// The next look takes this file as it is, even if it has not kept still.
    pub fn at_once(&mut self, name: &Arc<str>) {
        self.at_once.insert(Arc::clone(name));
    }

    fn entries(&self) -> io::Result<Vec<std::ffi::OsString>> {
        match fs::read_dir(&self.path) {
            Ok(entries) => entries.map(|entry| entry.map(|entry| entry.file_name())).collect(),
            // A folder that is swapped is missing for a moment, and one that was never made holds no policies.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn visit(&self, name: &Arc<str>, stamp: Stamp, settle: bool, changes: &mut Changes) -> Seen {
        let before = self.seen.get(name);
        let whole = match before {
            Some(seen) if seen.stamp == stamp && seen.taken => return seen.clone(),
            _ if !settle || self.at_once.contains(name) => true,
            _ if self.is_being_written(name) => false,
            Some(seen) if seen.stamp == stamp => true,
            _ => self.is_written(name, before.map(|seen| &seen.stamp), &stamp),
        };
        if !whole {
            changes.unsettled = true;
            return Seen { stamp, taken: false, unfinished: false };
        }
        let waits = settle && !self.at_once.contains(name) && stamp.is_younger_than(self.patience);
        if waits && before.is_some_and(|seen| seen.stamp == stamp && seen.unfinished) {
            changes.unsettled = true;
            return Seen { stamp, taken: false, unfinished: true };
        }
        let file = self.path.join(format!("{name}.wasm"));
        let content = read(&file, name, stamp.clone());
        if waits && content.as_ref().is_ok_and(|signed| is_unfinished(&signed.bytes)) {
            changes.unsettled = true;
            return Seen { stamp, taken: false, unfinished: true };
        }
        changes.files.push((Arc::clone(name), content));
        Seen { stamp, taken: true, unfinished: false }
    }

    /// Whether everything that has changed about a file is known to be whole.
    fn is_written(&self, name: &str, before: Option<&Stamp>, now: &Stamp) -> bool {
        let file = format!("{name}.wasm");
        let whole = |file: &str| self.writers.done.contains(&self.path.join(file));
        let same_file = before.is_some_and(|before| before.file == now.file);
        let same_signature = before.and_then(|before| before.signature.as_ref()) == now.signature.as_ref();
        (same_file || whole(&file)) && (same_signature || whole(&signature_of(&file)))
    }

    fn is_being_written(&self, name: &str) -> bool {
        let file = format!("{name}.wasm");
        [signature_of(&file), file].iter().any(|file| self.writers.at_it.contains(&self.path.join(file)))
    }
}

fn candidate(entry: &std::ffi::OsStr, folder: &Path) -> Option<Result<(Arc<str>, Stamp), FileError>> {
    let shown = entry.to_string_lossy();
    if shown.starts_with('.') || shown.starts_with('#') {
        return None;
    }
    if !shown.ends_with(".wasm") {
        let file = shown.escape_debug().to_string();
        return shown.to_ascii_lowercase().ends_with(".wasm").then_some(Err(FileError::Case { file }));
    }
    let stem = shown.strip_suffix(".wasm").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if entry.to_str().is_none() || stem.is_empty() || stem.len() > LONGEST_NAME || !stem.chars().all(plain) {
        return Some(Err(FileError::Name { file: shown.escape_debug().to_string() }));
    }
    if stem.ends_with(".wasm") {
        return Some(Err(FileError::Suffix { file: shown.to_string() }));
    }
    let path = folder.join(entry);
    let signature = fs::metadata(folder.join(signature_of(&shown))).ok();
    let signature = signature.filter(fs::Metadata::is_file).as_ref().map(stamp);
    let file = shown.to_string();
    // Follows links.
    let file = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(stamp(&metadata)),
        Ok(_) => Err(FileError::NotAFile { file }),
        // Removed since the folder was listed, but for a link.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::symlink_metadata(&path).ok()?;
            Err(FileError::LinkToNothing { file })
        }
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => Err(FileError::LinkLoop { file }),
        Err(error) => Err(FileError::Read { file, reason: error.to_string() }),
    };
    Some(Ok((Arc::from(stem), Stamp { file, signature })))
}

impl Stamp {
    /// Whether the file was written to within this time.
    fn is_younger_than(&self, age: Duration) -> bool {
        let written = self.file.as_ref().ok().and_then(|file| file.modified);
        // One that was written in the future has a clock of its own.
        written.and_then(|written| written.elapsed().ok()).is_some_and(|since| since < age)
    }
}

fn signature_of(file: &str) -> String {
    format!("{file}.minisig")
}

fn stamp(metadata: &fs::Metadata) -> FileStamp {
    FileStamp {
        length: metadata.len(),
        modified: metadata.modified().ok(),
        #[cfg(unix)]
        change: {
            use std::os::unix::fs::MetadataExt;
            (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        },
    }
}

fn read(path: &Path, name: &str, stamp: Stamp) -> Content {
    let file = format!("{name}.wasm");
    let length = stamp.file?.length;
    let signature = match stamp.signature {
        None => None,
        Some(stamp) => {
            let (beside, name) = (path.with_file_name(signature_of(&file)), signature_of(&file));
            let text = whole(&beside, name, stamp.length, &LARGEST_SIGNATURE)?;
            Some(String::from_utf8_lossy(&text).into_owned())
        }
    };
    Ok(Signed { bytes: whole(path, file, length, &LARGEST_FILE)?, signature })
}

fn whole(path: &Path, file: String, length: u64, largest: &Largest) -> Result<Vec<u8>, FileError> {
    let Largest { bytes: limit, cure } = *largest;
    if length > limit {
        return Err(FileError::TooLarge { file, length, limit, cure });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // It may have grown since it was looked at.
    match fs::File::open(path).and_then(|opened| opened.take(limit + 1).read_to_end(&mut bytes)) {
        Ok(length) if length as u64 > limit => Err(FileError::TooLarge { file, length: length as u64, limit, cure }),
        Ok(_) => Ok(bytes),
        Err(error) => Err(FileError::Read { file, reason: error.to_string() }),
    }
}

/// Between two writes of one file, or the emptying and the first of them.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST_NAME: usize = 64;
/// The engine's own cap is the same; this one spares the reading.
const LARGEST_FILE: Largest = Largest { bytes: 64 << 20, cure: "leave out debug information, or build it for size" };
/// A minisign signature has about 300 bytes.
const LARGEST_SIGNATURE: Largest = Largest { bytes: 4096, cure: "put the file that `minisign -S` made there" };

/// How large a file may be.
struct Largest {
    bytes: u64,
    cure: &'static str,
}

#[cfg(test)]
mod tests;
