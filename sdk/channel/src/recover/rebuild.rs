//! What a shard remembers, rebuilt from its log.

use std::sync::Arc;

use sdk_event::Lineage;
use sdk_flow::SourcePosition;
use sdk_wal::{Log, LogReadError, LogRecord, Quarantined, View};

use super::RecoverError;
use crate::admission::{BlockId, StoreError};
use crate::record::{CheckpointPart, Gap, Record, Registration, Section, kind};
use crate::shard::Remembered;

/// What was rebuilt.
pub struct Rebuilt {
    /// For [`Shard::open`](crate::Shard::open).
    pub remembered: Remembered,
    /// Records that could not be read on the way. Their producers are known by
    /// what the log still knows of them.
    pub unreadable: Vec<Quarantined>,
    /// Whether nothing was missing to begin with. If not, every checkpoint has
    /// rotted, and producers may be missing: they are told that they expired.
    pub exact: bool,
    /// Records read.
    pub records: u64,
}

impl Rebuilt {
    /// When the last record was put that was read; `None` if there was none.
    #[must_use]
    pub fn last_put_ms(&self) -> Option<i64> {
        self.remembered.last_put_ms
    }
}

/// Rebuilds what a shard remembers from its lineages, oldest first, each with its
/// length: exactly what was known at the end of the last of them. `into` is the
/// lineage that it is for, and `view` takes what does not fit in memory.
///
/// # Errors
/// See [`RecoverError`].
pub fn rebuild(
    log: &Log,
    lineages: &[(Lineage, u64)],
    into: Lineage,
    view: Option<Arc<dyn View>>,
) -> Result<Rebuilt, RecoverError> {
    if sdk_failpoints::mutant!(ForgetAdmission) {
        return Ok(Replay::new(log, into, view).rebuilt(true));
    }
    // A checkpoint is tried; if a part of it has rotted, the one before it is.
    for (at, (lineage, end)) in lineages.iter().enumerate().rev() {
        let mut below = *end;
        while let Some(first) = last_checkpoint(log, *lineage, below)? {
            let mut replay = Replay::new(log, into, view.clone());
            replay.lineage(*lineage, first, *end, Some(first))?;
            if replay.whole {
                for (lineage, end) in &lineages[at + 1..] {
                    replay.lineage(*lineage, 0, *end, None)?;
                }
                return Ok(replay.rebuilt(true));
            }
            tracing::error!(%lineage, first, "checkpoint is damaged, taking the one before");
            below = first;
        }
    }
    let mut replay = Replay::new(log, into, view);
    for (lineage, end) in lineages {
        replay.lineage(*lineage, 0, *end, None)?;
    }
    // A lineage takes nothing before its first checkpoint is complete, so without
    // one there was nothing to know; unless it has rotted.
    let exact = replay.unreadable.is_empty();
    Ok(replay.rebuilt(exact))
}

/// The offset at which the last checkpoint begins that is complete below `end`.
fn last_checkpoint(log: &Log, lineage: Lineage, mut end: u64) -> Result<Option<u64>, RecoverError> {
    let mut listed = log.listed(lineage, kind::CHECKPOINT);
    while let Some(part) = listed.pop() {
        if part.first_offset + u64::from(part.count) > end {
            continue;
        }
        match log.reader(lineage, part.first_offset).next() {
            Ok(Some(record)) if record.kind == kind::CHECKPOINT => {
                let part = checkpoint(&record)?;
                if part.last {
                    return Ok(Some(part.first));
                }
                // None of this one's parts is its last.
                end = part.first;
            }
            Ok(_) | Err(LogReadError::Quarantined(_) | LogReadError::Missing { .. }) => (),
            Err(error) => return Err(RecoverError::Log(error)),
        }
    }
    Ok(None)
}

fn checkpoint(record: &LogRecord) -> Result<CheckpointPart, RecoverError> {
    let wrong = |source| RecoverError::Record {
        lineage: record.lineage,
        offset: record.first_offset,
        source,
    };
    match Record::decode(record).map_err(wrong)? {
        Record::Checkpoint(part) => Ok(part),
        _ => Err(wrong(crate::record::RecordError::Malformed("it is no checkpoint"))),
    }
}

/// Applies records in their order.
struct Replay<'a> {
    log: &'a Log,
    remembered: Remembered,
    unreadable: Vec<Quarantined>,
    records: u64,
    /// Whether no part of the checkpoint was missing.
    whole: bool,
    /// Of the last record that counts: of a checkpoint, its last part.
    last_put_ms: Option<i64>,
}

impl<'a> Replay<'a> {
    fn new(log: &'a Log, into: Lineage, view: Option<Arc<dyn View>>) -> Replay<'a> {
        Replay {
            log,
            remembered: Remembered::nothing(into, view),
            unreadable: Vec::new(),
            records: 0,
            whole: false,
            last_put_ms: None,
        }
    }

    fn rebuilt(self, exact: bool) -> Rebuilt {
        let last_put_ms = self.last_put_ms;
        Rebuilt {
            remembered: Remembered { last_put_ms, ..self.remembered },
            unreadable: self.unreadable,
            exact,
            records: self.records,
        }
    }

    /// Applies what the log has of `[from, end)`, and watches that the checkpoint
    /// which begins at `checkpoint` is whole.
    fn lineage(
        &mut self,
        lineage: Lineage,
        from: u64,
        end: u64,
        checkpoint: Option<u64>,
    ) -> Result<(), RecoverError> {
        let mut reader = self.log.reader(lineage, from);
        let mut parts = 0;
        while reader.cursor() < end {
            match reader.next() {
                Ok(Some(record)) if record.end() > end => break,
                Ok(Some(record)) => {
                    let part = self.record(&record)?;
                    if let Some(part) = part.filter(|part| Some(part.first) == checkpoint) {
                        self.whole |= part.last && part.index == parts;
                        parts += 1;
                    }
                }
                Ok(None) => break,
                Err(LogReadError::Quarantined(range)) => {
                    reader.seek(range.to);
                    self.unreadable(&range)?;
                    self.unreadable.push(range);
                }
                Err(LogReadError::Missing { next, .. }) if next > reader.cursor() => {
                    reader.seek(next);
                }
                Err(error) => return Err(RecoverError::Log(error)),
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &LogRecord) -> Result<Option<CheckpointPart>, RecoverError> {
        self.records += 1;
        let time = record.put_time_ms;
        if record.kind != kind::CHECKPOINT {
            self.last_put_ms = Some(time);
        }
        let wrong = |source| RecoverError::Record {
            lineage: record.lineage,
            offset: record.first_offset,
            source,
        };
        let Remembered { table, facts, .. } = &mut self.remembered;
        let mut before = Vec::new();
        match Record::decode(record).map_err(wrong)? {
            Record::Put(put) => {
                let id = BlockId {
                    producer: put.producer,
                    generation: put.generation,
                    first_sequence: put.first_sequence,
                    count: put.count,
                    crc: Some(put.block_crc),
                };
                let epoch = record.lineage.epoch;
                table.apply_put(&id, epoch, record.first_offset, time).map_err(view)?;
                if let Some(position) = &put.source_position {
                    fold(facts, position, &mut before);
                }
            }
            Record::Registration(registration) => {
                table.apply_registration(&registration, time).map_err(view)?;
            }
            Record::Gap(gap) => table.apply_gap(&gap, time).map_err(view)?,
            Record::Close(close) => table.apply_close(&close, time).map_err(view)?,
            Record::Cursor(commit) => facts.apply_cursor(&commit, &mut before),
            Record::Position(position) => fold(facts, &position, &mut before),
            Record::Source(source) => facts.apply_source(&source, &mut before),
            Record::Lost(loss) => facts.lose(&loss, time, &mut before),
            Record::Stop => (),
            Record::Checkpoint(part) => {
                if part.last {
                    self.last_put_ms = Some(time);
                }
                match part.section {
                    Section::Producers => table.apply_part(&part).map_err(wrong)?,
                    Section::Facts => facts.apply_part(&part).map_err(wrong)?,
                }
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// A record that is there and cannot be read: the log knows whose it was.
    fn unreadable(&mut self, range: &Quarantined) -> Result<(), RecoverError> {
        let Some(identity) = range.identity else { return Ok(()) };
        let table = &mut self.remembered.table;
        let (producer, generation) = (identity.producer, identity.generation);
        let time = self.last_put_ms.unwrap_or_default();
        match range.kind {
            Some(kind::PUT) => {
                let count = u32::try_from(range.to - range.from).unwrap_or(u32::MAX);
                let first_sequence = identity.sequence;
                let id = BlockId { producer, generation, first_sequence, count, crc: None };
                table.apply_put(&id, range.lineage.epoch, range.from, time).map_err(view)
            }
            Some(kind::REGISTRATION) => {
                let registration = Registration {
                    producer,
                    generation,
                    next: identity.sequence,
                    fresh: false,
                    forgotten: None,
                };
                table.apply_registration(&registration, time).map_err(view)
            }
            Some(kind::GAP) => {
                let to = identity.sequence;
                let gap = Gap { producer, generation, from: to, to };
                table.apply_gap(&gap, time).map_err(view)
            }
            _ => Ok(()),
        }
    }
}

fn fold(
    facts: &mut crate::facts::Facts,
    position: &bytes::Bytes,
    before: &mut Vec<crate::facts::FactBefore>,
) {
    match SourcePosition::decode(position) {
        Ok(position) => facts.fold(position, before),
        // It was checked when it was put.
        Err(error) => tracing::error!(%error, "stored source position cannot be read"),
    }
}

fn view(error: StoreError) -> RecoverError {
    tracing::error!(%error, "the view failed while the admission table was rebuilt");
    RecoverError::View
}
