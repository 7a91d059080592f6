//! Copies what little is still needed of a segment to the end of the log, so that the segment can be freed.

use crate::body::Body;
use crate::contents::Run;
use crate::core::Core;
use crate::entry::{Answer, Appended, Entry, Purpose};
use crate::error::AppendError;
use crate::flush::DirectoryEntry;
use crate::index::{Index, Segment};
use crate::quarantine::Quarantined;
use crate::queue::Pending;
use crate::reader::can_read;
use crate::recovery::last_flush;
use crate::segment::FIRST_FLUSH_AT;
use crate::walk::{Flush, Found, SegmentFile, Walk};
use sdk_event::Lineage;
use sdk_failpoints::mutant;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

/// Only segments of which less than this share is needed are copied.
const NEEDED_PERCENT_MAX: u64 = 25;

/// Bytes of bodies copied at once.
const BATCH_BYTES: u64 = 1 << 20;

/// Whoever appends the copies and waits for them.
pub(crate) type Submit<'a> = &'a mut dyn FnMut(VecDeque<Pending>);

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// Everything needed stands elsewhere now.
    Whole,
    /// Something needed cannot be read.
    Bad,
    /// The log did not take it; another time.
    Refused,
}

/// Copies one segment if there is cause. Returns whether it did.
pub(crate) fn step(core: &Core, submit: Submit<'_>) -> io::Result<bool> {
    let Some((number, life)) = choose(core) else { return Ok(false) };
    let Some(segment) = core.open_segment(number, life)? else { return Ok(false) };
    // One that fails to be read must not keep the others from being copied.
    let (copied, failed) = match copy(core, &segment, submit) {
        Ok(copied) => (copied, None),
        Err(error) => (Copied::Bad, Some(error)),
    };
    let mut index = core.index_mut();
    if let Some(segment) = index.segments.get_mut(&number) {
        segment.stuck |= copied == Copied::Bad;
        if copied == Copied::Whole {
            segment.contents.runs.iter_mut().for_each(|run| run.dead = true);
        }
    }
    failed.map_or(Ok(copied == Copied::Whole), Err)
}

/// The segment with the smallest share still needed, if the log is above half of its quota.
fn choose(core: &Core) -> Option<(u64, u64)> {
    if !core.quota.wants_room() || core.is_dead() {
        return None;
    }
    let index = core.index();
    let length = u64::from(core.meta.segment_bytes);
    let needed = |segment: &Segment| -> u64 {
        segment.contents.runs.iter().map(|run| index.needed_bytes(run)).sum()
    };
    let candidates = index.closed().filter(|(_, segment)| !segment.stuck);
    let with_needed = candidates.map(|(number, segment)| (needed(segment), number, segment.life));
    let least = with_needed.filter(|&(needed, ..)| needed > 0).min()?;
    (least.0 * 100 < length * NEEDED_PERCENT_MAX).then_some((least.1, least.2))
}

/// Copies every needed record.
fn copy(core: &Core, segment: &SegmentFile, submit: Submit<'_>) -> io::Result<Copied> {
    let Some((end, runs)) = contents(&core.index(), segment.number) else {
        return Ok(Copied::Refused);
    };
    let at = FIRST_FLUSH_AT;
    let successor = last_flush(segment, || Ok(None))?;
    let mut walk = Walk { segment, at, end, successor };
    let mut batch = Batch::default();
    while let Some(flush) = walk.step()? {
        if flush.found == Found::Lost || !copy_flush(core, segment, &flush, &runs, &mut batch)? {
            return Ok(Copied::Bad);
        }
        if batch.bytes >= BATCH_BYTES && !batch.submit(core, submit) {
            return Ok(Copied::Refused);
        }
    }
    if walk.at != end {
        return Ok(Copied::Bad);
    }
    Ok(if batch.submit(core, submit) { Copied::Whole } else { Copied::Refused })
}

fn contents(index: &Index, number: u64) -> Option<(u32, Vec<Run>)> {
    let contents = &index.segments.get(&number)?.contents;
    Some((contents.end, contents.runs.clone()))
}

fn copy_flush(
    core: &Core,
    segment: &SegmentFile,
    flush: &Flush,
    runs: &[Run],
    batch: &mut Batch,
) -> io::Result<bool> {
    for (at, entry) in flush.directory.places() {
        let (lineage, offset) = (&entry.lineage, entry.first_offset);
        if !is_needed(core, entry, runs) || stands_later(core, segment.number, lineage, offset)? {
            continue;
        }
        let Some((header, body)) = segment.record(at, entry)? else {
            if core.index().stands_elsewhere(lineage, offset, segment.number) {
                continue;
            }
            let reason = "checksum does not match";
            core.quarantine(Quarantined::record(segment.number, entry, reason));
            return Ok(false);
        };
        batch.push(Entry {
            lineage: header.lineage,
            kind: header.kind,
            purpose: Purpose::Drain,
            first_offset: header.first_offset,
            count: header.count,
            put_time_ms: header.put_time_ms,
            identity: entry.identity,
            body: Body::from(body),
        });
    }
    Ok(true)
}

/// Whether a copy that was broken off has brought a record forward: then it need not go again. Only if that can be
/// read, for the one here goes with its segment.
fn stands_later(core: &Core, segment: u64, lineage: &Lineage, offset: u64) -> io::Result<bool> {
    let found = core.index().find(lineage, offset, u64::MAX);
    match found.filter(|found| found.segment > segment) {
        Some(found) => can_read(core, lineage, found, offset),
        None => Ok(false),
    }
}

fn is_needed(core: &Core, entry: &DirectoryEntry, runs: &[Run]) -> bool {
    let living =
        |run: &&Run| run.copied == entry.copied && run.contains(&entry.lineage, entry.first_offset);
    let index = core.index();
    runs.iter().filter(|run| !run.dead).any(|run| living(&run))
        && (index.needs(&entry.lineage, entry.first_offset..entry.end()) || mutant!(CopyVoid))
}

/// Copies on their way.
#[derive(Default)]
struct Batch {
    records: VecDeque<(Entry, Answer, Appended)>,
    bytes: u64,
}

impl Batch {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.body.len() as u64;
        let (appended, answer) = Appended::new();
        self.records.push_back((entry, answer, appended));
    }

    /// Appends the copies; `false` if one was not.
    fn submit(&mut self, core: &Core, submit: Submit<'_>) -> bool {
        let (mut pending, mut answers) = (VecDeque::new(), Vec::new());
        for (entry, answer, appended) in self.records.drain(..) {
            let copy = Pending::new(entry, true, answer);
            core.in_flight_bytes.fetch_add(copy.bytes(), Ordering::Relaxed);
            pending.push_back(copy);
            answers.push(appended);
        }
        self.bytes = 0;
        submit(pending);
        // What was cut meanwhile is not needed any more.
        let done = |answer| matches!(answer, Ok(_) | Err(AppendError::Cut { .. }));
        answers.into_iter().all(|appended| done(appended.wait()))
    }
}
