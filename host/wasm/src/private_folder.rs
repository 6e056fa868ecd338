//! Folders for what is trusted because nobody else can write it: compiled code, and files that served well.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderRefusal {
    /// The system refuses.
    #[error("it cannot be made or read: {0}")]
    Io(#[from] io::Error),
    /// A file, for example.
    #[error("it is not a directory")]
    NotADirectory,
    /// Whoever owns it can do with it what they like.
    #[error("it belongs to user {owner}, not to user {us} as whom the gateway runs")]
    NotOurs {
        /// Its user.
        owner: u32,
        /// The gateway's user.
        us: u32,
    },
    /// Others may write to it.
    #[error("its mode is {mode:03o}: others may write to it; `chmod 700` it")]
    Writable {
        /// Its permissions.
        mode: u32,
    },
}

/// Makes the folder if need be, for us alone, and refuses one that somebody else could put something into.
///
/// # Errors
/// Why it is not to be used.
pub fn open_private_folder(folder: &Path) -> Result<(), FolderRefusal> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::metadata(folder)?;
    if !metadata.is_dir() {
        return Err(FolderRefusal::NotADirectory);
    }
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(FolderRefusal::NotOurs { owner: metadata.uid(), us });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(FolderRefusal::Writable { mode });
    }
    Ok(())
}

/// Writes the file `path` of the private folder, whole or not at all, for readers and after a crash, by way of `temporary`,
/// a name that nobody else uses. A folder that somebody has removed (a cleaner of caches, a person) is made again.
///
/// # Errors
/// Of the system, or of [`open_private_folder`].
pub fn write_in_private_folder(folder: &Path, temporary: &str, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(temporary);
    let write = || fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    let written = match write() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            open_private_folder(folder).map_err(|refusal| match refusal {
                FolderRefusal::Io(error) => error,
                other => io::Error::other(other.to_string()),
            })?;
            write()
        }
        written => written,
    };
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
