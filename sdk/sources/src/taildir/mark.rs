//! How far a file has been read, and how it is recognised.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::disk::{Identity, OpenFile};

/// The CRC32C of a file's first bytes: of the first KiB, or of as much as has
/// been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    length: u16,
    crc: u32,
}

impl Fingerprint {
    pub(super) const BYTES_MAX: usize = 1024;

    /// The fingerprint of a file up to `offset`, or `None` if it is shorter.
    pub(super) fn of(file: &OpenFile, offset: u64) -> std::io::Result<Option<Fingerprint>> {
        let length = offset.min(Self::BYTES_MAX as u64) as usize;
        let mut bytes = [0; Self::BYTES_MAX];
        let read = file.read_at(&mut bytes[..length], 0)?;
        let print = Fingerprint { length: length as u16, crc: crc32c::crc32c(&bytes[..length]) };
        Ok((read == length).then_some(print))
    }

    /// Whether a file still begins as it did.
    pub(super) fn matches(&self, file: &OpenFile) -> std::io::Result<bool> {
        Ok(Fingerprint::of(file, u64::from(self.length))? == Some(*self))
    }
}

/// How far a file has been read. Its fingerprint covers what lies below, so
/// that it is known to be of the bytes that were read and not of those that are
/// there by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The first byte that was not read.
    pub(super) offset: u64,
    /// How many parts of an over-long line were read; 0 between lines.
    pub(super) part: u32,
    /// Where that line begins.
    pub(super) line_start: u64,
    pub(super) print: Fingerprint,
}

impl Mark {
    /// Moves over `bytes`, which were read at the offset.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        let missing = Fingerprint::BYTES_MAX - usize::from(self.print.length);
        if missing > 0 {
            let more = &bytes[..missing.min(bytes.len())];
            self.print.crc = crc32c::crc32c_append(self.print.crc, more);
            self.print.length += more.len() as u16;
        }
        self.offset += bytes.len() as u64;
    }
}

/// What is stored about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) identity: Identity,
    pub(super) mark: Mark,
    /// When it was last read, by the wall clock.
    pub(super) seen_ms: i64,
    pub(super) path: PathBuf,
}

const VERSION: u8 = 1;
const FIXED_BYTES: usize = 1 + 8 + 8 + 8 + 4 + 8 + 2 + 4 + 8;

impl Position {
    /// Version, device, inode, offset, part, line start, fingerprint's length
    /// and CRC, time seen, path; little-endian.
    pub(super) fn encode(&self) -> Bytes {
        let path = self.path.as_os_str().as_bytes();
        let mut bytes = BytesMut::with_capacity(FIXED_BYTES + path.len());
        bytes.put_u8(VERSION);
        bytes.put_u64_le(self.identity.device);
        bytes.put_u64_le(self.identity.inode);
        bytes.put_u64_le(self.mark.offset);
        bytes.put_u32_le(self.mark.part);
        bytes.put_u64_le(self.mark.line_start);
        bytes.put_u16_le(self.mark.print.length);
        bytes.put_u32_le(self.mark.print.crc);
        bytes.put_i64_le(self.seen_ms);
        bytes.put_slice(path);
        bytes.freeze()
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Position> {
        if bytes.len() < FIXED_BYTES || bytes.get_u8() != VERSION {
            return None;
        }
        let identity = Identity { device: bytes.get_u64_le(), inode: bytes.get_u64_le() };
        let (offset, part) = (bytes.get_u64_le(), bytes.get_u32_le());
        let line_start = bytes.get_u64_le();
        let print = Fingerprint { length: bytes.get_u16_le(), crc: bytes.get_u32_le() };
        let seen_ms = bytes.get_i64_le();
        let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
        let full = usize::from(print.length) as u64 == offset.min(Fingerprint::BYTES_MAX as u64);
        let mark = Mark { offset, part, line_start, print };
        full.then_some(Position { identity, mark, seen_ms, path })
    }
}

/// A file's key among the source's positions: a number it keeps for life.
pub(super) fn key_bytes(key: u64) -> Bytes {
    Bytes::copy_from_slice(&key.to_be_bytes())
}

/// The number in a key that [`key_bytes`] made.
pub(super) fn key_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
