//! Reads everything and checks it.

use crate::core::Core;
use crate::error::LogReadError;
use crate::flush::Directory;
use crate::quarantine::Quarantined;
use crate::recovery::{bad_records, last_flush};
use crate::segment::FIRST_FLUSH_AT;
use crate::walk::{Found, SegmentFile, Walk};
use std::io;
use std::sync::Arc;
use tracing::error;

/// Checks every record of the log; returns how many are good.
pub(crate) fn verify(core: &Core) -> Result<u64, LogReadError> {
    let segments: Vec<(u64, u64, u32)> = {
        let index = core.index();
        let segments = index.segments.iter();
        segments.map(|(number, segment)| (*number, segment.life, segment.contents.end)).collect()
    };
    let mut good = 0;
    let mut later = segments.iter().skip(1);
    for &(number, life, end) in &segments {
        let io_error =
            |source: io::Error| LogReadError::Io { segment: number, source: Arc::new(source) };
        let next = later.next().copied();
        // One that was freed meanwhile has nothing left to check.
        if let Some(segment) = core.open_segment(number, life).map_err(io_error)? {
            let next = || match next {
                Some((number, life, _)) => core.open_segment(number, life),
                None => Ok(None),
            };
            let last = last_flush(&segment, next).map_err(io_error)?;
            good += verify_segment(core, &segment, end, last).map_err(io_error)?;
        }
    }
    Ok(good)
}

fn verify_segment(
    core: &Core,
    segment: &SegmentFile,
    end: u32,
    successor: Option<(u64, Directory)>,
) -> io::Result<u64> {
    let mut walk = Walk { segment, at: FIRST_FLUSH_AT, end, successor };
    let mut good = 0;
    while let Some(flush) = walk.step()? {
        if flush.found == Found::Lost {
            let number = segment.number;
            error!(segment = number, at = flush.directory.at, "flushes lost without identity");
        }
        let bad = bad_records(segment, &flush.directory)?;
        good += (flush.directory.entries.len() - bad.len()) as u64;
        if bad.is_empty() || !segment.is_current() {
            continue;
        }
        for at in bad {
            let entry = &flush.directory.entries[at];
            let reason = "checksum does not match";
            let (lineage, offset) = (&entry.lineage, entry.first_offset);
            if core.index().stands_elsewhere(lineage, offset, segment.number) {
                continue;
            }
            core.quarantine(Quarantined::record(segment.number, entry, reason));
        }
    }
    Ok(good)
}
