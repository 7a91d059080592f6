//! Settles the last flush: cuts it, and writes again what is left.

use super::scan::bad_records;
use crate::flush::{Directory, FlushHeader};
use crate::format::blocks;
use crate::storage::write_all_at;
use crate::walk::{Flush, SegmentFile};
use std::io::{self, IoSlice};

/// The last flush as it counts.
pub(super) struct Settled {
    pub(super) number: u64,
    pub(super) directory: Directory,
    pub(super) next_at: u32,
    pub(super) records_cut: u64,
}

/// Cuts the flush from its first bad record on, and writes what is left in place, so that it is durable once the
/// segment is synced, even where a failed sync left pages that only read as if they were.
pub(super) fn settle(
    segment: &SegmentFile,
    flush: Flush,
    previous: Option<Directory>,
) -> io::Result<Settled> {
    let mut directory = flush.directory;
    let all = directory.entries.len();
    let first_bad = bad_records(segment, &directory)?.first().copied().unwrap_or(all);
    directory.entries.truncate(first_bad);
    // What was repeated had room; what was put together from elsewhere may not.
    let room = directory.data_at as usize;
    let fits = |previous: &Directory| FlushHeader::bytes(first_bad, previous.entries.len()) <= room;
    let previous = previous.filter(fits);
    let header = FlushHeader { number: flush.number, directory, previous };
    let mut bytes = header.encode(segment.life);
    let directory = header.directory;
    // A shorter directory leaves a gap before the records, which stay where they are.
    bytes.resize(directory.data_at as usize, 0);
    let data_bytes = (directory.data_end() - directory.data_start()) as usize;
    let data = segment.read(directory.data_start(), data_bytes)?;
    let next_at = blocks(directory.data_end()) as u32;
    let padding = vec![0; (u64::from(next_at) - directory.data_end()) as usize];
    let mut slices = [&bytes[..], &data[..], &padding[..]].map(IoSlice::new);
    write_all_at(&*segment.file, &mut slices, u64::from(directory.at))?;
    let records_cut = (all - first_bad) as u64;
    Ok(Settled { number: flush.number, directory, next_at, records_cut })
}
