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
            let meaning = event.as_ref().map_or(Meaning::Change, Meaning::of);
            if meaning == Meaning::Nothing {
                return;
            }
            let paths = event.into_iter().flat_map(|event| event.paths);
            let mut noted = noted.lock();
            let now = Instant::now();
            noted.last = Some(now);
            match meaning {
                Meaning::Writing => noted.begun.extend(paths.map(|path| (path, now))),
                Meaning::Whole => {
                    for path in paths {
                        noted.begun.remove(&path);
                        noted.whole.insert(path);
                    }
                }
                Meaning::Nothing | Meaning::Change => {}
            }
            drop(noted);
            if meaning != Meaning::Writing {
                wake(&events, Event::Files);
            }
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

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// A read, which is what a look does.
    Nothing,
    /// Somebody has begun to write a file, and will close it. A look meanwhile would find nothing whole, and a log that
    /// lies here is written to all day.
    Writing,
    /// A writer has closed the file, or it was renamed to this name.
    Whole,
    /// Anything else.
    Change,
}

impl Meaning {
    fn of(event: &notify::Event) -> Self {
        use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Self::Whole,
            EventKind::Access(_) => Self::Nothing,
            // Where nothing tells of the closing, each write counts.
            EventKind::Modify(ModifyKind::Data(_)) if TELLS_OF_CLOSING => Self::Writing,
            // A link is made in one step, and closed by nobody.
            EventKind::Create(CreateKind::File)
                if TELLS_OF_CLOSING && event.paths.iter().all(|path| is_empty_file(path)) =>
            {
                Self::Writing
            }
            _ => Self::Change,
        }
    }
}

fn is_empty_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

const TELLS_OF_CLOSING: bool = cfg!(target_os = "linux");
/// Longer than a slow network pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Longer than a writer takes from one file to the next, short enough to be live at once.
const QUIET: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    /// Whether the thread was woken within a time in which it would have been.
    fn woken(inbox: &Receiver<Event>) -> bool {
        inbox.recv_timeout(Duration::from_millis(200)).is_ok()
    }

    #[test]
    fn a_file_that_is_written_to_wakes_nobody_until_it_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.wasm");
        let (events, inbox) = sync_channel(1);
        let mut watch = Watch::new(events);
        watch.follow(&[folder.path().to_owned()]);
        let mut writer = fs::File::create(&file).expect("a file");
        for _ in 0..3 {
            assert!(!woken(&inbox), "it is being written");
            writer.write_all(b"more").expect("a write");
        }
        let told = watch.writers();
        assert_eq!((told.done, told.at_it), (BTreeSet::new(), [file.clone()].into()));
        drop(writer);
        assert!(woken(&inbox), "it is whole");
        let told = watch.writers();
        assert_eq!((told.done, told.at_it), ([file.clone()].into(), BTreeSet::new()));
        fs::read(&file).expect("a file");
        assert!(!woken(&inbox), "it was read");
        fs::remove_file(&file).expect("a file");
        assert!(woken(&inbox), "it is gone");
    }
}
