//! What is remembered of one producer.

use bytes::{BufMut as _, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::record::{Fields, RecordError};

const VERSION: u8 = 1;
const CLOSED: u8 = 1;
const HAS_LAST: u8 = 2;
const HAS_CRC: u8 = 4;

/// What a shard remembers of one producer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The numbering it puts under now.
    pub generation: u64,
    /// The sequence number expected next.
    pub next: u64,
    /// When it was last heard of, by the records it caused; epoch milliseconds.
    pub active_ms: i64,
    /// Whether it closed its session, at `active_ms`.
    pub closed: bool,
    /// The last block it put.
    pub last: Option<LastBlock>,
    /// Where its blocks are, by lineage, oldest first.
    pub spans: SmallVec<[Span; 1]>,
    /// Lower generations, each with the sequence number it ended at, oldest first.
    pub ends: SmallVec<[(u64, u64); 1]>,
}

/// The last block that a producer put; it ends the last span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastBlock {
    /// Under which numbering.
    pub generation: u64,
    /// The sequence number of its first event.
    pub first_sequence: u64,
    /// How many events it has.
    pub count: u32,
    /// Its CRC32C; unknown when the record can no longer be read.
    pub crc: Option<u32>,
}

/// A run of a producer's blocks in one lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lineage's epoch.
    pub epoch: u64,
    /// The numbering of the first.
    pub generation: u64,
    /// The first sequence number.
    pub first_sequence: u64,
    /// The offset behind the last block.
    pub end: u64,
}

impl Entry {
    /// Lineages told apart for one producer. Beyond it the two oldest count as one.
    pub(crate) const SPANS_MAX: usize = 16;
    /// Lower generations remembered.
    pub(crate) const ENDS_MAX: usize = 4;

    /// The span that has the block which ends before `(generation, end)`, if its
    /// lineage is still known.
    pub(crate) fn span(&self, generation: u64, end: u64) -> Option<&Span> {
        let mut spans = self.spans.iter().rev();
        spans.find(|span| (span.generation, span.first_sequence) < (generation, end))
    }

    /// A block was stored.
    pub(crate) fn stored(&mut self, block: LastBlock, epoch: u64, first_offset: u64) {
        let end = first_offset + u64::from(block.count);
        match self.spans.last_mut() {
            Some(span) if span.epoch == epoch && span.generation == block.generation => {
                span.end = end;
            }
            _ => self.spans.push(Span {
                epoch,
                generation: block.generation,
                first_sequence: block.first_sequence,
                end,
            }),
        }
        if self.spans.len() > Entry::SPANS_MAX {
            let oldest = self.spans.remove(0);
            self.spans[0].generation = oldest.generation;
            self.spans[0].first_sequence = oldest.first_sequence;
        }
        self.next = block.first_sequence + u64::from(block.count);
        self.last = Some(block);
    }

    /// Another numbering begins at `next`.
    pub(crate) fn renumber(&mut self, generation: u64, next: u64) {
        self.ends.push((self.generation, self.next));
        if self.ends.len() > Entry::ENDS_MAX {
            self.ends.remove(0);
        }
        (self.generation, self.next) = (generation, next);
    }

    /// Forgets where blocks are whose lineage is not to be known any more. Returns whether it did.
    pub(crate) fn prune(&mut self, known: impl Fn(u64) -> bool) -> bool {
        let before = self.spans.len();
        self.spans.retain(|span| known(span.epoch));
        self.spans.len() < before
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(128);
        let crc = self.last.and_then(|last| last.crc);
        bytes.put_u8(VERSION);
        bytes.put_u8(
            if self.closed { CLOSED } else { 0 }
                | if self.last.is_some() { HAS_LAST } else { 0 }
                | if crc.is_some() { HAS_CRC } else { 0 },
        );
        bytes.put_u8(self.spans.len() as u8);
        bytes.put_u8(self.ends.len() as u8);
        bytes.put_u64_le(self.generation);
        bytes.put_u64_le(self.next);
        bytes.put_i64_le(self.active_ms);
        if let Some(last) = self.last {
            bytes.put_u64_le(last.generation);
            bytes.put_u64_le(last.first_sequence);
            bytes.put_u32_le(last.count);
            bytes.put_u32_le(crc.unwrap_or(0));
        }
        for span in &self.spans {
            bytes.put_u64_le(span.epoch);
            bytes.put_u64_le(span.generation);
            bytes.put_u64_le(span.first_sequence);
            bytes.put_u64_le(span.end);
        }
        for (generation, end) in &self.ends {
            bytes.put_u64_le(*generation);
            bytes.put_u64_le(*end);
        }
        bytes.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Entry, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let flags = fields.u8()?;
        if flags & !(CLOSED | HAS_LAST | HAS_CRC) != 0 {
            return Err(RecordError::Malformed("a flag is unknown"));
        }
        let (spans, ends) = (usize::from(fields.u8()?), usize::from(fields.u8()?));
        if spans > Entry::SPANS_MAX || ends > Entry::ENDS_MAX {
            return Err(RecordError::Malformed("a producer has too many spans"));
        }
        let mut entry = Entry {
            generation: fields.u64()?,
            next: fields.u64()?,
            active_ms: fields.i64()?,
            closed: flags & CLOSED != 0,
            ..Entry::default()
        };
        if flags & HAS_LAST != 0 {
            let (generation, first_sequence) = (fields.u64()?, fields.u64()?);
            let (count, crc) = (fields.u32()?, fields.u32()?);
            let crc = (flags & HAS_CRC != 0).then_some(crc);
            entry.last = Some(LastBlock { generation, first_sequence, count, crc });
        }
        for _ in 0..spans {
            entry.spans.push(Span {
                epoch: fields.u64()?,
                generation: fields.u64()?,
                first_sequence: fields.u64()?,
                end: fields.u64()?,
            });
        }
        for _ in 0..ends {
            entry.ends.push((fields.u64()?, fields.u64()?));
        }
        fields.end()?;
        Ok(entry)
    }
}
