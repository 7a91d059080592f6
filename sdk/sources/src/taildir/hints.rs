//! The kernel's word that something changed: a hint, never more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sdk_event::limits::LINGER;
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::disk::{self, Identity};

/// So many directories are watched; further ones are only polled.
const WATCHES_MAX: usize = 1024;

/// Wakes the source early. Without it, files are found by polling alone.
pub(super) struct Hints {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Identity>,
    shared: Arc<Shared>,
    warned: bool,
}

#[derive(Default)]
struct Shared {
    wake: Notify,
    /// Names have come or gone since the last scan.
    names_changed: AtomicBool,
}

/// What the waiting side holds.
#[derive(Clone)]
pub(super) struct Waker {
    shared: Arc<Shared>,
}

impl Waker {
    /// Waits for a hint; at once if there was one since the last wait. Cancel-safe.
    pub(super) async fn woken(&self) {
        self.shared.wake.notified().await;
    }
}

impl Hints {
    /// Nothing is watched yet, and with `on` false nothing ever is.
    pub(super) fn new(on: bool) -> Hints {
        let shared = Arc::new(Shared::default());
        let handler = {
            let shared = Arc::clone(&shared);
            move |event: notify::Result<notify::Event>| shared.hear(event)
        };
        let watcher = match on.then(|| notify::recommended_watcher(handler)) {
            Some(Ok(watcher)) => Some(watcher),
            Some(Err(error)) => {
                warn!(%error, "the system gives no hints, files are polled");
                None
            }
            None => None,
        };
        Hints { watcher, watched: BTreeMap::new(), shared, warned: false }
    }

    pub(super) fn waker(&self) -> Waker {
        Waker { shared: Arc::clone(&self.shared) }
    }

    /// Whether names have come or gone since this was last asked.
    pub(super) fn names_changed(&self) -> bool {
        self.shared.names_changed.swap(false, Ordering::Relaxed)
    }

    /// Watches these directories and no others.
    pub(super) fn watch(&mut self, directories: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|path, identity| {
            // A directory of the same name may be another one by now.
            let same = disk::look(path).is_ok_and(|look| look.identity == *identity);
            let keep = same && directories.contains(path);
            if !keep {
                // It fails for a directory that is gone, which is as well.
                let _ = watcher.unwatch(path);
            }
            keep
        });
        for path in directories {
            if self.watched.contains_key(path) || self.watched.len() >= WATCHES_MAX {
                continue;
            }
            let Ok(look) = disk::look(path) else { continue };
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), look.identity);
                }
                Err(error) if !self.warned => {
                    self.warned = true;
                    warn!(%error, path = %path.display(), "a directory is only polled");
                }
                Err(_) => (),
            }
        }
    }
}

impl Shared {
    /// Called on the watcher's thread, for each event.
    fn hear(&self, event: notify::Result<notify::Event>) {
        match event {
            Ok(event) => match event.kind {
                EventKind::Access(_) => return,
                EventKind::Create(_)
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_)) => {
                    self.names_changed.store(true, Ordering::Relaxed);
                }
                _ => (),
            },
            // An overflow says that anything may have changed.
            Err(error) => {
                debug!(%error, "hints were lost");
                self.names_changed.store(true, Ordering::Relaxed);
            }
        }
        self.wake.notify_one();
        // While this thread sleeps the kernel merges what a busy writer causes.
        std::thread::sleep(LINGER);
    }
}
