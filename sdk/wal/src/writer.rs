//! The writer: one group commit behind the other.

mod image;

use crate::contents::Contents;
use crate::core::Core;
use crate::entry::{LogRecord, Position};
use crate::error::AppendError;
use crate::flush::{Directory, FlushHeader};
use crate::footer;
use crate::format::{BLOCK, blocks};
use crate::index::{Index, Segment};
use crate::queue::Pending;
use crate::segment::FIRST_FLUSH_AT;
use crate::storage::write_all_at;
use crate::walk::SegmentFile;
use foldhash::HashMap;
use image::Image;
use sdk_event::Lineage;
use sdk_failpoints::mutant;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// The one that writes. Synchronous: a thread drives it, or a test.
pub(crate) struct Writer {
    core: Arc<Core>,
    tail: Option<Tail>,
    /// The number of the last flush.
    last_flush: u64,
    /// Its directory, which the next one repeats.
    previous: Option<Directory>,
}

/// The segment being written.
pub(crate) struct Tail {
    pub(crate) segment: SegmentFile,
    /// Where the next flush begins.
    pub(crate) at: u32,
}

impl Writer {
    /// Goes on behind the last flush.
    pub(crate) fn new(
        core: Arc<Core>,
        tail: Option<Tail>,
        last_flush: u64,
        previous: Option<Directory>,
    ) -> Self {
        Self { core, tail, last_flush, previous }
    }

    /// Writes and answers these, in order, in as few flushes as they fit in. Returns how many are durable.
    pub(crate) fn commit(&mut self, batch: VecDeque<Pending>) -> usize {
        let mut waiting = self.admit(batch);
        let mut written = 0;
        while !waiting.is_empty() {
            let flushed = self.make_room(&waiting).and_then(|fit| {
                let rest = waiting.split_off(fit);
                let records = std::mem::replace(&mut waiting, rest);
                self.flush(records)
            });
            match flushed {
                Ok(count) => written += count,
                Err(error) => {
                    let error = &error;
                    waiting.drain(..).for_each(|p| p.answer(&self.core, Err(error.clone())));
                }
            }
        }
        written
    }

    /// Writes an empty flush behind the last one, if that holds records: a start can tell then that all of
    /// it was durable. A log too full for it goes without.
    pub(crate) fn close_flush(&mut self) {
        let open = self.previous.as_ref().is_some_and(|previous| !previous.entries.is_empty());
        if open && !self.core.is_dead() && self.make_room(&VecDeque::new()).is_ok() {
            // A failure has ended the log, and whoever appends next is told.
            let _ = self.flush(VecDeque::new());
        }
    }

    /// Answers those that may not be written and returns the others.
    fn admit(&self, batch: VecDeque<Pending>) -> VecDeque<Pending> {
        let refused: Vec<Option<AppendError>> = {
            let index = self.core.index();
            let mut ends = HashMap::default();
            batch.iter().map(|pending| check(&index, &mut ends, pending).err()).collect()
        };
        if refused.iter().all(Option::is_none) {
            return batch;
        }
        let mut admitted = VecDeque::with_capacity(batch.len());
        for (pending, refused) in batch.into_iter().zip(refused) {
            match refused {
                None => admitted.push_back(pending),
                Some(error) => pending.answer(&self.core, Err(error)),
            }
        }
        admitted
    }

    /// Sees to it that a flush fits in the tail, and returns how many of the records it can take.
    fn make_room(&mut self, waiting: &VecDeque<Pending>) -> Result<usize, AppendError> {
        if self.core.is_dead() {
            return Err(self.core.dead_error());
        }
        if self.tail.is_some() {
            let fit = self.fit(waiting);
            if fit.is_some_and(|fit| fit > 0 || waiting.is_empty()) {
                return Ok(fit.unwrap_or(0));
            }
        }
        self.roll()?;
        Ok(self.fit(waiting).expect("what was admitted fits in an empty segment"))
    }

    /// How many of the records fit in what is left of the tail; `None` if not even an empty flush does.
    fn fit(&self, waiting: &VecDeque<Pending>) -> Option<usize> {
        let tail = self.tail.as_ref()?;
        let index = self.core.index();
        let contents = &index.segments.get(&tail.segment.number)?.contents;
        let before = self.previous.as_ref().map_or(0, |previous| previous.entries.len());
        let room = u64::from(tail.segment.length - tail.at);
        let fits = |records: usize, bytes: u64| {
            let flush = blocks(FlushHeader::bytes(records, before) as u64 + bytes);
            flush + footer::footer_bytes_with(contents, records) <= room
        };
        if !fits(0, 0) {
            return None;
        }
        let mut bytes = 0;
        let mut records = 0;
        for pending in waiting {
            bytes += pending.bytes();
            if !fits(records + 1, bytes) {
                break;
            }
            records += 1;
        }
        Some(records)
    }

    /// Ends the tail with a footer and goes on in the next segment.
    fn roll(&mut self) -> Result<(), AppendError> {
        // First the new one: on a full disk the old tail stays what it is.
        let segment = self.core.pool.take(&self.core)?;
        if let Some(tail) = self.tail.take() {
            self.write_footer(&tail)?;
        }
        let mut index = self.core.index_mut();
        let life = segment.life;
        index.segments.insert(
            segment.number,
            Segment { life, contents: Contents::new(), ..Segment::default() },
        );
        index.tail = Some(segment.number);
        drop(index);
        self.tail = Some(Tail { segment, at: FIRST_FLUSH_AT });
        self.core.measure();
        Ok(())
    }

    fn write_footer(&self, tail: &Tail) -> Result<(), AppendError> {
        let segment = &tail.segment;
        let footer = {
            let index = self.core.index();
            let contents = &index.segments[&segment.number].contents;
            let none = Directory { segment: segment.number, ..Directory::default() };
            let here = self.previous.as_ref().filter(|last| last.segment == segment.number);
            footer::encode(segment.life, segment.number, contents, here.unwrap_or(&none))
        };
        let at = u64::from(segment.length) - footer.len() as u64;
        write_all_at(&*segment.file, &mut [IoSlice::new(&footer)], at)
            .and_then(|()| segment.file.sync_data())
            .map_err(|error| self.core.die("cannot write a footer", &error))?;
        if let Some(closed) = self.core.index_mut().segments.get_mut(&segment.number) {
            closed.footer = true;
            closed.contents.close();
        }
        Ok(())
    }

    /// One write, one sync; then everybody is told.
    fn flush(&mut self, records: VecDeque<Pending>) -> Result<usize, AppendError> {
        let core = self.core.clone();
        let tail = self.tail.as_mut().expect("room was made");
        let number = self.last_flush + 1;
        let image = Image::new(&tail.segment, tail.at, number, self.previous.take(), &records);
        let written = image.bytes;
        sdk_failpoints::before!(Flush);
        let result = image.write(&*tail.segment.file).and_then(|()| {
            let start = (core.options.monotonic)();
            let sync = || tail.segment.file.sync_data();
            let synced = if mutant!(AckBeforeFsync) { Ok(()) } else { sync() };
            let synced = if mutant!(RetryFsync) { synced.or_else(|_| sync()) } else { synced };
            let took = (core.options.monotonic)().saturating_sub(start);
            core.metrics.fsync_seconds.observe(took.as_secs_f64());
            synced
        });
        if let Err(error) = result {
            let error = core.die("cannot write a flush", &error);
            records.into_iter().for_each(|pending| pending.answer(&core, Err(error.clone())));
            return Err(error);
        }
        sdk_failpoints::after!(Flush);
        let directory = image.directory;
        core.metrics.flushes.inc();
        core.metrics.written_bytes.inc_by(written);
        tail.at += written as u32;
        debug_assert_eq!(tail.at % BLOCK, 0);
        self.last_flush = number;
        publish(&core, number, &directory, tail, &records);
        let position = Position { segment: tail.segment.number, at: directory.at, flush: number };
        let count = records.len();
        records.into_iter().for_each(|pending| pending.answer(&core, Ok(position)));
        self.previous = Some(directory);
        if mutant!(AckBeforeFsync) {
            let synced = tail.segment.file.sync_data();
            synced.map_err(|error| core.die("cannot sync a flush", &error))?;
        }
        Ok(count)
    }
}

/// Whether a record may be written now; `ends` has the lineages to which this batch adds.
fn check(
    index: &Index,
    ends: &mut HashMap<Lineage, u64>,
    pending: &Pending,
) -> Result<(), AppendError> {
    let entry = &pending.entry;
    let state = index.lineages.get(&entry.lineage);
    if let Some(end) = state.and_then(|state| state.needs.cut).filter(|&cut| entry.end() > cut)
        && !(pending.copied && mutant!(CopyVoid))
    {
        return Err(AppendError::Cut { end });
    }
    if pending.copied {
        return Ok(());
    }
    let end = ends.get(&entry.lineage).copied().or(state.and_then(|state| state.end));
    if let Some(expected) = end.filter(|&end| end != entry.first_offset) {
        return Err(AppendError::OutOfSequence { expected });
    }
    ends.insert(entry.lineage, entry.end());
    Ok(())
}

/// Makes what is durable now visible: first the records, then the ends.
fn publish(
    core: &Core,
    number: u64,
    directory: &Directory,
    tail: &Tail,
    records: &VecDeque<Pending>,
) {
    core.cache.extend(records.iter().filter(|pending| !pending.copied).map(|pending| {
        let entry = &pending.entry;
        LogRecord {
            lineage: entry.lineage,
            kind: entry.kind,
            first_offset: entry.first_offset,
            count: entry.count,
            put_time_ms: entry.put_time_ms,
            body: entry.body.clone(),
        }
    }));
    let mut index = core.index_mut();
    let index = &mut *index;
    index.last_flush = number;
    let segment = index.segments.get_mut(&tail.segment.number).expect("the tail is in the index");
    let known = segment.contents.add(number, directory, tail.at);
    for run in &segment.contents.runs[known..] {
        core.view_rows.put(&run.lineage, run.first, tail.segment.number);
    }
    for pending in records {
        let entry = &pending.entry;
        if pending.copied {
            core.metrics.copied_records.inc();
            core.quarantine.remove(&entry.lineage, entry.first_offset);
            continue;
        }
        core.metrics.count_record(entry.kind);
        let state = index.lineages.entry(entry.lineage).or_default();
        state.end = Some(entry.end());
    }
    // Once per lineage and flush would do; a lineage's records mostly stand together.
    let mut last = None;
    for pending in records.iter().filter(|pending| !pending.copied) {
        if last.replace(pending.entry.lineage) != Some(pending.entry.lineage)
            && let Some(state) = index.lineages.get(&pending.entry.lineage)
        {
            state.announce();
        }
    }
}
