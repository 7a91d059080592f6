//! What has to be done beside writing: free, recycle, prepare, copy forward, fill the view, watch the disk.

use crate::copy_forward::{self, Submit};
use crate::core::Core;
use crate::reserve;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use tracing::warn;

/// How long the keeper waits at most: the free bytes of the disk change without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it lets requests gather.
const PAUSE: Duration = Duration::from_millis(50);

/// Segments copied forward in one turn.
const COPIES_MAX: usize = 4;

/// Wakes the keeper.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<Rung>,
    wake: Condvar,
}

#[derive(Default)]
struct Rung {
    rung: bool,
    stopped: bool,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut state.rung, true) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.wake.notify_all();
    }

    /// Waits until rung, or for the keeper's patience; `false` once stopped.
    pub(crate) fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.wake.wait_timeout_while(state, PATIENCE, |s| !s.rung && !s.stopped);
        let (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        let pause = self.wake.wait_timeout_while(state, PAUSE, |state| !state.stopped);
        let (mut state, _) = pause.unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
        !state.stopped
    }
}

/// One turn of everything.
pub(crate) fn tidy(core: &Core, submit: Submit<'_>) {
    if core.is_dead() {
        core.view_rows.apply(core);
        return;
    }
    watch_disk(core);
    free(core);
    for _ in 0..COPIES_MAX {
        match copy_forward::step(core, submit) {
            Ok(true) => free(core),
            Ok(false) => break,
            Err(error) => {
                warn!(%error, "cannot copy a segment forward, will try again");
                break;
            }
        }
    }
    let now = (core.options.monotonic)();
    if let Err(error) = core.pool.trim(core, now, core.quota.is_scarce()) {
        warn!(%error, "cannot remove a spare segment");
    }
    if !core.pool.is_ready() {
        // Told to whoever appends, if it still holds then.
        let _ = core.pool.prepare(core);
    }
    core.measure();
    core.metrics.cache_bytes.set(core.cache.bytes() as i64);
    core.view_rows.apply(core);
}

/// Gives back every segment of which nothing is needed.
fn free(core: &Core) {
    if core.floors_moved.swap(false, Ordering::Relaxed) {
        let index = core.index();
        core.quarantine.retain(|bad| index.needs(&bad.lineage, bad.from..bad.to));
    }
    let unneeded = core.index().unneeded();
    if unneeded.is_empty() {
        return;
    }
    for number in unneeded {
        // From here on no reader finds it; one that has it open sees that its life is over.
        let Some(segment) = core.index_mut().segments.remove(&number) else { continue };
        for run in &segment.contents.runs {
            core.view_rows.remove(&run.lineage, run.first);
        }
        if let Err(error) = core.pool.give_back(core, number) {
            // The file stays until the next start counts it again; nothing that is needed is in it.
            warn!(%error, segment = number, "cannot free a segment");
            continue;
        }
        core.metrics.segments_freed.inc();
    }
    core.measure();
}

fn watch_disk(core: &Core) {
    match core.options.storage.free_bytes(&core.options.dir) {
        Ok(free) => core.quota.set_free(free),
        Err(error) => warn!(%error, "cannot measure the disk"),
    }
    reserve::restore(core);
}
