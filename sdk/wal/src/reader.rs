//! Follows a lineage, from memory near its end, from the disk elsewhere.

mod place;

use crate::core::Core;
use crate::entry::LogRecord;
use crate::error::LogReadError;
use crate::index::Found;
use crate::quarantine::Quarantined;
use place::{Place, Taken};
use sdk_event::Lineage;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Bytes of records that a reader gets ahead at once; one record may be longer.
const AHEAD_BYTES: usize = 1 << 20;

/// Times that a reader looks again when what it found has moved meanwhile.
const LOOKS_MAX: usize = 8;

/// Follows a lineage, from memory while it is near the end, from the disk otherwise.
///
/// It returns only what is durable, in the order of offsets, each once, and never what a cut made void.
pub struct LogReader {
    core: Arc<Core>,
    lineage: Lineage,
    cursor: u64,
    /// Whether the next record has to begin at the cursor.
    follows: bool,
    ahead: VecDeque<LogRecord>,
    place: Option<Place>,
}

impl LogReader {
    pub(crate) fn new(core: Arc<Core>, lineage: Lineage, from: u64) -> Self {
        let ahead = VecDeque::new();
        Self { core, lineage, cursor: from, follows: false, ahead, place: None }
    }

    /// The next record that is durable; `None` at the end of the lineage (wait on [`crate::Log::watch`]).
    ///
    /// The first record may begin before the offset asked for. May read the disk, and so block: from
    /// async code call [`next_cached`](Self::next_cached) first. After an error the reader stands where it stood.
    #[expect(clippy::should_implement_trait, reason = "an iterator has no errors")]
    pub fn next(&mut self) -> Result<Option<LogRecord>, LogReadError> {
        if let Some(record) = self.next_cached() {
            return Ok(Some(record));
        }
        if self.at_end() {
            return Ok(None);
        }
        self.read_disk()?;
        Ok(self.pop())
    }

    /// The next record, if memory has it. Never reads the disk.
    pub fn next_cached(&mut self) -> Option<LogRecord> {
        if self.ahead.is_empty() {
            let end = self.core.index().end(&self.lineage);
            if self.cursor >= end {
                return None;
            }
            let (cache, ahead) = (&self.core.cache, &mut self.ahead);
            cache.read(&self.lineage, self.cursor, end, AHEAD_BYTES, ahead);
            if !self.ahead.is_empty() {
                self.place = None;
                self.core.metrics.cache_reads.inc_by(self.ahead.len() as u64);
            }
        }
        self.pop()
    }

    /// Whether the reader stands at the end of what is durable.
    pub fn at_end(&self) -> bool {
        self.cursor >= self.core.index().end(&self.lineage)
    }

    /// The lineage.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// The offset after the last record returned, or the one asked for.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Goes to another offset.
    pub fn seek(&mut self, offset: u64) {
        self.cursor = offset;
        self.follows = false;
        self.ahead.clear();
        self.place = None;
    }

    fn pop(&mut self) -> Option<LogRecord> {
        let record = self.ahead.front()?;
        // A cut may have come after the record was read ahead.
        if record.first_offset >= self.core.index().end(&self.lineage) {
            self.ahead.clear();
            return None;
        }
        let record = self.ahead.pop_front()?;
        self.cursor = record.end();
        self.follows = true;
        Some(record)
    }

    /// Gets at least one record ahead.
    fn read_disk(&mut self) -> Result<(), LogReadError> {
        let mut said: Option<LogReadError> = None;
        let mut below = u64::MAX;
        for look in 0..LOOKS_MAX {
            let place = match self.place.take() {
                Some(place) if place.covers(self.cursor) => place,
                // The first look may follow the view; if that led nowhere, the index decides.
                _ => match self.find(look == 0, below)? {
                    Some(place) => place,
                    None => break,
                },
            };
            let segment = place.segment.number;
            match self.read_at(place)? {
                None => {
                    self.core.metrics.disk_reads.inc_by(self.ahead.len() as u64);
                    return Ok(());
                }
                // What is bad in one place may be good in another: copied forward, or repaired.
                Some(bad @ LogReadError::Quarantined(_)) => {
                    below = if look > 0 { segment } else { u64::MAX };
                    said.get_or_insert(bad);
                }
                Some(error) => said = Some(error),
            }
        }
        let error = said.unwrap_or_else(|| self.missing());
        if let LogReadError::Quarantined(quarantined) = &error {
            self.core.quarantine(quarantined.clone());
        }
        Err(error)
    }

    /// Reads on from a place. `Some` is what is wrong there.
    fn read_at(&mut self, mut place: Place) -> Result<Option<LogReadError>, LogReadError> {
        let segment = place.segment.number;
        let io_error = |source: io::Error| LogReadError::Io { segment, source: Arc::new(source) };
        let taken = place.take(self.cursor, AHEAD_BYTES, &mut self.ahead).map_err(io_error)?;
        let bad = |reason: &str, to: u64| Quarantined {
            lineage: self.lineage,
            from: self.cursor,
            to,
            kind: None,
            identity: None,
            segment,
            reason: reason.into(),
        };
        let quarantined = match taken {
            Taken::Records => match self.ahead.front() {
                Some(first) if self.follows && first.first_offset != self.cursor => {
                    let found = first.first_offset;
                    self.ahead.clear();
                    return Ok(Some(LogReadError::OutOfSequence { expected: self.cursor, found }));
                }
                _ => {
                    self.place = Some(place);
                    return Ok(None);
                }
            },
            Taken::Bad(entry) => Quarantined::record(segment, &entry, "checksum does not match"),
            Taken::Nothing(next) => bad("no flush lists these offsets any more", next),
        };
        // Not bad, only gone: the segment was freed and begins another life.
        let same =
            self.core.index().segments.get(&segment).map(|s| s.life) == Some(place.segment.life);
        let gone = !same || !place.segment.is_current();
        Ok(Some(if gone { self.missing() } else { LogReadError::Quarantined(quarantined) }))
    }

    fn find(&self, by_view: bool, below: u64) -> Result<Option<Place>, LogReadError> {
        let found = if by_view {
            crate::view_rows::find(&self.core, &self.lineage, self.cursor)
        } else {
            self.core.index().find(&self.lineage, self.cursor, below)
        };
        let Some(found) = found else { return Ok(None) };
        let io_error = |source: io::Error| LogReadError::Io {
            segment: found.segment,
            source: Arc::new(source),
        };
        Place::open(&self.core, self.lineage, found, self.cursor).map_err(io_error)
    }

    fn missing(&self) -> LogReadError {
        let index = self.core.index();
        let end = index.end(&self.lineage);
        let next = index.next_offset(&self.lineage, self.cursor).unwrap_or(end);
        LogReadError::Missing { from: self.cursor, next: next.min(end) }
    }
}

/// Whether the record that holds an offset can be read where it was found.
pub(crate) fn can_read(
    core: &Core,
    lineage: &Lineage,
    found: Found,
    offset: u64,
) -> io::Result<bool> {
    let Some(mut place) = Place::open(core, *lineage, found, offset)? else { return Ok(false) };
    let mut records = VecDeque::new();
    Ok(matches!(place.take(offset, 1, &mut records)?, Taken::Records))
}
