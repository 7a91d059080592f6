//! A segment's name and its header: which life of which file this is.

use crate::format::{BLOCK, Fields, PutFields, VERSION};

/// Where the first flush of a segment begins.
pub(crate) const FIRST_FLUSH_AT: u32 = BLOCK;

const MAGIC: [u8; 4] = *b"CLSG";

/// The bytes of one copy of the header.
const HEADER_BYTES: usize = 36;

/// Where the copies stand: in different sectors, so that one bad sector spoils one of them.
const COPIES_AT: [usize; 2] = [0, 2048];

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Its number; flushes go on in the order of these.
    pub(crate) number: u64,
    /// Random, and part of every CRC in the segment: what an earlier life left behind never counts.
    pub(crate) life: u64,
    /// The length of the file.
    pub(crate) length: u32,
}

/// What became of reading a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    /// It is good.
    Good(SegmentHeader),
    /// It was written by a newer version.
    Newer(u16),
    /// Neither copy is good.
    Bad,
}

impl SegmentHeader {
    /// The first block of the segment.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(HEADER_BYTES);
        copy.extend_from_slice(&MAGIC);
        copy.put_u16(VERSION);
        copy.put_u16(0);
        copy.put_u64(self.number);
        copy.put_u64(self.life);
        copy.put_u32(self.length);
        copy.put_u32(0);
        copy.put_u32(crc32c::crc32c(&copy));
        let mut block = vec![0; BLOCK as usize];
        for at in COPIES_AT {
            block[at..at + HEADER_BYTES].copy_from_slice(&copy);
        }
        block
    }

    /// Reads the first block.
    pub(crate) fn decode(block: &[u8]) -> HeaderRead {
        let copies = COPIES_AT.iter().filter_map(|&at| block.get(at..at + HEADER_BYTES));
        let mut result = HeaderRead::Bad;
        for copy in copies {
            let (body, crc) = copy.split_at(HEADER_BYTES - 4);
            if body[..4] != MAGIC || Fields(crc).u32() != crc32c::crc32c(body) {
                continue;
            }
            let mut fields = Fields(&body[4..]);
            let version = fields.u16();
            if version > VERSION {
                result = HeaderRead::Newer(version);
                continue;
            }
            fields.u16();
            let (number, life, length) = (fields.u64(), fields.u64(), fields.u32());
            return HeaderRead::Good(Self { number, life, length });
        }
        result
    }
}

/// What a file in a log's directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// Segment of that number.
    Segment(u64),
    /// No longer needed, to be used again; the number it had.
    Spare(u64),
    /// Being made.
    New,
}

impl FileName {
    /// The name.
    pub(crate) fn format(self) -> String {
        match self {
            Self::Segment(number) => format!("{number:020}.segment"),
            Self::Spare(number) => format!("{number:020}.spare"),
            Self::New => "next.new".to_owned(),
        }
    }

    /// What a name means, if it is one of ours.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.split_once('.')?;
        if name == Self::New.format() {
            return Some(Self::New);
        }
        let digits = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
        let number = stem.parse().ok().filter(|_| digits)?;
        match extension {
            "segment" => Some(Self::Segment(number)),
            "spare" => Some(Self::Spare(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader =
        SegmentHeader { number: 7, life: 0x0123_4567_89ab_cdef, length: 1 << 26 };

    #[test]
    fn one_copy_of_the_header_is_enough() {
        let block = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&block), HeaderRead::Good(HEADER));
        for at in 0..block.len() {
            let mut flipped = block.clone();
            flipped[at] ^= 0x10;
            assert_eq!(SegmentHeader::decode(&flipped), HeaderRead::Good(HEADER), "{at}");
        }
        let mut both = block;
        both[8] ^= 1;
        both[2048 + 8] ^= 1;
        assert_eq!(SegmentHeader::decode(&both), HeaderRead::Bad);
        assert_eq!(SegmentHeader::decode(&[]), HeaderRead::Bad);
    }

    #[test]
    fn names_read_back_as_written() {
        for name in [FileName::Segment(12), FileName::Spare(u64::MAX), FileName::New] {
            assert_eq!(FileName::parse(&name.format()), Some(name));
        }
        for name in ["12.segment", "lock", "+0000000000000000012.segment", "meta.new"] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
