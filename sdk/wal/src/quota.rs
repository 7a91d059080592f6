//! Disk marks: how full the log is, in words.

use crate::entry::Purpose;
use crate::error::{AppendError, FullReason};
use crate::options::Marks;
use crate::usage::Mark;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Above this share of the quota, segments with little left are copied forward.
const COPY_FORWARD_PERCENT: u64 = 50;

/// How much of quota and disk is used. Asked at every append, so it answers from atomics.
#[derive(Debug)]
pub(crate) struct Quota {
    pub(crate) quota_bytes: u64,
    free_bytes_floor: u64,
    marks: Marks,
    used_bytes: AtomicU64,
    spare_bytes: AtomicU64,
    /// `u64::MAX` until the file system has said.
    free_bytes: AtomicU64,
    mark: AtomicU8,
    /// Why the last segment could not be made.
    disk_full: Mutex<Option<Arc<str>>>,
}

impl Quota {
    pub(crate) fn new(quota_bytes: u64, free_bytes_floor: u64, marks: Marks) -> Self {
        Self {
            quota_bytes,
            free_bytes_floor,
            marks,
            used_bytes: AtomicU64::new(0),
            spare_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
            mark: AtomicU8::new(0),
            disk_full: Mutex::new(None),
        }
    }

    pub(crate) fn set_used(&self, used: u64, spare: u64) {
        self.used_bytes.store(used, Ordering::Relaxed);
        self.spare_bytes.store(spare, Ordering::Relaxed);
        self.judge();
    }

    pub(crate) fn set_free(&self, free: u64) {
        self.free_bytes.store(free, Ordering::Relaxed);
        self.judge();
    }

    /// Notes that a segment could not be made for want of room, or that one could.
    pub(crate) fn set_disk_full(&self, reason: Option<Arc<str>>) {
        *self.disk_full.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.judge();
    }

    pub(crate) fn used(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn spare(&self) -> u64 {
        self.spare_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn free(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed)).filter(|&free| free != u64::MAX)
    }

    pub(crate) fn mark(&self) -> Mark {
        const MARKS: [Mark; 4] = [Mark::Fine, Mark::Warn, Mark::StopIngest, Mark::SinksOnly];
        MARKS[usize::from(self.mark.load(Ordering::Relaxed))]
    }

    /// Whether it is time to copy forward.
    pub(crate) fn wants_room(&self) -> bool {
        percent(self.used(), self.quota_bytes) >= COPY_FORWARD_PERCENT
    }

    /// Whether the disk has so little free that what is not needed should go.
    pub(crate) fn is_scarce(&self) -> bool {
        self.free().is_some_and(|free| free < 2 * self.free_bytes_floor)
    }

    /// Whether the disk has so much free that some of it may be set aside.
    pub(crate) fn has_spare_room(&self, bytes: u64) -> bool {
        self.free().is_some_and(|free| free >= self.free_bytes_floor.saturating_add(2 * bytes))
    }

    /// Whether the mark lets a record in.
    pub(crate) fn admit(&self, purpose: Purpose) -> Result<(), AppendError> {
        let mark = self.mark();
        let refused_from = match purpose {
            Purpose::Ingest => Mark::StopIngest,
            Purpose::Upkeep => Mark::SinksOnly,
            Purpose::Drain => return Ok(()),
        };
        if mark < refused_from {
            return Ok(());
        }
        let disk_full = self.disk_full.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = disk_full.clone().map_or(FullReason::Mark(mark), FullReason::Disk);
        Err(AppendError::Full { reason })
    }

    fn judge(&self) {
        let disk_full = self.disk_full.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let short = self.free().is_some_and(|free| free < self.free_bytes_floor);
        let used = percent(self.used(), self.quota_bytes);
        let above = |mark: u32| used >= u64::from(mark);
        let mark = match self.marks {
            marks if above(marks.sinks_only_percent) => Mark::SinksOnly,
            marks if above(marks.stop_ingest_percent) || disk_full || short => Mark::StopIngest,
            marks if above(marks.warn_percent) => Mark::Warn,
            _ => Mark::Fine,
        };
        self.mark.store(mark as u8, Ordering::Relaxed);
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100 / u128::from(whole.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(quota: &Quota) -> [bool; 3] {
        [Purpose::Ingest, Purpose::Upkeep, Purpose::Drain].map(|p| quota.admit(p).is_ok())
    }

    #[test]
    fn marks_follow_use_and_free_space() {
        let quota = Quota::new(1000, 50, Marks::default());
        let mut seen = Vec::new();
        for used in [0, 699, 700, 849, 850, 949, 950, 2000] {
            quota.set_used(used, 0);
            seen.push(quota.mark());
        }
        use Mark::{Fine, SinksOnly, StopIngest, Warn};
        assert_eq!(seen, [Fine, Fine, Warn, Warn, StopIngest, StopIngest, SinksOnly, SinksOnly]);
        assert_eq!(admitted(&quota), [false, false, true]);
        let marks = Marks { warn_percent: 10, stop_ingest_percent: 20, sinks_only_percent: 30 };
        let strict = Quota::new(1000, 50, marks);
        let judged = [99, 100, 200, 300].map(|used| {
            strict.set_used(used, 0);
            strict.mark()
        });
        assert_eq!(judged, [Fine, Warn, StopIngest, SinksOnly]);
        quota.set_used(850, 0);
        assert_eq!(admitted(&quota), [false, true, true]);
        quota.set_used(500, 0);
        assert_eq!(admitted(&quota), [true, true, true]);
        quota.set_free(49);
        assert_eq!(quota.mark(), StopIngest);
        quota.set_free(50);
        assert_eq!(quota.mark(), Fine);
        quota.set_disk_full(Some("no space".into()));
        let reason = FullReason::Disk("no space".into());
        assert_eq!(quota.admit(Purpose::Ingest), Err(AppendError::Full { reason }));
        quota.set_disk_full(None);
        assert!(quota.admit(Purpose::Ingest).is_ok() && quota.wants_room());
    }
}
