//! Totals, read back from the records that carry them.

use std::ops::Range;

use bytes::Bytes;
use sdk_event::{BlockHeader, EventId, Lineage};
use sdk_wal::{Log, LogReadError, LogRecord};

use super::RecoverError;
use crate::record::{PutRecord, Record, kind};
use crate::totals::Totals;

/// What was put into a lineage below `offset`, by the last record there that says
/// so and can be read.
///
/// # Errors
/// See [`RecoverError`].
pub fn totals_below(log: &Log, lineage: Lineage, offset: u64) -> Result<Totals, RecoverError> {
    let mut at = offset;
    while at > 0 {
        let record = match log.reader(lineage, at - 1).next() {
            Ok(Some(record)) => record,
            Ok(None) | Err(LogReadError::Missing { .. }) => break,
            Err(LogReadError::Quarantined(range)) => {
                at = range.from.min(at - 1);
                continue;
            }
            Err(error) => return Err(RecoverError::Log(error)),
        };
        if record.end() <= offset
            && let Some(totals) = totals_of(&record)?
        {
            return Ok(totals);
        }
        at = record.first_offset.min(at - 1);
    }
    Ok(Totals::default())
}

/// Bytes put into a channel below `floor`, by the first record from there on that
/// says so. `None` if there is none below `end`.
pub(crate) fn bytes_below(
    log: &Log,
    lineage: Lineage,
    channel: u8,
    floor: u64,
    end: u64,
) -> Result<Option<u64>, RecoverError> {
    let before = |record: &LogRecord| {
        let Some(totals) = totals_of(record)? else { return Ok(None) };
        let Some(put) = put_of(record)? else {
            return Ok(Some(totals.channel(channel).bytes));
        };
        let mine = put.parts.iter().filter(|part| part.channels.contains(channel));
        let own: u64 = mine.map(|part| part.block.len() as u64).sum();
        Ok(Some(totals.channel(channel).bytes.saturating_sub(own)))
    };
    search(log, lineage, floor, end, before)
}

/// How many events a channel had in `[from, to)`, which can no longer be read:
/// the difference between the totals before and behind. Where those are gone too,
/// every offset counts as an event.
///
/// # Errors
/// See [`RecoverError`].
pub fn lost_events(
    log: &Log,
    lineage: Lineage,
    channel: u8,
    from: u64,
    to: u64,
    end: u64,
) -> Result<u64, RecoverError> {
    let behind = |record: &LogRecord| {
        let Some(totals) = totals_of(record)? else { return Ok(None) };
        let Some(put) = put_of(record)? else {
            return Ok(Some(totals.channel(channel).put));
        };
        let mine = put.parts.iter().filter(|part| part.channels.contains(channel));
        let own: u64 = mine.map(|part| events_of(&part.block)).sum();
        Ok(Some(totals.channel(channel).put.saturating_sub(own)))
    };
    let behind = search(log, lineage, to, end, behind)?;
    let known = from == 0 || log.lineage(lineage).is_some_and(|extent| extent.first < from);
    match behind {
        Some(behind) if known => {
            let before = totals_below(log, lineage, from)?.channel(channel).put;
            Ok(behind.saturating_sub(before).min(to - from))
        }
        _ => Ok(to - from),
    }
}

/// Records behind a block that are looked through for what it left out.
const GAP_RECORDS_MAX: u32 = 64;

/// The sequence number behind the last event of a block that can no longer be read. That of a dense one
/// follows from its offsets; one that was thinned out has a gap declared behind it, up to there.
///
/// # Errors
/// See [`RecoverError`].
pub fn sequences_behind(
    log: &Log,
    lineage: Lineage,
    block: Range<u64>,
    first: EventId,
) -> Result<u64, RecoverError> {
    let dense = first.sequence.saturating_add(block.end - block.start);
    let mut left = GAP_RECORDS_MAX;
    let behind = |record: &LogRecord| {
        left -= 1;
        let gap = match record.kind {
            kind::GAP => Record::decode(record).ok(),
            _ => None,
        };
        match gap {
            Some(Record::Gap(gap))
                if (gap.producer, gap.generation, gap.from)
                    == (first.producer, first.generation, dense) =>
            {
                Ok(Some(gap.to))
            }
            _ => Ok((left == 0).then_some(dense)),
        }
    };
    Ok(search(log, lineage, block.end, log.end(lineage), behind)?.unwrap_or(dense))
}

/// When the first put at or behind `offset` was stored, if there is one below `end`.
///
/// # Errors
/// See [`RecoverError`].
pub fn first_put_time(
    log: &Log,
    lineage: Lineage,
    offset: u64,
    end: u64,
) -> Result<Option<i64>, RecoverError> {
    let time = |record: &LogRecord| Ok((record.kind == kind::PUT).then_some(record.put_time_ms));
    search(log, lineage, offset, end, time)
}

/// Reads on from `from` until a record answers.
fn search<T>(
    log: &Log,
    lineage: Lineage,
    from: u64,
    end: u64,
    mut answer: impl FnMut(&LogRecord) -> Result<Option<T>, RecoverError>,
) -> Result<Option<T>, RecoverError> {
    let mut reader = log.reader(lineage, from);
    while reader.cursor() < end {
        match reader.next() {
            Ok(Some(record)) if record.end() > end => break,
            Ok(Some(record)) => {
                if let Some(answer) = answer(&record)? {
                    return Ok(Some(answer));
                }
            }
            Ok(None) => break,
            Err(LogReadError::Quarantined(range)) => reader.seek(range.to),
            Err(LogReadError::Missing { next, .. }) if next > reader.cursor() => reader.seek(next),
            Err(error) => return Err(RecoverError::Log(error)),
        }
    }
    Ok(None)
}

fn totals_of(record: &LogRecord) -> Result<Option<Totals>, RecoverError> {
    let wrong = |source| RecoverError::Record {
        lineage: record.lineage,
        offset: record.first_offset,
        source,
    };
    match record.kind {
        kind::PUT | kind::CHECKPOINT => match Record::decode(record).map_err(wrong)? {
            Record::Put(put) => put.totals().map(Some).map_err(wrong),
            Record::Checkpoint(part) => Ok(Some(part.totals)),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn put_of(record: &LogRecord) -> Result<Option<PutRecord>, RecoverError> {
    if record.kind != kind::PUT {
        return Ok(None);
    }
    match Record::decode(record) {
        Ok(Record::Put(put)) => Ok(Some(put)),
        Ok(_) => Ok(None),
        Err(source) => Err(RecoverError::Record {
            lineage: record.lineage,
            offset: record.first_offset,
            source,
        }),
    }
}

fn events_of(block: &Bytes) -> u64 {
    BlockHeader::decode(block).map_or(0, |header| u64::from(header.count))
}
