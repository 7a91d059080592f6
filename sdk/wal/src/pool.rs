//! Where the next segment comes from: one made ready ahead, made anew or from one no longer needed.

use crate::core::Core;
use crate::error::{AppendError, FullReason};
use crate::segment::{FileName, SegmentHeader};
use crate::storage::{StorageFile, is_full, write_all_at};
use crate::walk::SegmentFile;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Spares kept whatever happens.
const SPARES_MIN: usize = 4;

/// Spares that nobody needed for so long are given back to the disk. Floors rise when files roll: what is freed then
/// is needed until the next roll, and making it anew would write every byte twice.
const SPARES_WINDOW: Duration = Duration::from_secs(600);

/// Files removed in one turn: each takes the file system a moment in which a sync may have to wait.
const REMOVED_MAX: usize = 8;

/// What there is beside the segments in use.
pub(crate) struct Pool {
    /// Named, durable, empty. Locked for a moment only: the writer looks here after each flush.
    ready: Mutex<Option<SegmentFile>>,
    /// Locked for as long as it takes to make a segment. `ready` is locked after it, never before.
    spares: Mutex<Spares>,
    /// How many there are, for those who cannot wait for a segment to be made.
    spare_files: AtomicUsize,
}

/// What a pool begins with.
#[derive(Default)]
pub(crate) struct PoolState {
    /// Named, durable, empty.
    pub(crate) ready: Option<SegmentFile>,
    /// Files named as spares, of the right length.
    pub(crate) spares: Vec<u64>,
    /// The number of the next segment.
    pub(crate) next_number: u64,
}

#[derive(Default)]
struct Spares {
    files: Vec<u64>,
    next_number: u64,
    /// The fewest there were since the window began, and when that was.
    fewest: usize,
    window_began: Duration,
    /// Those that may go.
    superfluous: usize,
}

impl Pool {
    pub(crate) fn new(state: PoolState) -> Self {
        let PoolState { ready, spares: files, next_number } = state;
        Self {
            ready: Mutex::new(ready),
            spare_files: AtomicUsize::new(files.len()),
            spares: Mutex::new(Spares { files, next_number, ..Spares::default() }),
        }
    }

    /// Makes a segment ready, unless one is. Called ahead of time, off the writer's path.
    pub(crate) fn prepare(&self, core: &Core) -> Result<(), AppendError> {
        self.with_spares(|spares| {
            if !self.is_ready() {
                let made = spares.make(core)?;
                *self.ready() = Some(made);
            }
            Ok(())
        })
    }

    /// Whether a segment is ready. Never waits for one that is being made.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    /// An empty segment whose name and life are durable.
    pub(crate) fn take(&self, core: &Core) -> Result<SegmentFile, AppendError> {
        if let Some(ready) = self.ready().take() {
            return Ok(ready);
        }
        self.with_spares(|spares| {
            // Perhaps one was being made.
            let ready = self.ready().take();
            ready.map_or_else(|| spares.make(core), Ok)
        })
    }

    /// Takes back the file of a segment that nobody needs. The caller has removed it from the index.
    pub(crate) fn give_back(&self, core: &Core, number: u64) -> io::Result<()> {
        self.with_spares(|spares| {
            let (from, to) = (FileName::Segment(number), FileName::Spare(number));
            sdk_failpoints::before!(Trim);
            core.options.storage.rename(&core.path(from), &core.path(to))?;
            sdk_failpoints::after!(Trim);
            spares.files.push(number);
            Ok(())
        })
    }

    /// Gives spares back to the disk: those that were not needed for long, and if room is `scarce` all but a few.
    pub(crate) fn trim(&self, core: &Core, now: Duration, scarce: bool) -> io::Result<()> {
        self.with_spares(|spares| spares.trim(core, now, scarce))
    }

    /// Bytes of files that hold nothing. Never waits for one that is being made.
    pub(crate) fn spare_bytes(&self, core: &Core) -> u64 {
        let files = self.spare_files.load(Ordering::Relaxed) + usize::from(self.is_ready());
        files as u64 * u64::from(core.meta.segment_bytes)
    }

    fn ready(&self) -> MutexGuard<'_, Option<SegmentFile>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_spares<T>(&self, change: impl FnOnce(&mut Spares) -> T) -> T {
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut spares);
        self.spare_files.store(spares.files.len(), Ordering::Relaxed);
        result
    }
}

impl Spares {
    fn trim(&mut self, core: &Core, now: Duration, scarce: bool) -> io::Result<()> {
        let above_min = self.files.len().saturating_sub(SPARES_MIN);
        if now.saturating_sub(self.window_began) >= SPARES_WINDOW {
            self.superfluous = self.fewest.saturating_sub(SPARES_MIN);
            (self.fewest, self.window_began) = (usize::MAX, now);
        }
        self.fewest = self.fewest.min(self.files.len());
        let all = if scarce { above_min } else { self.superfluous.min(above_min) };
        for _ in 0..all.min(REMOVED_MAX) {
            // The one that was freed first: the last ones are used again first.
            let spare = self.files.remove(0);
            self.superfluous = self.superfluous.saturating_sub(1);
            core.options.storage.remove(&core.path(FileName::Spare(spare)))?;
        }
        Ok(())
    }

    fn make(&mut self, core: &Core) -> Result<SegmentFile, AppendError> {
        let made = match self.files.pop() {
            Some(spare) => {
                let recycled = self.recycle(core, spare);
                if recycled.is_err() {
                    self.files.push(spare);
                }
                recycled
            }
            None => {
                core.check_quota()?;
                self.create(core)
            }
        };
        match made {
            Ok(segment) => {
                core.quota.set_disk_full(None);
                Ok(segment)
            }
            Err(error) if is_full(&error) => {
                let reason: std::sync::Arc<str> = error.to_string().into();
                core.quota.set_disk_full(Some(reason.clone()));
                Err(AppendError::Full { reason: FullReason::Disk(reason) })
            }
            Err(error) => Err(core.die("cannot make a segment", &error)),
        }
    }

    fn create(&mut self, core: &Core) -> io::Result<SegmentFile> {
        let storage = &*core.options.storage;
        let path = core.path(FileName::New);
        match storage.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
        let file = storage.create(&path)?;
        if let Err(error) = file.fill(u64::from(core.meta.segment_bytes)) {
            // Half a segment on a full disk helps nobody.
            let _ = storage.remove(&path);
            return Err(error);
        }
        let segment = self.begin_life(core, file, FileName::New)?;
        core.metrics.segments_made.inc();
        Ok(segment)
    }

    fn recycle(&mut self, core: &Core, spare: u64) -> io::Result<SegmentFile> {
        let storage = &*core.options.storage;
        // Until the old name is durably gone, what the file holds may be called back by a crash.
        storage.sync_dir(&core.options.dir)?;
        let file = storage.open(&core.path(FileName::Spare(spare)), false)?;
        let segment = self.begin_life(core, file, FileName::Spare(spare))?;
        core.metrics.segments_recycled.inc();
        Ok(segment)
    }

    /// Gives a file a new life and its name, both durable when this returns.
    fn begin_life(
        &mut self,
        core: &Core,
        file: std::sync::Arc<dyn StorageFile>,
        name: FileName,
    ) -> io::Result<SegmentFile> {
        let number = self.next_number;
        let life = life_of(number, (core.options.random)());
        let length = core.meta.segment_bytes;
        let header = SegmentHeader { number, life, length }.encode();
        write_all_at(&*file, &mut [IoSlice::new(&header)], 0)?;
        file.sync_all()?;
        let storage = &*core.options.storage;
        storage.rename(&core.path(name), &core.path(FileName::Segment(number)))?;
        // Even if the sync fails the name may be there: never use the number again.
        self.next_number += 1;
        if !sdk_failpoints::mutant!(SkipDirectorySync) {
            storage.sync_dir(&core.options.dir)?;
        }
        Ok(SegmentFile { number, life, length, file })
    }
}

/// A number that no other life of any file here has.
///
/// Segments' numbers never come again, so that not even randomness that repeats itself (a machine brought back
/// from an image of its memory) makes something of an earlier life count.
fn life_of(number: u64, random: u64) -> u64 {
    // Odd, so that each number gives another product.
    random ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
