//! What is in a directory, and what of it counts.
//!
//! The last flush may be half there: from its first bad record on it is cut, valid or not, for none of that was ever
//! acknowledged. A bad record in an earlier flush is corruption, for the flush behind it was begun only after
//! `fdatasync` had returned 0: it keeps its place, under the identity that a directory gives it.

mod scan;
mod tail;

use crate::contents::Contents;
use crate::error::OpenError;
use crate::flush::Directory;
use crate::footer;
use crate::format::VERSION;
use crate::index::{Index, Segment};
use crate::options::LogOptions;
use crate::pool::PoolState;
use crate::quarantine::Quarantined;
use crate::segment::{FIRST_FLUSH_AT, FileName};
use crate::usage::LineageExtent;
use crate::walk::{Opened, SegmentFile};
use crate::writer::Tail;
use scan::Scan;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tracing::{error, warn};

/// What was found when a log was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Every lineage the log holds something of, in order.
    pub lineages: Vec<LineageExtent>,
    /// Offsets that are there and cannot be read, as far as segments were read. Others show when a reader
    /// comes to them.
    pub quarantined: Vec<Quarantined>,
    /// Records cut from the last flush: none of them was ever acknowledged.
    pub records_cut: u64,
    /// Segments that hold something.
    pub segments: usize,
    /// Segments that had to be read for want of a footer that counts.
    pub segments_scanned: usize,
    /// Whether the reserve file was given up to make room.
    pub reserve_released: bool,
    /// How long it took.
    pub took: Duration,
}

/// A directory after recovery.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) pool: PoolState,
    pub(crate) tail: Option<Tail>,
    pub(crate) previous: Option<Directory>,
    pub(crate) quarantined: Vec<Quarantined>,
    pub(crate) records_cut: u64,
    pub(crate) segments_scanned: usize,
}

/// Recovers a directory. When this returns everything counted is durable.
pub(crate) fn recover(options: &LogOptions, segment_bytes: u32) -> Result<Recovered, OpenError> {
    let recovering = Recovering { options, segment_bytes };
    let (segments, mut pool) = recovering.list()?;
    let mut found = recovering.read(&segments)?;
    let mut records_cut = 0;
    let mut previous = None;
    let mut tail = None;
    if let Some(last) = found.last.take() {
        let segment = &segments[last.segment];
        let io_error = recovering.io_error("settle the last flush of", segment.number);
        let settled = tail::settle(segment, last.flush, last.previous).map_err(io_error)?;
        records_cut = settled.records_cut;
        let contents = &mut found.contents[last.segment];
        let next_at = settled.next_at;
        contents.add(settled.number, &settled.directory, next_at);
        previous = Some(settled.directory);
        tail = Some(Tail { segment: segment.clone(), at: next_at });
    }
    // Bytes that only the page cache holds look like any others; nothing counts before this.
    for (segment, _) in segments.iter().zip(&found.contents).filter(|(_, c)| !c.is_empty()) {
        segment.file.sync_data().map_err(recovering.io_error("sync", segment.number))?;
    }
    let mut index = Index::new();
    index.tail = tail.as_ref().map(|tail| tail.segment.number);
    for (at, segment) in segments.into_iter().enumerate() {
        let contents = std::mem::take(&mut found.contents[at]);
        if contents.is_empty() {
            recovering.empty(segment, &index, &mut pool)?;
            continue;
        }
        index.last_flush = index.last_flush.max(contents.last_flush);
        let (life, footer) = (segment.life, found.footers[at]);
        index.segments.insert(segment.number, Segment { life, contents, footer, stuck: false });
    }
    index.take_stock();
    let mut quarantined = found.quarantined;
    quarantined.retain(|bad| !index.stands_elsewhere(&bad.lineage, bad.from, bad.segment));
    let segments_scanned = found.scanned;
    Ok(Recovered { index, pool, tail, previous, quarantined, records_cut, segments_scanned })
}

struct Recovering<'a> {
    options: &'a LogOptions,
    segment_bytes: u32,
}

/// What the segments hold; indexes are those of the list of segments.
struct Read {
    contents: Vec<Contents>,
    footers: Vec<bool>,
    last: Option<LastFlush>,
    quarantined: Vec<Quarantined>,
    scanned: usize,
}

/// The last flush of the log, which `contents` do not have yet.
struct LastFlush {
    segment: usize,
    flush: crate::walk::Flush,
    /// The directory of the flush before.
    previous: Option<Directory>,
}

impl Recovering<'_> {
    /// Opens the segments, ascending, and sorts the other files.
    fn list(&self) -> Result<(Vec<SegmentFile>, PoolState), OpenError> {
        let storage = &*self.options.storage;
        let dir = &self.options.dir;
        let dir_error = |action| {
            let path = dir.clone();
            move |source| OpenError::Io { action, path, source }
        };
        // Names that only memory holds look like any others, too.
        storage.sync_dir(dir).map_err(dir_error("sync"))?;
        let mut pool = PoolState::default();
        let mut segments = Vec::new();
        for entry in storage.list(dir).map_err(dir_error("list"))? {
            let Some(name) = FileName::parse(&entry.name) else { continue };
            if let FileName::Segment(number) | FileName::Spare(number) = name {
                pool.next_number = pool.next_number.max(number + 1);
            }
            match name {
                FileName::Segment(number) => segments.extend(self.open(number)?),
                FileName::Spare(number) if entry.length == u64::from(self.segment_bytes) => {
                    pool.spares.push(number);
                }
                FileName::Spare(_) | FileName::New => {
                    storage.remove(&dir.join(&entry.name)).map_err(dir_error("clear"))?;
                }
            }
        }
        pool.next_number = pool.next_number.max(1);
        segments.sort_by_key(|segment| segment.number);
        Ok((segments, pool))
    }

    fn open(&self, number: u64) -> Result<Option<SegmentFile>, OpenError> {
        let (storage, dir) = (&*self.options.storage, &self.options.dir);
        let opened = SegmentFile::open(storage, dir, number, false);
        match opened.map_err(self.io_error("open", number))? {
            Opened::Good(segment) => Ok(Some(segment)),
            Opened::Newer(found) => {
                let file = self.path(number);
                Err(OpenError::Newer { file, found, known: VERSION })
            }
            Opened::Other => {
                warn!(number, "segment has another's header, left alone");
                Ok(None)
            }
            Opened::Bad => {
                error!(number, "segment is unreadable from beginning to end, left alone");
                Ok(None)
            }
        }
    }

    /// Reads footers, and the segments whose footer does not count.
    fn read(&self, segments: &[SegmentFile]) -> Result<Read, OpenError> {
        let count = segments.len();
        let mut read = Read {
            contents: vec![Contents::default(); count],
            footers: vec![false; count],
            last: None,
            quarantined: Vec::new(),
            scanned: 0,
        };
        // The latest segment first: a footer counts only when a later flush exists.
        let mut later: Option<usize> = None;
        for at in (0..count).rev() {
            let segment = &segments[at];
            let io_error = || self.io_error("read", segment.number);
            if later.is_some() {
                let (file, life) = (&*segment.file, segment.life);
                let footer = footer::read(file, life, segment.number, segment.length);
                if let Some(mut footer) = footer.map_err(io_error())? {
                    footer.contents.close();
                    read.contents[at] = footer.contents;
                    read.footers[at] = true;
                    later = Some(at);
                    continue;
                }
            }
            let successor = match later {
                Some(later) => successor(&segments[later]).map_err(io_error())?,
                None => None,
            };
            let mut scan = Scan::read(segment, successor).map_err(io_error())?;
            #[cfg(failpoints)]
            if sdk_failpoints::mutant!(CutEarlierFlush) {
                scan.cut(segment).map_err(io_error())?;
            }
            if later.is_none() {
                read.last = scan.take_last().map(|(flush, previous)| {
                    let previous = flush.previous.clone().or(previous);
                    LastFlush { segment: at, flush, previous }
                });
            }
            scan.verify(segment, &mut read.quarantined).map_err(io_error())?;
            read.contents[at] = scan.contents();
            let last_is_here = read.last.as_ref().is_some_and(|last| last.segment == at);
            if !read.contents[at].is_empty() || last_is_here {
                later = Some(at);
                read.scanned += 1;
            }
        }
        Ok(read)
    }

    /// A segment without a flush is the next one, or a spare.
    fn empty(
        &self,
        segment: SegmentFile,
        index: &Index,
        pool: &mut PoolState,
    ) -> Result<(), OpenError> {
        let number = segment.number;
        if pool.ready.is_none() && index.tail.is_none_or(|tail| number > tail) {
            pool.ready = Some(segment);
            return Ok(());
        }
        let spare = self.options.dir.join(FileName::Spare(number).format());
        let renamed = self.options.storage.rename(&self.path(number), &spare);
        renamed.map_err(self.io_error("set aside", number))?;
        pool.spares.push(number);
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.options.dir.join(FileName::Segment(number).format())
    }

    fn io_error(
        &self,
        action: &'static str,
        number: u64,
    ) -> impl FnOnce(io::Error) -> OpenError + use<> {
        let path = self.path(number);
        move |source| OpenError::Io { action, path, source }
    }
}

/// Number and directory of the last flush of a segment, by its footer, or by the segment that follows.
pub(crate) fn last_flush(
    segment: &SegmentFile,
    next: impl FnOnce() -> io::Result<Option<SegmentFile>>,
) -> io::Result<Option<(u64, Directory)>> {
    let (file, life) = (&*segment.file, segment.life);
    if let Some(footer) = footer::read(file, life, segment.number, segment.length)? {
        return Ok(Some((footer.contents.last_flush, footer.last)));
    }
    next()?.map_or(Ok(None), |next| successor(&next))
}

/// What the first flush of a segment repeats: number and directory of the last one before it.
pub(crate) fn successor(segment: &SegmentFile) -> io::Result<Option<(u64, Directory)>> {
    let first = segment.flush_at(FIRST_FLUSH_AT)?;
    Ok(first.and_then(|first| Some((first.number - 1, first.previous?))))
}

impl Index {
    /// Finds the ends of lineages from what the segments hold.
    fn take_stock(&mut self) {
        self.bury_copied();
        for run in self.segments.values().flat_map(|segment| &segment.contents.runs) {
            let state = self.lineages.entry(run.lineage).or_default();
            state.end = Some(state.end.unwrap_or(0).max(run.end));
        }
        self.lineages.values().for_each(|state| state.announce());
    }
}
