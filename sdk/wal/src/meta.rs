//! The file that fixes quota and length of segments when a directory is made.

use crate::error::OpenError;
use crate::format::{BLOCK, Fields, PutFields, VERSION};
use crate::options::{LogOptions, QUOTA_BYTES, QUOTA_SEGMENTS_MIN};
use crate::options::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::segment::FileName;
use crate::storage::{Storage, is_full, write_all_at};
use crate::walk::{Opened, SegmentFile};
use std::io::{self, IoSlice};
use std::path::Path;
use tracing::warn;

/// A directory that is made gets segments so short that its quota holds so many.
const FRESH_SEGMENTS_MIN: u64 = 8;

const NAME: &str = "meta";
const NEW_NAME: &str = "meta.new";
const MAGIC: [u8; 4] = *b"CLMT";
const BYTES: usize = 28;

/// What a directory was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) segment_bytes: u32,
    pub(crate) quota_bytes: u64,
}

impl Meta {
    /// Reads the file, or makes it. A damaged one is made again: the segments know their length.
    pub(crate) fn open(options: &LogOptions) -> Result<Self, OpenError> {
        let (storage, dir) = (&*options.storage, options.dir.as_path());
        let path = dir.join(NAME);
        let io_error = |action| {
            let path = path.clone();
            move |source| OpenError::Io { action, path, source }
        };
        let found = Self::read(storage, dir).map_err(io_error("read"))?;
        let mut meta = match found {
            Read::Good(meta) => meta,
            Read::Newer(found) => {
                return Err(OpenError::Newer { file: path, found, known: VERSION });
            }
            Read::None => Self::fresh(options).map_err(io_error("measure the disk of"))?,
        };
        meta.quota_bytes = options.quota_bytes.unwrap_or(meta.quota_bytes);
        meta.check()?;
        match found {
            Read::Good(found) if found == meta => (),
            _ => match meta.write(storage, dir) {
                // What it was made with still stands there, and a full disk must not keep a log closed.
                Err(error) if is_full(&error) && matches!(found, Read::Good(_)) => {
                    warn!(%error, "cannot note the new quota, it holds until the next start");
                }
                written => written.map_err(io_error("write"))?,
            },
        }
        Ok(meta)
    }

    fn check(&self) -> Result<(), OpenError> {
        let refuse = |reason| Err(OpenError::Options { reason });
        let (min, max) = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        if !(min..=max).contains(&self.segment_bytes) || !self.segment_bytes.is_multiple_of(BLOCK) {
            let bytes = self.segment_bytes;
            return refuse(format!(
                "a segment has {min} to {max} bytes, a multiple of {BLOCK}; not {bytes}"
            ));
        }
        let least = u64::from(self.segment_bytes) * QUOTA_SEGMENTS_MIN;
        if self.quota_bytes < least {
            let quota = self.quota_bytes;
            return refuse(format!(
                "the log's quota of {quota} bytes is below {least}, which {QUOTA_SEGMENTS_MIN} \
                 segments take: raise it, or free disk space"
            ));
        }
        Ok(())
    }

    fn fresh(options: &LogOptions) -> io::Result<Self> {
        let (storage, dir) = (&*options.storage, options.dir.as_path());
        let entries = storage.list(dir)?;
        let segments = entries.iter().filter_map(|entry| match FileName::parse(&entry.name) {
            Some(FileName::Segment(number)) => Some((number, entry.length)),
            _ => None,
        });
        let known = segments.clone().find_map(|(number, _)| {
            match SegmentFile::open(storage, dir, number, true) {
                Ok(Opened::Good(segment)) => Some(segment.length),
                _ => None,
            }
        });
        let ours: u64 = segments.map(|(_, length)| length).sum();
        let free = storage.free_bytes(dir)? + ours;
        let quota_bytes = options.quota_bytes.unwrap_or(QUOTA_BYTES.min(free / 2));
        let segment_bytes = known.unwrap_or(fitting(options.segment_bytes, quota_bytes));
        Ok(Self { segment_bytes, quota_bytes })
    }

    fn read(storage: &dyn Storage, dir: &Path) -> io::Result<Read> {
        let file = match storage.open(&dir.join(NAME), true) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.read_at(&mut bytes, BYTES, 0)?;
        Ok(Self::decode(&bytes))
    }

    fn decode(bytes: &[u8]) -> Read {
        if bytes.len() != BYTES || bytes[..4] != MAGIC {
            return Read::None;
        }
        let (body, crc) = bytes.split_at(BYTES - 4);
        if Fields(crc).u32() != crc32c::crc32c(body) {
            return Read::None;
        }
        let mut fields = Fields(&body[4..]);
        let version = fields.u16();
        if version > VERSION {
            return Read::Newer(version);
        }
        fields.u16();
        let (segment_bytes, _, quota_bytes) = (fields.u32(), fields.u32(), fields.u64());
        Read::Good(Self { segment_bytes, quota_bytes })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.put_u16(VERSION);
        bytes.put_u16(0);
        bytes.put_u32(self.segment_bytes);
        bytes.put_u32(0);
        bytes.put_u64(self.quota_bytes);
        bytes.put_u32(crc32c::crc32c(&bytes));
        bytes
    }

    fn write(&self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        let new = dir.join(NEW_NAME);
        match storage.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
        let file = storage.create(&new)?;
        write_all_at(&*file, &mut [IoSlice::new(&self.encode())], 0)?;
        file.sync_all()?;
        storage.rename(&new, &dir.join(NAME))?;
        storage.sync_dir(dir)
    }
}

/// Segments short enough that the quota holds several.
fn fitting(segment_bytes: u32, quota_bytes: u64) -> u32 {
    let mut fitting = segment_bytes;
    while u64::from(fitting) * FRESH_SEGMENTS_MIN > quota_bytes && fitting / 2 >= SEGMENT_BYTES_MIN
    {
        fitting = (fitting / 2).next_multiple_of(BLOCK);
    }
    fitting
}

#[derive(Clone, Copy)]
enum Read {
    Good(Meta),
    Newer(u16),
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_quota_gets_small_segments() {
        assert_eq!(fitting(64 << 20, 50 << 30), 64 << 20);
        assert_eq!(fitting(64 << 20, 100 << 20), 8 << 20);
        assert_eq!(fitting(64 << 20, 1), SEGMENT_BYTES_MIN);
    }

    #[test]
    fn reads_back_and_refuses_what_is_newer() {
        let meta = Meta { segment_bytes: 1 << 20, quota_bytes: 1 << 30 };
        let bytes = meta.encode();
        assert!(matches!(Meta::decode(&bytes), Read::Good(found) if found == meta));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 2;
            assert!(matches!(Meta::decode(&flipped), Read::None), "{at}");
        }
        let mut newer = bytes;
        newer[4] = VERSION as u8 + 1;
        let crc = crc32c::crc32c(&newer[..BYTES - 4]);
        newer[BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(Meta::decode(&newer), Read::Newer(2)));
    }
}
