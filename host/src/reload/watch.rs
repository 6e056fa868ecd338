//! File events of the folders that matter, as wake-ups for the reload thread, and what they tell of writers: which files
//! are whole because they were closed or renamed into place, and which somebody has begun to write.
//!
//! Events are hints: some file systems send none, so there is a slow poll besides. A folder is watched, never a
//! file, because the swap of a ConfigMap or an editor's rename would end the watch of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use std::{fs, mem, thread};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;

use super::folder::Writers;
use super::{Event, wake};

/// Watches of folders.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
    seen: Arc<Mutex<Seen>>,
}

/// What events have told.
#[derive(Default)]
struct Seen {
    /// Files that are whole.
    whole: BTreeSet<PathBuf>,
    /// Files that somebody has begun to write, with the last time that something was written.
    begun: BTreeMap<PathBuf, Instant>,
    /// When the last change was.
    last: Option<Instant>,
}

impl Watch {
    pub(super) fn new(events: SyncSender<Event>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let noted = Arc::clone(&seen);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let mut noted = noted.lock();
            if let Ok(event) = event {
                if is_whole(&event) {
                    noted.begun.retain(|path, _| !event.paths.contains(path));
                    noted.whole.extend(event.paths);
                } else if is_begun(&event) {
                    let now = Instant::now();
                    noted.begun.extend(event.paths.into_iter().map(|path| (path, now)));
                } else if event.kind.is_access() {
                    // A read is no change, and reading is what a look does.
                    return;
                }
            }
            noted.last = Some(Instant::now());
            drop(noted);
            wake(&events, Event::Files);
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "no file events here; changes are found by polling"))
            .ok();
        Self { watcher, watched: Vec::new(), seen }
    }

    /// The files that have become whole since this was last asked, and those that are being written.
    pub(super) fn writers(&self) -> Writers {
        let mut seen = self.seen.lock();
        // Whoever writes nothing for so long may have forgotten to close it.
        seen.begun.retain(|_, last| last.elapsed() < LONGEST_PAUSE);
        Writers { done: mem::take(&mut seen.whole), at_it: seen.begun.keys().cloned().collect() }
    }

    /// Waits until nothing has changed for a moment: a writer makes several events, for a file and for the signature beside
    /// it, and one look after all of them is enough. Not for ever, since some file may change all the time.
    pub(super) fn wait_for_quiet(&self) {
        let end = Instant::now() + LONGEST_WAIT;
        while Instant::now() < end {
            thread::sleep(QUIET);
            if self.seen.lock().last.is_none_or(|last| last.elapsed() >= QUIET) {
                return;
            }
        }
    }

    /// Watches these folders, and no others; one that is not there yet is tried again at the next call.
    pub(super) fn follow(&mut self, folders: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|folder| {
            let keep = folders.contains(folder) && folder.is_dir();
            if !keep {
                // Gone already when the folder is.
                let _ = watcher.unwatch(folder);
            }
            keep
        });
        for folder in folders {
            if !self.watched.contains(folder) && watch(watcher, folder) {
                self.watched.push(folder.clone());
            }
        }
    }
}

fn watch(watcher: &mut RecommendedWatcher, folder: &Path) -> bool {
    if !folder.is_dir() {
        return false;
    }
    watcher
        .watch(folder, RecursiveMode::NonRecursive)
        .inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "not watched; polled instead"))
        .is_ok()
}

/// A writer has closed the file, or it was renamed to this name.
fn is_whole(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
    matches!(
        event.kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Modify(ModifyKind::Name(RenameMode::To))
    )
}

/// Somebody has begun to write the file. Only where the system tells of its closing too.
fn is_begun(event: &notify::Event) -> bool {
    use notify::event::{CreateKind, EventKind, ModifyKind};
    cfg!(target_os = "linux")
        && match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => true,
            // A link is made in one step, and closed by nobody.
            EventKind::Create(CreateKind::File) => event.paths.iter().all(|path| is_empty_file(path)),
            _ => false,
        }
}

fn is_empty_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

/// Longer than a slow network pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Longer than a writer takes from one file to the next, short enough to be live at once.
const QUIET: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
