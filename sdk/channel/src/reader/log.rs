//! Puts from the log, by way of what is still in memory.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sdk_event::{Block, Lineage};
use sdk_flow::{ChannelSet, Positions, ReadError, Stored};
use sdk_wal::{Log, LogReadError, LogReader, LogRecord};
use smallvec::SmallVec;
use tokio::task::JoinHandle;

use super::{Found, Supply, trim};
use crate::recent::{Recent, RecentRecord};
use crate::record::{PutRecord, Record, kind};

/// Records of others that are looked at before a read comes back with nothing.
const SKIP_RECORDS_MAX: usize = 1024;

/// What a read from the log found, and the reader behind it.
type Read = Result<(LogReader, Collect), ReadError>;

/// The durable channel's supply: recent records if they reach back far enough,
/// otherwise the log.
pub(crate) struct LogSupply {
    log: Log,
    lineage: Lineage,
    channel: u8,
    recent: Option<Arc<Recent>>,
    /// Stands where the last read from the log ended.
    reader: Option<LogReader>,
    /// A read from the log, and where it began. Whoever waited for it may have gone away, as a sink does
    /// whenever a file is written: it is not begun again for that.
    reading: Option<(u64, JoinHandle<Read>)>,
    /// Read the disk on the caller's thread.
    inline: bool,
}

impl LogSupply {
    pub(crate) fn new(
        log: Log,
        lineage: Lineage,
        channel: u8,
        recent: Option<Arc<Recent>>,
        inline: bool,
    ) -> LogSupply {
        LogSupply { log, lineage, channel, recent, reader: None, reading: None, inline }
    }

    fn from_recent(&self, from: u64, limit: u64, bytes_max: usize) -> Option<Found> {
        let records = self.recent.as_ref()?.from(from, limit, bytes_max);
        let mut collect = Collect::new(self.channel, from, limit, bytes_max);
        for record in &records {
            collect.recent(record);
        }
        collect.found()
    }
}

#[async_trait]
impl Supply for LogSupply {
    async fn read(&mut self, from: u64, limit: u64, bytes_max: usize) -> Result<Found, ReadError> {
        if let Some(found) = self.from_recent(from, limit, bytes_max) {
            (self.reader, self.reading) = (None, None);
            return Ok(found);
        }
        let reading = match self.reading.take() {
            Some((at, reading)) if at == from => reading,
            _ => {
                let mut reader = match self.reader.take() {
                    Some(reader) if reader.cursor() == from => reader,
                    _ => self.log.reader(self.lineage, from),
                };
                let mut collect = Collect::new(self.channel, from, limit, bytes_max);
                if self.inline {
                    collect.read(&mut reader)?;
                    self.reader = Some(reader);
                    return collect.found().ok_or_else(|| nothing(from, limit));
                }
                let read = move || collect.read(&mut reader).map(|()| (reader, collect));
                tokio::task::spawn_blocking(read)
            }
        };
        let (_, reading) = self.reading.insert((from, reading));
        let read = reading.await;
        self.reading = None;
        let (reader, collect) = read.map_err(|error| ReadError::Storage(error.into()))??;
        self.reader = Some(reader);
        collect.found().ok_or_else(|| nothing(from, limit))
    }
}

fn nothing(from: u64, limit: u64) -> ReadError {
    ReadError::Storage(format!("nothing in the log from {from} to {limit}").into())
}

/// Gathers one channel's share of records that follow one another.
struct Collect {
    channel: u8,
    from: u64,
    limit: u64,
    /// Of what is read, as it is in memory.
    bytes_left: usize,
    records_left: usize,
    stored: Vec<Stored>,
    to: u64,
    quiet: bool,
}

impl Collect {
    fn new(channel: u8, from: u64, limit: u64, bytes_max: usize) -> Collect {
        Collect {
            channel,
            from,
            limit,
            bytes_left: bytes_max.max(1),
            records_left: SKIP_RECORDS_MAX,
            stored: Vec::new(),
            to: from,
            quiet: true,
        }
    }

    /// Reads until there is enough. An error only counts if there is nothing before it.
    fn read(&mut self, reader: &mut LogReader) -> Result<(), ReadError> {
        while self.bytes_left > 0 && self.records_left > 0 && self.to < self.limit {
            let cursor = reader.cursor();
            let taken = match reader.next() {
                Ok(Some(record)) if record.end() > self.limit => {
                    reader.seek(cursor);
                    return Ok(());
                }
                Ok(Some(record)) => self.record(&record),
                Ok(None) => return Ok(()),
                Err(error) => Err(self.error(error)),
            };
            match taken {
                Err(_) if self.to > self.from => {
                    reader.seek(self.to);
                    return Ok(());
                }
                taken => taken?,
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &LogRecord) -> Result<(), ReadError> {
        if record.first_offset > self.to {
            let (expected, found) = (self.to, record.first_offset);
            return Err(storage(LogReadError::OutOfSequence { expected, found }));
        }
        let mut bytes = record.body.len();
        if record.kind == kind::PUT {
            let Record::Put(put) = Record::decode(record).map_err(storage)? else {
                return Err(ReadError::Storage("a put record is none".into()));
            };
            let mut parts = SmallVec::new();
            for part in &put.parts {
                if part.channels.contains(self.channel) {
                    parts.push((part.positions.clone(), decode(&put, part.block.clone())?));
                }
            }
            // What compression saves on the disk it does not save in memory.
            let unpacked = parts.iter().map(|(_, block): &(_, Block)| block.memory_bytes());
            bytes = bytes.max(unpacked.sum());
            let dropped = put.dropped.iter();
            let dropped = dropped.filter(|dropped| dropped.channels.contains(self.channel));
            let dropped = dropped.map(|dropped| (dropped.rule.clone(), dropped.events)).collect();
            self.take(Stored {
                first_offset: record.first_offset,
                count: record.count,
                put_time_ms: record.put_time_ms,
                parts,
                dropped,
            });
        }
        self.pass(record.end(), record.kind == kind::CURSOR, bytes);
        Ok(())
    }

    fn recent(&mut self, record: &RecentRecord) {
        let mine = |channels: ChannelSet| channels.contains(self.channel);
        let parts = record.parts.iter().filter(|part| mine(part.channels));
        let parts: SmallVec<[(Positions, Block); 1]> =
            parts.map(|part| (part.positions.clone(), part.block.clone())).collect();
        let dropped = record.dropped.iter().filter(|dropped| mine(dropped.channels));
        let dropped = dropped.map(|dropped| (dropped.rule.clone(), dropped.events)).collect();
        self.take(Stored {
            first_offset: record.first_offset,
            count: record.count,
            put_time_ms: record.put_time_ms,
            parts,
            dropped,
        });
        self.pass(record.end(), record.quiet, 0);
    }

    fn take(&mut self, stored: Stored) {
        let stored = trim(stored, self.from);
        if !stored.parts.is_empty() || !stored.dropped.is_empty() {
            self.stored.push(stored);
        }
    }

    fn pass(&mut self, end: u64, quiet: bool, bytes: usize) {
        self.to = end;
        self.quiet &= quiet;
        self.records_left = self.records_left.saturating_sub(1);
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }

    fn found(self) -> Option<Found> {
        let found = Found { stored: self.stored, to: self.to, quiet: self.quiet };
        (self.to > self.from).then_some(found)
    }

    fn error(&self, error: LogReadError) -> ReadError {
        match error {
            LogReadError::Quarantined(range) => {
                ReadError::Lost { from: range.from.max(self.to), to: range.to.min(self.limit) }
            }
            other => storage(other),
        }
    }
}

/// The log's CRC held, so only a fault of ours makes a stored block unreadable.
fn decode(put: &PutRecord, block: Bytes) -> Result<Block, ReadError> {
    Block::decode(block).map_err(|error| {
        tracing::error!(%error, producer = %put.producer, "stored block cannot be read");
        storage(error)
    })
}

fn storage(error: impl std::error::Error + Send + Sync + 'static) -> ReadError {
    ReadError::Storage(Box::new(error))
}
