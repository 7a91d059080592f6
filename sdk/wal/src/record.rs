//! A record's header and its CRC.

use crate::crc;
use crate::entry::Entry;
use crate::format::{Fields, PutFields};
use sdk_event::Lineage;

/// The bytes before a record's body.
pub(crate) const RECORD_HEADER_BYTES: usize = 56;

/// The record stands a second time in the log, for its place only, not for the end of its lineage.
const FLAG_COPIED: u8 = 1;

/// What stands before a record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) copied: bool,
    pub(crate) lineage: Lineage,
    pub(crate) first_offset: u64,
    pub(crate) count: u32,
    pub(crate) put_time_ms: i64,
}

impl RecordHeader {
    pub(crate) fn of(entry: &Entry, copied: bool) -> Self {
        Self {
            length: entry.body.len() as u32,
            kind: entry.kind,
            copied,
            lineage: entry.lineage,
            first_offset: entry.first_offset,
            count: entry.count,
            put_time_ms: entry.put_time_ms,
        }
    }

    /// Appends the header of a record in a segment of that life, given the CRC of its body; returns its own CRC.
    pub(crate) fn encode(&self, life: u64, body_crc: u32, buffer: &mut Vec<u8>) -> u32 {
        let start = buffer.len();
        buffer.put_u32(self.length);
        buffer.push(self.kind);
        buffer.push(if self.copied { FLAG_COPIED } else { 0 });
        buffer.put_u16(0);
        buffer.put_lineage(&self.lineage);
        buffer.put_u32(self.count);
        buffer.put_u64(self.first_offset);
        buffer.put_u64(self.put_time_ms as u64);
        let head = crc32c::crc32c_append(crc32c::crc32c(&life.to_le_bytes()), &buffer[start..]);
        let crc = crc::combine(head, body_crc, self.length);
        buffer.put_u32(crc);
        buffer.put_u32(0);
        debug_assert_eq!(buffer.len() - start, RECORD_HEADER_BYTES);
        crc
    }

    /// Reads a whole record and checks its CRC; the second is that CRC.
    pub(crate) fn decode(life: u64, record: &[u8]) -> Option<(Self, u32)> {
        let (header, body) = record.split_at_checked(RECORD_HEADER_BYTES)?;
        let mut fields = Fields(header);
        let length = fields.u32();
        let (kind, flags, zero) = (fields.u8(), fields.u8(), fields.u16());
        let lineage = fields.lineage();
        let (count, first_offset) = (fields.u32(), fields.u64());
        let (put_time_ms, crc, last) = (fields.i64(), fields.u32(), fields.u32());
        if length as usize != body.len() || zero != 0 || last != 0 || flags > FLAG_COPIED {
            return None;
        }
        let found = crc32c::crc32c(&life.to_le_bytes());
        let found = crc32c::crc32c_append(found, &header[..RECORD_HEADER_BYTES - 8]);
        let found = crc32c::crc32c_append(found, body);
        let copied = flags & FLAG_COPIED != 0;
        let decoded = Self { length, kind, copied, lineage, first_offset, count, put_time_ms };
        (found == crc || sdk_failpoints::mutant!(IgnoreCrc)).then_some((decoded, crc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RecordHeader = RecordHeader {
        length: 5,
        kind: 3,
        copied: false,
        lineage: Lineage { flow: 1, shard: 2, epoch: 3 },
        first_offset: 1000,
        count: 7,
        put_time_ms: -1,
    };

    #[test]
    fn every_bit_and_the_life_are_in_the_crc() {
        let mut record = Vec::new();
        let crc = HEADER.encode(9, crc32c::crc32c(b"hello"), &mut record);
        record.extend_from_slice(b"hello");
        assert_eq!(RecordHeader::decode(9, &record), Some((HEADER, crc)));
        assert_eq!(RecordHeader::decode(8, &record), None);
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(9, &flipped), None, "{bit}");
        }
        for length in 0..record.len() {
            assert_eq!(RecordHeader::decode(9, &record[..length]), None);
        }
    }
}
