//! File events of the folders that matter, as wake-ups for the reload thread, and the files that are whole because their
//! writer has closed them or renamed them into place.
//!
//! Events are hints: some file systems send none, so there is a slow poll besides. A folder is watched, never a
//! file, because the swap of a ConfigMap or an editor's rename would end the watch of the file.

use std::collections::BTreeSet;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;

use super::{Event, wake};

/// Watches of folders.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
    whole: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Watch {
    pub(super) fn new(events: SyncSender<Event>) -> Self {
        let whole = Arc::<Mutex<BTreeSet<PathBuf>>>::default();
        let arrived = Arc::clone(&whole);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event {
                if is_whole(&event) {
                    arrived.lock().extend(event.paths);
                } else if event.kind.is_access() {
                    // A read is no change, and reading is what a look does.
                    return;
                }
            }
            wake(&events, Event::Files);
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "no file events here; changes are found by polling"))
            .ok();
        Self { watcher, watched: Vec::new(), whole }
    }

    /// Files that have become whole since this was last asked.
    pub(super) fn whole(&self) -> BTreeSet<PathBuf> {
        mem::take(&mut self.whole.lock())
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
