//! The handle on a log, and the threads behind it.

mod open;

use crate::core::Core;
use crate::entry::{Appended, Entry};
use crate::error::{AppendError, FullReason};
use crate::keeper::{self, Bell};
use crate::quarantine::Quarantined;
use crate::queue::{Pending, Queue, Work};
use crate::reader::LogReader;
use crate::usage::{LineageExtent, Listed, Usage};
use crate::writer::Writer;
use prometheus_client::registry::Registry;
use sdk_event::Lineage;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// A log: one directory, one writer. Clones are handles on the same one; it stops with the last of them.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    queue: Arc<Queue>,
    bell: Arc<Bell>,
    engine: Mutex<Engine>,
}

/// Who writes.
enum Engine {
    Threads(Vec<JoinHandle<()>>),
    /// Whoever calls [`Log::drive`].
    Hand(Writer),
    Stopped,
}

impl Log {
    /// Hands a record to the writer; the answer comes when it is durable.
    ///
    /// Records of a lineage must be handed over in the order of their offsets: one that does not begin where the one
    /// before it ends, or that follows one that was refused, is `OutOfSequence`. Returns at once; an error
    /// here means that nothing was written.
    pub fn append(&self, entry: Entry) -> Result<Appended, AppendError> {
        let core = &self.inner.core;
        let admitted = self.check(&entry).and_then(|()| core.quota.admit(entry.purpose));
        if let Err(error) = admitted {
            core.metrics.refused.inc();
            return Err(error);
        }
        self.submit(entry, false)
    }

    /// Puts a record back that cannot be read, from a good copy of it.
    ///
    /// It has to be the record at these offsets: readers get it in place of the bad one.
    pub fn repair(&self, entry: Entry) -> Result<Appended, AppendError> {
        self.check(&entry)?;
        self.submit(entry, true)
    }

    fn check(&self, entry: &Entry) -> Result<(), AppendError> {
        let core = &self.inner.core;
        if core.is_dead() {
            return Err(core.dead_error());
        }
        let (length, length_max) = (entry.body.len(), core.limits.body_bytes_max);
        let ends = entry.first_offset.checked_add(u64::from(entry.count)).is_some();
        if length > length_max || entry.count == 0 || !ends {
            return Err(AppendError::Invalid { length, length_max });
        }
        Ok(())
    }

    fn submit(&self, entry: Entry, copied: bool) -> Result<Appended, AppendError> {
        let core = &self.inner.core;
        let length = entry.body.len() as u64;
        let (appended, answer) = Appended::new();
        let pending = Pending::new(entry, copied, answer);
        let bytes = pending.bytes();
        let before = core.in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > core.options.in_flight_bytes_max && before > 0 {
            core.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
            core.metrics.refused.inc();
            return Err(AppendError::Full { reason: FullReason::InFlight });
        }
        core.metrics.appends.inc();
        core.metrics.append_bytes.inc_by(length);
        if let Some(pending) = self.inner.queue.push(pending) {
            pending.answer(core, Err(AppendError::Stopped));
            return Err(AppendError::Stopped);
        }
        Ok(appended)
    }

    /// A reader of a lineage that begins with the record that holds `from`.
    pub fn reader(&self, lineage: Lineage, from: u64) -> LogReader {
        LogReader::new(self.inner.core.clone(), lineage, from)
    }

    /// The offset after the last durable one of a lineage (its cut, once it is cut); 0 if nothing is there.
    pub fn end(&self, lineage: Lineage) -> u64 {
        self.inner.core.index().end(&lineage)
    }

    /// Follows [`end`](Self::end). Ends when the lineage is forgotten.
    pub fn watch(&self, lineage: Lineage) -> watch::Receiver<u64> {
        let mut index = self.inner.core.index_mut();
        index.lineages.entry(lineage).or_default().durable.subscribe()
    }

    /// Becomes the reason once the log has died.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.inner.core.failure.subscribe()
    }

    /// What the log holds of a lineage, if anything.
    pub fn lineage(&self, lineage: Lineage) -> Option<LineageExtent> {
        self.inner.core.index().extent(&lineage)
    }

    /// Every lineage that the log holds something of, in order.
    pub fn lineages(&self) -> Vec<LineageExtent> {
        self.inner.core.index().extents()
    }

    /// Where the records of a listed kind ([`crate::LISTED_KIND_MIN`] and up) of a lineage stand, ascending.
    /// Of many in one segment the latest 4,096.
    pub fn listed(&self, lineage: Lineage, kind: u8) -> Vec<Listed> {
        self.inner.core.index().listed(&lineage, kind)
    }

    /// Says that nothing below `floor` is needed any more. Floors, cuts and what is forgotten are not in
    /// the log: whoever knows them says them again after each start.
    pub fn raise_floor(&self, lineage: Lineage, floor: u64) {
        self.inner.core.index_mut().raise_floor(lineage, floor);
        self.floors_moved();
    }

    /// Makes a lineage end at `end`: what it has from there on is void, never read and never copied.
    pub fn cut(&self, lineage: Lineage, end: u64) {
        self.inner.core.index_mut().cut(lineage, end);
        self.inner.core.cache.cut(&lineage, end);
        self.floors_moved();
    }

    /// Says that nothing of a lineage is needed any more.
    pub fn forget(&self, lineage: Lineage) {
        self.inner.core.index_mut().forget(lineage);
        self.inner.core.cache.forget(&lineage);
        self.floors_moved();
    }

    /// Offsets known to be unreadable, whether found by recovery, by a reader or while copying forward.
    /// Those that are no longer needed leave the list.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.inner.core.quarantine.list()
    }

    /// What the log uses of the disk, and the mark that holds. Cheap.
    pub fn usage(&self) -> Usage {
        let core = &self.inner.core;
        let quota = &core.quota;
        Usage {
            used_bytes: quota.used(),
            quota_bytes: quota.quota_bytes,
            spare_bytes: quota.spare(),
            free_bytes: quota.free(),
            mark: quota.mark(),
            segments: core.metrics.segments.get() as usize,
            in_flight_bytes: core.in_flight_bytes.load(Ordering::Relaxed),
        }
    }

    /// Bytes of the log from the segment that holds `from` of a lineage to the end: what a cursor there keeps
    /// from being freed at most.
    pub fn span_bytes(&self, lineage: Lineage, from: u64) -> u64 {
        self.inner.core.index().span_bytes(&lineage, from)
    }

    /// The longest body that a record may have.
    pub fn body_bytes_max(&self) -> usize {
        self.inner.core.limits.body_bytes_max
    }

    /// Puts the log's metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.core.metrics.register(registry);
    }

    /// Without threads ([`crate::LogOptions::threads`]): writes and answers everything that waits (if nothing
    /// does, a closing flush), then frees, recycles and copies forward as a log with threads would.
    /// Returns how many records it wrote.
    pub fn drive(&self) -> usize {
        let mut engine = self.inner.engine();
        let Engine::Hand(writer) = &mut *engine else { return 0 };
        let core = &self.inner.core;
        let mut written = 0;
        loop {
            let batch = self.inner.queue.take(&core.limits);
            if batch.is_empty() {
                break;
            }
            written += writer.commit(batch);
        }
        if written == 0 {
            writer.close_flush();
        }
        keeper::tidy(core, &mut |copies| {
            writer.commit(copies);
        });
        written
    }

    /// Writes what waits, and a closing flush, then gives up the directory. Later appends are `Stopped`.
    pub fn stop(self) {
        self.inner.stop();
    }

    fn floors_moved(&self) {
        if !self.inner.core.floors_moved.swap(true, Ordering::Relaxed) {
            self.inner.bell.ring();
        }
    }
}

impl Inner {
    fn engine(&self) -> std::sync::MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.queue.stop();
        self.bell.stop();
        let engine = std::mem::replace(&mut *self.engine(), Engine::Stopped);
        match engine {
            Engine::Threads(threads) => {
                // A panic in one has ended the log already; here it must not end whoever stops it.
                threads.into_iter().for_each(|thread| drop(thread.join()));
            }
            Engine::Hand(mut writer) => {
                run_writer(&self.core, &self.queue, &mut writer, &self.bell)
            }
            Engine::Stopped => return,
        }
        self.core.view_rows.apply(&self.core);
        self.core.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes until the queue is stopped and empty.
fn run_writer(core: &Core, queue: &Queue, writer: &mut Writer, bell: &Bell) {
    let _guard = Guard { core, queue };
    loop {
        match queue.next(&core.limits, Some(open::IDLE)) {
            Work::Write(batch) => {
                writer.commit(batch);
                if !core.pool.is_ready() {
                    bell.ring();
                }
            }
            Work::Idle => writer.close_flush(),
            Work::Stop => break writer.close_flush(),
        }
    }
}

/// Without a writer nobody may wait for an answer.
struct Guard<'a> {
    core: &'a Core,
    queue: &'a Queue,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let bug = std::io::Error::other("a bug, see the panic above");
            let error = self.core.die("the writer ended", &bug);
            self.queue.stop();
            for pending in self.queue.take_all() {
                pending.answer(self.core, Err(error.clone()));
            }
        }
    }
}

/// Tidies until stopped. Copies go through the queue like everybody's records.
fn run_keeper(core: &Core, queue: &Queue, bell: &Bell) {
    let mut submit = |copies: VecDeque<Pending>| {
        for copy in copies {
            if let Some(copy) = queue.push(copy) {
                copy.answer(core, Err(AppendError::Stopped));
            }
        }
    };
    loop {
        keeper::tidy(core, &mut submit);
        if !bell.wait() {
            break;
        }
    }
}
