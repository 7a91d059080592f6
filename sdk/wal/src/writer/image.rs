//! A flush as it will stand on the disk, without a copy of the bodies.

use crate::flush::{Directory, DirectoryEntry, FlushHeader};
use crate::format::blocks;
use crate::queue::Pending;
use crate::record::RecordHeader;
use crate::storage::{StorageFile, write_all_at};
use crate::walk::SegmentFile;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Chunks of bodies below this are copied: a slice of its own costs more.
const COPIED_BYTES_MAX: usize = 1024;

/// What a flush will be: small things in one buffer, large chunks where they are.
pub(super) struct Image<'a> {
    /// Header, directories, record headers, short chunks, padding.
    small: Vec<u8>,
    /// Long chunks, each with the length of `small` that goes before it.
    large: Vec<(usize, &'a [u8])>,
    at: u32,
    /// The length of the whole, in whole blocks.
    pub(super) bytes: u64,
    pub(super) directory: Directory,
}

impl<'a> Image<'a> {
    pub(super) fn new(
        segment: &SegmentFile,
        at: u32,
        number: u64,
        previous: Option<Directory>,
        records: &'a VecDeque<Pending>,
    ) -> Self {
        let before = previous.as_ref().map_or(0, |previous| previous.entries.len());
        let data_at = FlushHeader::bytes(records.len(), before);
        let mut small = vec![0; data_at];
        let mut large = Vec::new();
        let mut large_bytes = 0;
        let mut entries = Vec::with_capacity(records.len());
        for Pending { entry, body_crc, copied, .. } in records {
            let crc = RecordHeader::of(entry, *copied).encode(segment.life, *body_crc, &mut small);
            entries.push(DirectoryEntry::of(entry, *copied, crc));
            for chunk in entry.body.chunks() {
                if chunk.len() <= COPIED_BYTES_MAX {
                    small.extend_from_slice(chunk);
                } else {
                    large.push((small.len(), chunk.as_ref()));
                    large_bytes += chunk.len();
                }
            }
        }
        // Whole blocks: a direct write takes nothing else.
        let bytes = blocks((small.len() + large_bytes) as u64);
        small.resize(bytes as usize - large_bytes, 0);
        let directory = Directory { segment: segment.number, at, data_at: data_at as u32, entries };
        let header = FlushHeader { number, directory, previous };
        small[..data_at].copy_from_slice(&header.encode(segment.life));
        Self { small, large, at, bytes, directory: header.directory }
    }

    /// One `pwritev` (as many as the kernel asks for).
    pub(super) fn write(&self, file: &dyn StorageFile) -> io::Result<()> {
        let mut slices = Vec::with_capacity(2 * self.large.len() + 1);
        let mut done = 0;
        for &(before, chunk) in &self.large {
            slices.push(IoSlice::new(&self.small[done..before]));
            slices.push(IoSlice::new(chunk));
            done = before;
        }
        slices.push(IoSlice::new(&self.small[done..]));
        write_all_at(file, &mut slices, u64::from(self.at))
    }
}
