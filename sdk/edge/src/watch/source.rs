//! What is seen of a source.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sdk_flow::{Clock, Exhaustion, PutError};
use sdk_sources::TaildirStats;
use tracing::{info, warn};

use crate::status::{FileStatus, SourceState, SourceStatus};

/// A channel at its limit refuses and takes in turn: one line in so long is enough.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What is seen of a source. It outlives the source, which may be started anew.
pub(crate) struct SourceWatch {
    flow: String,
    name: String,
    kind: &'static str,
    clock: Arc<dyn Clock>,
    events: AtomicU64,
    blocks: AtomicU64,
    dropped: AtomicU64,
    dead_letters: AtomicU64,
    seen: Mutex<Seen>,
}

struct Seen {
    state: SourceState,
    reason: Option<String>,
    said: Option<Duration>,
    taildir: Option<Arc<TaildirStats>>,
}

impl SourceWatch {
    pub(crate) fn new(
        flow: &str,
        name: &str,
        kind: &'static str,
        clock: Arc<dyn Clock>,
    ) -> SourceWatch {
        let state = SourceState::Starting;
        SourceWatch {
            flow: flow.to_owned(),
            name: name.to_owned(),
            kind,
            clock,
            events: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            seen: Mutex::new(Seen { state, reason: None, said: None, taildir: None }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn flow(&self) -> &str {
        &self.flow
    }

    pub(crate) fn runs(&self, taildir: Option<Arc<TaildirStats>>) {
        let mut seen = self.lock();
        (seen.state, seen.reason) = (SourceState::Running, None);
        seen.taildir = taildir;
    }

    pub(crate) fn ended(&self) {
        let mut seen = self.lock();
        (seen.state, seen.reason) = (SourceState::Ended, None);
    }

    pub(crate) fn failed(&self, reason: String) {
        let mut seen = self.lock();
        (seen.state, seen.reason) = (SourceState::Failed, Some(reason));
    }

    pub(crate) fn stored(&self, events: u32, dropped: u32) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(u64::from(events), Ordering::Relaxed);
        self.dropped.fetch_add(u64::from(dropped), Ordering::Relaxed);
        let mut seen = self.lock();
        if seen.state == SourceState::Waiting {
            (seen.state, seen.reason) = (SourceState::Running, None);
            drop(seen);
            info!(flow = self.flow, source = self.name, "there is room again");
        }
    }

    pub(crate) fn dead_letter(&self) {
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes why a put did not succeed.
    pub(crate) fn refused(&self, error: &PutError) {
        // The rest passes by itself within moments.
        let PutError::Exhausted {
            reason: reason @ (Exhaustion::Disk | Exhaustion::Channel(_)),
            ..
        } = error
        else {
            return;
        };
        let now = self.clock.monotonic();
        let mut seen = self.lock();
        (seen.state, seen.reason) = (SourceState::Waiting, Some(reason.to_string()));
        if seen.said.is_none_or(|said| now.saturating_sub(said) >= SAY_AGAIN) {
            seen.said = Some(now);
            drop(seen);
            warn!(flow = self.flow, source = self.name, %reason, "no room, the source waits");
        }
    }

    pub(crate) fn status(&self) -> SourceStatus {
        let (state, reason, taildir) = {
            let seen = self.lock();
            (seen.state, seen.reason.clone(), seen.taildir.clone())
        };
        let counts = taildir.as_ref().map(|taildir| taildir.counts()).unwrap_or_default();
        let files = taildir.map(|taildir| taildir.files()).unwrap_or_default();
        let files: Vec<FileStatus> = files
            .into_iter()
            .map(|file| FileStatus {
                lag_bytes: file.bytes(),
                path: file.path,
                size: file.size,
                stored: file.stored,
            })
            .collect();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceStatus {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            state,
            reason,
            events: read(&self.events),
            blocks: read(&self.blocks),
            dropped: read(&self.dropped),
            dead_letters: read(&self.dead_letters),
            lag_bytes: files.iter().map(|file| file.lag_bytes).sum(),
            truncations: counts.truncations,
            read_errors: counts.read_errors,
            files,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while the lock is held")
    }
}
