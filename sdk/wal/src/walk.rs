//! Reads the flushes of a segment, one behind the other, over damage.

use crate::flush::{Directory, DirectoryEntry, FLUSH_HEADER_BYTES, FlushHeader};
use crate::format::{BLOCK, blocks};
use crate::patient::PatientFile;
use crate::record::{RECORD_HEADER_BYTES, RecordHeader};
use crate::segment::{FileName, HeaderRead, SegmentHeader};
use crate::storage::{Storage, StorageFile, read_exact_at};
use bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Read at once where a flush begins: header and directories of up to 50 records, its own and those of the flush
/// before. Each drain that catches up reads it of each flush.
const HEADER_READ_BYTES: usize = BLOCK as usize;

/// Read at once in the search for a header behind a bad one.
const SEARCH_READ_BYTES: usize = 1 << 20;

/// A segment open to read, and to write if the log does.
#[derive(Clone)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) life: u64,
    pub(crate) length: u32,
    pub(crate) file: Arc<dyn StorageFile>,
}

/// What opening a segment found.
pub(crate) enum Opened {
    Good(SegmentFile),
    /// Written by a newer version.
    Newer(u16),
    /// Its header is another segment's.
    Other,
    /// Nothing in it says which life this is.
    Bad,
}

impl SegmentFile {
    /// Opens a segment by its number.
    pub(crate) fn open(
        storage: &dyn Storage,
        dir: &Path,
        number: u64,
        read_only: bool,
    ) -> io::Result<Opened> {
        let path = dir.join(FileName::Segment(number).format());
        let file = PatientFile::around(storage.open(&path, read_only)?, number);
        let mut block = Vec::with_capacity(BLOCK as usize);
        file.read_at(&mut block, BLOCK as usize, 0)?;
        Ok(match SegmentHeader::decode(&block) {
            HeaderRead::Good(header) if header.number != number => Opened::Other,
            HeaderRead::Good(SegmentHeader { life, length, .. }) => {
                Opened::Good(Self { number, life, length, file })
            }
            HeaderRead::Newer(version) => Opened::Newer(version),
            HeaderRead::Bad => Self::open_without_header(number, file)?,
        })
    }

    /// The life stands in every flush too.
    fn open_without_header(number: u64, file: Arc<dyn StorageFile>) -> io::Result<Opened> {
        let length = file.length()?.min(u64::from(u32::MAX)) as u32;
        for at in (BLOCK..length).step_by(BLOCK as usize) {
            let mut bytes = Vec::new();
            file.read_at(&mut bytes, FLUSH_HEADER_BYTES, u64::from(at))?;
            let Some(life) = FlushHeader::said_life(at, &bytes) else { continue };
            let segment = Self { number, life, length, file: Arc::clone(&file) };
            if segment.flush_at(at)?.is_some() {
                return Ok(Opened::Good(segment));
            }
        }
        Ok(Opened::Bad)
    }

    /// The header and directories of the flush that begins at `at`, if they are good.
    pub(crate) fn flush_at(&self, at: u32) -> io::Result<Option<FlushHeader>> {
        let mut bytes = Vec::with_capacity(HEADER_READ_BYTES);
        self.file.read_at(&mut bytes, HEADER_READ_BYTES, u64::from(at))?;
        let Some(total) = FlushHeader::peek(self.life, at, &bytes) else { return Ok(None) };
        if total > bytes.len() {
            let (more, from) = (total - bytes.len(), u64::from(at) + bytes.len() as u64);
            self.file.read_at(&mut bytes, more, from)?;
        }
        let header = FlushHeader::decode(self.life, self.number, at, &bytes);
        let inside = |header: &FlushHeader| header.directory.data_end() <= u64::from(self.length);
        Ok(header.filter(inside))
    }

    /// The first good flush that begins in `from..end`.
    pub(crate) fn flush_from(&self, from: u32, end: u32) -> io::Result<Option<FlushHeader>> {
        let mut at = from;
        while at < end {
            let length = SEARCH_READ_BYTES.min((end - at) as usize);
            let mut bytes = Vec::with_capacity(length);
            self.file.read_at(&mut bytes, length, u64::from(at))?;
            for (block, bytes) in bytes.chunks(BLOCK as usize).enumerate() {
                let at = at + block as u32 * BLOCK;
                if bytes.len() >= FLUSH_HEADER_BYTES
                    && FlushHeader::peek(self.life, at, bytes).is_some()
                    && let Some(header) = self.flush_at(at)?
                {
                    return Ok(Some(header));
                }
            }
            at += length as u32;
        }
        Ok(None)
    }

    /// The bytes of a range; fewer if the file ends before.
    pub(crate) fn read(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = Vec::with_capacity(length);
        self.file.read_at(&mut bytes, length, at)?;
        Ok(Bytes::from(bytes))
    }

    /// The record at a place, if it is the one listed.
    pub(crate) fn record(
        &self,
        at: u64,
        entry: &DirectoryEntry,
    ) -> io::Result<Option<(RecordHeader, Bytes)>> {
        let bytes = self.read(at, entry.record_bytes() as usize)?;
        let header = entry.check(self.life, &bytes);
        Ok(header.map(|header| (header, bytes.slice(RECORD_HEADER_BYTES..))))
    }

    /// Whether the file still is this life of this segment.
    pub(crate) fn is_current(&self) -> bool {
        let block = read_exact_at(&*self.file, BLOCK as usize, 0).unwrap_or_default();
        match SegmentHeader::decode(&block) {
            HeaderRead::Good(header) => header.life == self.life,
            // A header that was damaged may say nothing; only a new one says that the old life is over.
            _ => true,
        }
    }
}

/// How a flush was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// By its own header.
    Whole,
    /// Its header is bad; the next flush repeats its directory.
    ByNext,
    /// Header and repeated directory are bad: nothing is known of it, nor of how many flushes these are.
    Lost,
}

/// A flush of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Flush {
    /// 0 if lost.
    pub(crate) number: u64,
    pub(crate) directory: Directory,
    /// What its own header says of the flush before.
    pub(crate) previous: Option<Directory>,
    pub(crate) next_at: u32,
    pub(crate) found: Found,
}

/// A walk over the flushes of a segment.
pub(crate) struct Walk<'a> {
    pub(crate) segment: &'a SegmentFile,
    /// Where the next flush begins.
    pub(crate) at: u32,
    /// Where flushes end, or the end of the segment if that is to be found out.
    pub(crate) end: u32,
    /// The number and directory of the segment's last flush, as the flush after it repeats them.
    pub(crate) successor: Option<(u64, Directory)>,
}

impl Walk<'_> {
    /// The next flush; `None` at the end.
    pub(crate) fn step(&mut self) -> io::Result<Option<Flush>> {
        if self.end.saturating_sub(self.at) < BLOCK {
            return Ok(None);
        }
        let flush = match self.segment.flush_at(self.at)? {
            Some(header) => Some(whole(header)),
            None => self.over_damage()?,
        };
        if let Some(flush) = &flush {
            self.at = flush.next_at;
        }
        Ok(flush)
    }

    fn over_damage(&self) -> io::Result<Option<Flush>> {
        let later = self.segment.flush_from(self.at + BLOCK, self.end)?;
        let later_at = later.as_ref().map(|later| later.directory.at);
        let repeated = match later {
            Some(later) => later.previous.map(|directory| (later.number - 1, directory)),
            None => self.successor.clone(),
        };
        let here = repeated.filter(|(_, directory)| {
            directory.segment == self.segment.number && directory.at >= self.at
        });
        Ok(match (here, later_at) {
            (Some((number, directory)), _) if directory.at == self.at => {
                let next_at = later_at.unwrap_or(blocks(directory.data_end()) as u32);
                let found = Found::ByNext;
                Some(Flush { number, directory, previous: None, next_at, found })
            }
            (Some((_, directory)), _) => Some(self.lost(directory.at)),
            (None, Some(later_at)) => Some(self.lost(later_at)),
            (None, None) => None,
        })
    }

    fn lost(&self, next_at: u32) -> Flush {
        let (segment, at) = (self.segment.number, self.at);
        let directory = Directory { segment, at, data_at: 0, entries: Vec::new() };
        Flush { number: 0, directory, previous: None, next_at, found: Found::Lost }
    }
}

fn whole(header: FlushHeader) -> Flush {
    let FlushHeader { number, directory, previous } = header;
    let next_at = blocks(directory.data_end()) as u32;
    Flush { number, directory, previous, next_at, found: Found::Whole }
}
