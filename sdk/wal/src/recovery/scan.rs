//! Reads a segment whose footer does not count.

use crate::contents::Contents;
use crate::flush::{Directory, DirectoryEntry};
use crate::quarantine::Quarantined;
use crate::segment::FIRST_FLUSH_AT;
use crate::walk::{Flush, Found, SegmentFile, Walk};
use std::io;
use tracing::error;

/// The flushes of a segment.
pub(super) struct Scan {
    flushes: Vec<Flush>,
}

impl Scan {
    pub(super) fn read(
        segment: &SegmentFile,
        successor: Option<(u64, Directory)>,
    ) -> io::Result<Self> {
        let (at, end) = (FIRST_FLUSH_AT, segment.length);
        let mut walk = Walk { segment, at, end, successor };
        let mut flushes = Vec::new();
        while let Some(flush) = walk.step()? {
            flushes.push(flush);
        }
        Ok(Self { flushes })
    }

    /// Takes the last flush away, with the directory of the one before it.
    pub(super) fn take_last(&mut self) -> Option<(Flush, Option<Directory>)> {
        let last = self.flushes.pop()?;
        Some((last, self.flushes.last().map(|flush| flush.directory.clone())))
    }

    /// Checks every record; the bad ones keep their place.
    pub(super) fn verify(
        &self,
        segment: &SegmentFile,
        quarantined: &mut Vec<Quarantined>,
    ) -> io::Result<()> {
        for flush in &self.flushes {
            if flush.found == Found::Lost {
                let (number, at) = (segment.number, flush.directory.at);
                error!(segment = number, at, to = flush.next_at, "flushes lost without identity");
            }
            let bad = bad_records(segment, &flush.directory)?;
            quarantined.extend(bad.into_iter().map(|at| {
                let entry = &flush.directory.entries[at];
                Quarantined::record(segment.number, entry, "checksum does not match")
            }));
        }
        Ok(())
    }

    /// The bug that takes any bad record for the end of the log.
    #[cfg(failpoints)]
    pub(super) fn cut(&mut self, segment: &SegmentFile) -> io::Result<()> {
        for at in 0..self.flushes.len() {
            let directory = &mut self.flushes[at].directory;
            if let Some(first) = bad_records(segment, directory)?.first() {
                directory.entries.truncate(*first);
                self.flushes.truncate(at + 1);
                break;
            }
        }
        Ok(())
    }

    pub(super) fn contents(&self) -> Contents {
        let mut contents = Contents::new();
        for flush in self.flushes.iter().filter(|flush| flush.found != Found::Lost) {
            contents.add(flush.number, &flush.directory, flush.next_at);
        }
        contents
    }
}

/// Read at once to check a flush.
const READ_BYTES: u64 = 4 << 20;

/// The positions in a directory of the records that are not what it lists.
pub(crate) fn bad_records(segment: &SegmentFile, directory: &Directory) -> io::Result<Vec<usize>> {
    let mut bad = Vec::new();
    let mut batch: Vec<(usize, u64, &DirectoryEntry)> = Vec::new();
    let mut check = |batch: &mut Vec<(usize, u64, &DirectoryEntry)>| -> io::Result<()> {
        let (Some(&(_, start, _)), Some(&(_, last, entry))) = (batch.first(), batch.last()) else {
            return Ok(());
        };
        let bytes = segment.read(start, (last + entry.record_bytes() - start) as usize)?;
        for (index, at, entry) in batch.drain(..) {
            let from = ((at - start) as usize).min(bytes.len());
            let to = (from + entry.record_bytes() as usize).min(bytes.len());
            if entry.check(segment.life, &bytes[from..to]).is_none() {
                bad.push(index);
            }
        }
        Ok(())
    };
    for (index, (at, entry)) in directory.places().enumerate() {
        let first = batch.first().map_or(at, |&(_, first, _)| first);
        if at + entry.record_bytes() - first > READ_BYTES {
            check(&mut batch)?;
        }
        batch.push((index, at, entry));
    }
    check(&mut batch)?;
    Ok(bad)
}
