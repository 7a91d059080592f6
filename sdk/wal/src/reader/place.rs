//! Where a reader stands on the disk.

use crate::body::Body;
use crate::core::Core;
use crate::entry::LogRecord;
use crate::flush::{Directory, DirectoryEntry};
use crate::footer::{self, Footer};
use crate::index::Found;
use crate::record::RECORD_HEADER_BYTES;
use crate::recovery::successor;
use crate::walk::{SegmentFile, Walk};
use sdk_event::Lineage;
use std::collections::VecDeque;
use std::io;
use std::ops::Bound;

/// Bytes of others' records that are read along rather than skipped.
const GAP_BYTES_MAX: u64 = 16 << 10;

/// A run of offsets in a segment, and how far it was read.
pub(super) struct Place {
    pub(super) segment: SegmentFile,
    lineage: Lineage,
    run_first: u64,
    run_end: u64,
    /// The flush to look at.
    flush: Option<Directory>,
    /// Where the next flush begins.
    next_at: u32,
    end: u32,
    successor: Option<(u64, Directory)>,
}

/// What became of reading on.
pub(super) enum Taken {
    /// At least one record.
    Records,
    /// The next record is not what its directory says.
    Bad(DirectoryEntry),
    /// The run ends without it; the next offset there may be.
    Nothing(u64),
}

impl Place {
    /// Opens a place; `None` if it is gone meanwhile.
    pub(super) fn open(
        core: &Core,
        lineage: Lineage,
        found: Found,
        offset: u64,
    ) -> io::Result<Option<Self>> {
        let Some(segment) = core.open_segment(found.segment, found.life)? else { return Ok(None) };
        let mut next_at = found.at;
        let footer = match found.footer {
            true => footer::read(&*segment.file, segment.life, segment.number, segment.length)?,
            false => None,
        };
        let successor = match footer {
            Some(Footer { contents, last }) => {
                let run = contents.runs.get(found.run);
                if run.is_some_and(|run| run.contains(&lineage, offset)) {
                    next_at = contents.seek(found.run, offset);
                }
                Some((contents.last_flush, last))
            }
            None => successor_of(core, found.segment)?,
        };
        Ok(Some(Self {
            segment,
            lineage,
            run_first: found.run_first,
            run_end: found.run_end,
            flush: None,
            next_at,
            end: found.end,
            successor,
        }))
    }

    /// Whether an offset can be read on from here.
    pub(super) fn covers(&self, offset: u64) -> bool {
        self.run_first <= offset && offset < self.run_end
    }

    /// Takes records from the one that holds `cursor` on, until they have `bytes_max` bytes or their flush ends.
    pub(super) fn take(
        &mut self,
        cursor: u64,
        bytes_max: usize,
        records: &mut VecDeque<LogRecord>,
    ) -> io::Result<Taken> {
        loop {
            if let Some(flush) = &self.flush {
                let wanted = wanted(flush, &self.lineage, cursor, self.run_end);
                if !wanted.is_empty() {
                    return self.read(&wanted, bytes_max, records);
                }
                // Flushes of a run ascend: what is not here, and not behind, was lost.
                if let Some(beyond) = beyond(flush, &self.lineage, cursor, self.run_end) {
                    return Ok(Taken::Nothing(beyond));
                }
            }
            let (segment, at, end) = (&self.segment, self.next_at, self.end);
            let mut walk = Walk { segment, at, end, successor: self.successor.clone() };
            let Some(flush) = walk.step()? else { return Ok(Taken::Nothing(self.run_end)) };
            self.next_at = flush.next_at;
            self.flush = Some(flush.directory);
        }
    }

    fn read(
        &self,
        wanted: &[(u64, &DirectoryEntry)],
        bytes_max: usize,
        records: &mut VecDeque<LogRecord>,
    ) -> io::Result<Taken> {
        let mut bytes = 0;
        let mut rest = wanted;
        while let Some(((first_at, first), others)) = rest.split_first() {
            let room = bytes_max.saturating_sub(bytes) as u64;
            let mut end = first_at + first.record_bytes();
            let mut taken = 1;
            for (at, entry) in others {
                let entry_end = at + entry.record_bytes();
                if at - end > GAP_BYTES_MAX || entry_end - first_at > room {
                    break;
                }
                (end, taken) = (entry_end, taken + 1);
            }
            let buffer = self.segment.read(*first_at, (end - first_at) as usize)?;
            let (now, later) = rest.split_at(taken);
            for (at, entry) in now {
                let start = ((at - first_at) as usize).min(buffer.len());
                let end = (start + entry.record_bytes() as usize).min(buffer.len());
                let Some(header) = entry.check(self.segment.life, &buffer[start..end]) else {
                    let some = !records.is_empty();
                    return Ok(if some { Taken::Records } else { Taken::Bad((*entry).clone()) });
                };
                records.push_back(LogRecord {
                    lineage: header.lineage,
                    kind: header.kind,
                    first_offset: header.first_offset,
                    count: header.count,
                    put_time_ms: header.put_time_ms,
                    body: Body::from(buffer.slice(start + RECORD_HEADER_BYTES..end)),
                });
            }
            bytes += buffer.len();
            rest = later;
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(Taken::Records)
    }
}

/// The records of a flush that follow on the cursor without a gap.
fn wanted<'a>(
    flush: &'a Directory,
    lineage: &Lineage,
    cursor: u64,
    run_end: u64,
) -> Vec<(u64, &'a DirectoryEntry)> {
    let mut next = cursor;
    let mut wanted = Vec::new();
    for (at, entry) in flush.places().filter(|(_, entry)| entry.lineage == *lineage) {
        let follows = entry.first_offset <= next && next < entry.end() && next < run_end;
        // Only the first may begin before what is asked for.
        if follows && (wanted.is_empty() || entry.first_offset == next) {
            next = entry.end();
            wanted.push((at, entry));
        }
    }
    wanted
}

/// The least offset of the run in a flush, if all of the run in it lies behind the cursor.
fn beyond(flush: &Directory, lineage: &Lineage, cursor: u64, run_end: u64) -> Option<u64> {
    let entries = flush.entries.iter().filter(|entry| entry.lineage == *lineage);
    let behind = entries.filter(|entry| cursor < entry.first_offset && entry.end() <= run_end);
    behind.map(|entry| entry.first_offset).min()
}

/// What the segment's footer would say of its last flush, from the flush after that.
fn successor_of(core: &Core, number: u64) -> io::Result<Option<(u64, Directory)>> {
    let next = {
        let index = core.index();
        let mut later = index.segments.range((Bound::Excluded(number), Bound::Unbounded));
        later.next().map(|(&number, segment)| (number, segment.life))
    };
    let Some((number, life)) = next else { return Ok(None) };
    core.open_segment(number, life)?.map_or(Ok(None), |segment| successor(&segment))
}
