//! A flush: one group commit, with the directory of its records and that of the flush before.

use crate::entry::Entry;
use crate::format::{Fields, PutFields, VERSION, set_u32};
use crate::record::{RECORD_HEADER_BYTES, RecordHeader};
use sdk_event::{EventId, Lineage, ProducerId};

/// The bytes before a flush's directories.
pub(crate) const FLUSH_HEADER_BYTES: usize = 64;

/// The bytes of one entry of a directory.
pub(crate) const DIRECTORY_ENTRY_BYTES: usize = 80;

/// Records of one flush at most.
pub(crate) const FLUSH_RECORDS_MAX: usize = 4096;

const MAGIC: [u8; 4] = *b"CLFL";
const FLAG_COPIED: u8 = 1;
const FLAG_IDENTITY: u8 = 2;
const CRC_AT: usize = 60;
const PREVIOUS_CRC_AT: usize = 56;
const PREVIOUS_AT: usize = 36;

/// One record, as the directory of its flush knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) lineage: Lineage,
    pub(crate) first_offset: u64,
    pub(crate) count: u32,
    pub(crate) identity: Option<EventId>,
    /// The length of its body.
    pub(crate) length: u32,
    /// The CRC in its header: a record of an earlier attempt at the same place is another one.
    pub(crate) crc: u32,
    pub(crate) kind: u8,
    pub(crate) copied: bool,
}

impl DirectoryEntry {
    pub(crate) fn of(entry: &Entry, copied: bool, crc: u32) -> Self {
        Self {
            lineage: entry.lineage,
            first_offset: entry.first_offset,
            count: entry.count,
            identity: entry.identity,
            length: entry.body.len() as u32,
            crc,
            kind: entry.kind,
            copied,
        }
    }

    /// The offset after its last.
    pub(crate) fn end(&self) -> u64 {
        self.first_offset.saturating_add(u64::from(self.count))
    }

    /// The bytes of the whole record.
    pub(crate) fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES as u64 + u64::from(self.length)
    }

    /// Checks a whole record: its own CRC, and that it is the one listed here.
    pub(crate) fn check(&self, life: u64, record: &[u8]) -> Option<RecordHeader> {
        let (header, crc) = RecordHeader::decode(life, record)?;
        let same = crc == self.crc
            && header.length == self.length
            && header.lineage == self.lineage
            && header.first_offset == self.first_offset
            && header.count == self.count
            && header.kind == self.kind
            && header.copied == self.copied;
        same.then_some(header)
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        let none = EventId { producer: ProducerId([0; 16]), generation: 0, sequence: 0 };
        let id = self.identity.unwrap_or(none);
        let flags = if self.copied { FLAG_COPIED } else { 0 };
        let flags = if self.identity.is_some() { flags | FLAG_IDENTITY } else { flags };
        buffer.put_lineage(&self.lineage);
        buffer.put_u32(self.count);
        buffer.put_u64(self.first_offset);
        buffer.extend_from_slice(&id.producer.0);
        buffer.put_u64(id.generation);
        buffer.put_u64(id.sequence);
        buffer.put_u32(self.length);
        buffer.put_u32(self.crc);
        buffer.extend_from_slice(&[self.kind, flags, 0, 0, 0, 0, 0, 0]);
        debug_assert_eq!(buffer.len() - start, DIRECTORY_ENTRY_BYTES);
    }

    /// Reads as many bytes as an entry has.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        let lineage = fields.lineage();
        let (count, first_offset) = (fields.u32(), fields.u64());
        let producer = ProducerId(fields.bytes());
        let id = EventId { producer, generation: fields.u64(), sequence: fields.u64() };
        let (length, crc, kind, flags) = (fields.u32(), fields.u32(), fields.u8(), fields.u8());
        let identity = (flags & FLAG_IDENTITY != 0).then_some(id);
        let copied = flags & FLAG_COPIED != 0;
        Self { lineage, first_offset, count, identity, length, crc, kind, copied }
    }
}

/// The directory of a flush, and where that flush stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    /// The segment.
    pub(crate) segment: u64,
    /// Where in the segment the flush begins.
    pub(crate) at: u32,
    /// How far behind that its first record begins.
    pub(crate) data_at: u32,
    /// Its records, one behind the other.
    pub(crate) entries: Vec<DirectoryEntry>,
}

impl Directory {
    /// Where the records begin in the segment.
    pub(crate) fn data_start(&self) -> u64 {
        u64::from(self.at) + u64::from(self.data_at)
    }

    /// Where the last record ends in the segment.
    pub(crate) fn data_end(&self) -> u64 {
        self.data_start() + self.entries.iter().map(DirectoryEntry::record_bytes).sum::<u64>()
    }

    /// The entries, each with where its record begins in the segment.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u64, &DirectoryEntry)> {
        self.entries.iter().scan(self.data_start(), |at, entry| {
            let start = *at;
            *at += entry.record_bytes();
            Some((start, entry))
        })
    }
}

/// What stands before the records of a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlushHeader {
    pub(crate) number: u64,
    pub(crate) directory: Directory,
    /// The flush before, if there was one and its repeated directory is good.
    pub(crate) previous: Option<Directory>,
}

impl FlushHeader {
    /// The bytes that header and directories take.
    pub(crate) fn bytes(records: usize, previous_records: usize) -> usize {
        FLUSH_HEADER_BYTES + DIRECTORY_ENTRY_BYTES * (records + previous_records)
    }

    /// Writes header and directories over the beginning of `buffer`, which has room for them.
    pub(crate) fn encode(&self, life: u64) -> Vec<u8> {
        let empty = Directory::default();
        let previous = self.previous.as_ref().unwrap_or(&empty);
        let directory = &self.directory;
        let (records, before) = (directory.entries.len(), previous.entries.len());
        let mut buffer = Vec::with_capacity(Self::bytes(records, before));
        buffer.extend_from_slice(&MAGIC);
        buffer.put_u16(VERSION);
        buffer.put_u16(0);
        buffer.put_u64(life);
        buffer.put_u64(self.number);
        buffer.put_u32(directory.at);
        buffer.put_u32(directory.data_at);
        buffer.put_u32(records as u32);
        buffer.put_u32(before as u32);
        buffer.put_u64(previous.segment);
        buffer.put_u32(previous.at);
        buffer.put_u32(previous.data_at);
        buffer.put_u32(0);
        buffer.put_u32(0);
        directory.entries.iter().for_each(|entry| entry.encode(&mut buffer));
        previous.entries.iter().for_each(|entry| entry.encode(&mut buffer));
        let split = Self::bytes(records, 0);
        let crc = previous_crc(life, &buffer, split);
        set_u32(&mut buffer, PREVIOUS_CRC_AT, crc);
        let crc = own_crc(&buffer, split);
        set_u32(&mut buffer, CRC_AT, crc);
        buffer
    }

    /// How many bytes the header at the front of `bytes` takes with its directories, if one is there.
    /// Nothing is checked but what a caller needs before it reads so many.
    pub(crate) fn peek(life: u64, at: u32, bytes: &[u8]) -> Option<usize> {
        let mut fields = Fields(bytes.get(..FLUSH_HEADER_BYTES)?);
        let (magic, version) = (fields.bytes::<4>(), fields.u16());
        fields.u16();
        let (found_life, _number, found_at) = (fields.u64(), fields.u64(), fields.u32());
        if magic != MAGIC || version > VERSION || found_life != life || found_at != at {
            return None;
        }
        let (_data_at, records, before) = (fields.u32(), fields.u32(), fields.u32());
        let sane = |count: u32| (count as usize <= FLUSH_RECORDS_MAX).then_some(count as usize);
        Some(Self::bytes(sane(records)?, sane(before)?))
    }

    /// The life that a header at the front of `bytes` says, if one is there: for a segment whose own header is lost.
    /// Nothing is checked but what [`peek`](Self::peek) checks.
    pub(crate) fn said_life(at: u32, bytes: &[u8]) -> Option<u64> {
        let life = Fields(bytes.get(8..16)?).u64();
        Self::peek(life, at, bytes).map(|_| life)
    }

    /// Reads header and directories of the flush that begins at `at` of a segment.
    pub(crate) fn decode(life: u64, segment: u64, at: u32, bytes: &[u8]) -> Option<Self> {
        let total = Self::peek(life, at, bytes)?;
        let mut fields = Fields(&bytes[16..FLUSH_HEADER_BYTES]);
        let (number, _at, data_at) = (fields.u64(), fields.u32(), fields.u32());
        let (records, before) = (fields.u32() as usize, fields.u32() as usize);
        let (previous_segment, previous_at) = (fields.u64(), fields.u32());
        let previous_data_at = fields.u32();
        let (found_previous_crc, found_crc) = (fields.u32(), fields.u32());
        let split = Self::bytes(records, 0);
        if bytes.len() < split || own_crc(bytes, split) != found_crc {
            return None;
        }
        let entries = |bytes: &[u8]| -> Vec<DirectoryEntry> {
            bytes.chunks_exact(DIRECTORY_ENTRY_BYTES).map(DirectoryEntry::decode).collect()
        };
        let directory =
            Directory { segment, at, data_at, entries: entries(&bytes[FLUSH_HEADER_BYTES..split]) };
        let previous_good = bytes.len() >= total
            && previous_at != 0
            && previous_crc(life, &bytes[..total], split) == found_previous_crc;
        let previous = previous_good.then(|| Directory {
            segment: previous_segment,
            at: previous_at,
            data_at: previous_data_at,
            entries: entries(&bytes[split..total]),
        });
        debug_assert_eq!(before, (total - split) / DIRECTORY_ENTRY_BYTES);
        Some(Self { number, directory, previous })
    }
}

fn own_crc(bytes: &[u8], split: usize) -> u32 {
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    crc32c::crc32c_append(crc, &bytes[FLUSH_HEADER_BYTES..split])
}

fn previous_crc(life: u64, bytes: &[u8], split: usize) -> u32 {
    let crc = crc32c::crc32c(&life.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &bytes[PREVIOUS_AT..PREVIOUS_CRC_AT]);
    crc32c::crc32c_append(crc, &bytes[split..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u64) -> DirectoryEntry {
        let producer = ProducerId([7; 16]);
        DirectoryEntry {
            lineage: Lineage { flow: 1, shard: 2, epoch: 3 },
            first_offset: offset,
            count: 2,
            identity: (offset > 0).then_some(EventId { producer, generation: 1, sequence: offset }),
            length: 100,
            crc: 0xdead_beef,
            kind: 200,
            copied: offset > 1,
        }
    }

    fn header() -> FlushHeader {
        let entries = vec![entry(0), entry(2)];
        FlushHeader {
            number: 11,
            directory: Directory { segment: 5, at: 8192, data_at: 304, entries },
            previous: Some(Directory {
                segment: 4,
                at: 4096,
                data_at: 64,
                entries: vec![entry(9)],
            }),
        }
    }

    #[test]
    fn a_header_reads_back_and_each_bit_counts() {
        let bytes = header().encode(77);
        assert_eq!(bytes.len(), FlushHeader::bytes(2, 1));
        assert_eq!(FlushHeader::decode(77, 5, 8192, &bytes), Some(header()));
        assert_eq!(FlushHeader::decode(78, 5, 8192, &bytes), None, "another life");
        assert_eq!(FlushHeader::decode(77, 5, 4096, &bytes), None, "another place");
        assert_eq!(FlushHeader::said_life(8192, &bytes), Some(77));
        assert_eq!(FlushHeader::said_life(4096, &bytes), None);
        let own = FlushHeader::bytes(2, 0);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match FlushHeader::decode(77, 5, 8192, &flipped) {
                None => assert!(bit / 8 < own),
                Some(read) => {
                    assert!(bit / 8 >= own, "{bit}");
                    assert_eq!(read, FlushHeader { previous: None, ..header() });
                }
            }
        }
    }

    #[test]
    fn records_stand_one_behind_the_other() {
        let directory = header().directory;
        let places: Vec<u64> = directory.places().map(|(at, _)| at).collect();
        assert_eq!(places, [8496, 8652]);
        assert_eq!(directory.data_end(), 8808);
    }
}
