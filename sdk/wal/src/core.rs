//! What the threads of a log share.

use crate::cache::Cache;
use crate::error::{AppendError, FullReason};
use crate::index::Index;
use crate::meta::Meta;
use crate::metrics::Metrics;
use crate::options::LogOptions;
use crate::pool::Pool;
use crate::quarantine::{Quarantine, Quarantined};
use crate::quota::Quota;
use crate::segment::FileName;
use crate::storage::DirLock;
use crate::view_rows::ViewRows;
use crate::walk::{Opened, SegmentFile};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;
use tracing::error;

/// What the handles, the writer, the keeper and the readers of a log share.
pub(crate) struct Core {
    pub(crate) options: LogOptions,
    pub(crate) meta: Meta,
    pub(crate) limits: Limits,
    pub(crate) index: RwLock<Index>,
    pub(crate) cache: Cache,
    pub(crate) pool: Pool,
    pub(crate) quota: Quota,
    pub(crate) quarantine: Quarantine,
    pub(crate) view_rows: ViewRows,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight_bytes: AtomicU64,
    pub(crate) failure: watch::Sender<Option<Arc<str>>>,
    pub(crate) dead: AtomicBool,
    /// Something may be free now.
    pub(crate) floors_moved: AtomicBool,
    pub(crate) lock: Mutex<Option<DirLock>>,
}

/// What fits in a segment of this log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest body.
    pub(crate) body_bytes_max: usize,
    /// A flush takes no more records once it has so many bytes.
    pub(crate) flush_bytes_max: u64,
    pub(crate) flush_records_max: usize,
}

impl Limits {
    pub(crate) fn new(segment_bytes: u32) -> Self {
        let half = segment_bytes as usize / 2;
        Self {
            body_bytes_max: half.min(crate::options::BODY_BYTES_MAX),
            flush_bytes_max: (half as u64).min(crate::options::FLUSH_BYTES_MAX),
            // Two directories must leave room for a record of the greatest length.
            flush_records_max: (half / 512).min(crate::flush::FLUSH_RECORDS_MAX),
        }
    }
}

impl Core {
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn path(&self, name: FileName) -> PathBuf {
        self.options.dir.join(name.format())
    }

    /// Opens a segment to read, if it is still there in the life that the index knew.
    pub(crate) fn open_segment(&self, number: u64, life: u64) -> io::Result<Option<SegmentFile>> {
        let (storage, dir) = (&*self.options.storage, &self.options.dir);
        match SegmentFile::open(storage, dir, number, true) {
            Ok(Opened::Good(segment)) if segment.life == life => Ok(Some(segment)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether another segment may be made without going above the quota.
    pub(crate) fn check_quota(&self) -> Result<(), AppendError> {
        let files = self.index().segments.len() as u64 + 1;
        if files * u64::from(self.meta.segment_bytes) > self.meta.quota_bytes {
            return Err(AppendError::Full { reason: FullReason::Quota });
        }
        Ok(())
    }

    /// Ends the log: a failed write or sync is final.
    pub(crate) fn die(&self, what: &str, error: &io::Error) -> AppendError {
        let reason: Arc<str> = format!("{what}: {error}").into();
        if !self.dead.swap(true, Ordering::AcqRel) {
            error!(dir = %self.options.dir.display(), %error, "log died: {what}");
            self.metrics.dead.set(1);
            self.failure.send_replace(Some(reason));
        }
        self.dead_error()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub(crate) fn dead_error(&self) -> AppendError {
        let reason = self.failure.borrow().clone();
        AppendError::Dead { reason: reason.unwrap_or_else(|| "the log failed".into()) }
    }

    /// Lists offsets as unreadable, if anybody needs them.
    pub(crate) fn quarantine(&self, quarantined: Quarantined) {
        let needed = self.index().needs(&quarantined.lineage, quarantined.from..quarantined.to);
        if needed && self.quarantine.add(quarantined.clone()) {
            self.metrics.quarantined_records.inc();
            error!(
                lineage = %quarantined.lineage,
                from = quarantined.from,
                to = quarantined.to,
                segment = quarantined.segment,
                reason = %quarantined.reason,
                "records quarantined"
            );
        }
    }

    /// Measures what is used, after segments came or went.
    pub(crate) fn measure(&self) {
        let (used, segments) = {
            let index = self.index();
            let tail = index.tail;
            let used = |(&number, segment): (&u64, &crate::index::Segment)| {
                let whole = u64::from(self.meta.segment_bytes);
                if Some(number) == tail { u64::from(segment.contents.end) } else { whole }
            };
            (index.segments.iter().map(used).sum(), index.segments.len())
        };
        self.quota.set_used(used, self.pool.spare_bytes(self));
        self.metrics.segments.set(segments as i64);
        self.metrics.used_bytes.set(used as i64);
    }
}
