//! One file that is followed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::assembly::FileHeaders;
use super::disk::{Identity, Look, OpenFile, Timestamp};
use super::mark::{Mark, Position};
use super::split::Flush;
use super::stats::Gauge;

/// A file that is followed, open or not.
pub(super) struct Tracked {
    pub(super) identity: Identity,
    /// Where it was last seen.
    pub(super) path: PathBuf,
    /// What its events carry, as of when it was found.
    pub(super) headers: FileHeaders,
    pub(super) handle: Option<OpenFile>,
    /// When the handle was last used, in turns.
    pub(super) used: u64,
    /// What has gone into blocks.
    pub(super) mark: Mark,
    pub(super) size: u64,
    /// 0 once it is deleted.
    pub(super) links: u64,
    pub(super) modified: Timestamp,
    /// What `modified` was when its first bytes were last compared.
    pub(super) compared: Option<Timestamp>,
    /// When its size last changed.
    pub(super) grown: Duration,
    /// Whether the last scan met it.
    pub(super) found: bool,
    /// The file that had its path before, which is read to its end first.
    pub(super) after: Option<u64>,
    /// At which size, and with which flush, nothing more could be taken.
    pub(super) exhausted: Option<(u64, Flush)>,
    /// Whether the log has a line about its present outage.
    pub(super) outage: bool,
    pub(super) gauge: Arc<Gauge>,
}

impl Tracked {
    /// Takes note of what the file system says. The handle's word counts for
    /// more than the path's.
    pub(super) fn note(&mut self, look: &Look, now: Duration) {
        if look.size != self.size {
            self.grown = now;
        }
        self.size = look.size;
        self.links = look.links;
        self.modified = look.modified;
        self.gauge.set_size(look.size);
    }

    /// Whether there is something to be read.
    pub(super) fn wants(&self, flush: Flush) -> bool {
        if self.size == self.mark.offset {
            // Truncated and grown to the very size it had?
            return self.compared.is_some_and(|compared| compared != self.modified);
        }
        // Below the mark it was truncated, which reading sorts out.
        self.exhausted.is_none_or(|(size, tried)| size != self.size || tried < flush)
    }

    /// Whether everything that can be taken has been.
    pub(super) fn drained(&self) -> bool {
        self.size == self.mark.offset || self.exhausted.is_some_and(|(size, _)| size == self.size)
    }

    /// Begins again at the first byte.
    pub(super) fn restart(&mut self) {
        self.mark = Mark::default();
        self.exhausted = None;
    }

    pub(super) fn position(&self, mark: Mark, seen_ms: i64) -> Position {
        Position { identity: self.identity, mark, seen_ms, path: self.path.clone() }
    }
}
