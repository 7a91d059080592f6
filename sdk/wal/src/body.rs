//! The bytes of a record: a few chunks that are never joined on the way to the disk.

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;
use std::io::IoSlice;

/// Chunks a body holds without an allocation of its own.
const CHUNKS_INLINE: usize = 4;

/// The bytes of a record, in one or more chunks.
///
/// What was appended keeps its chunks while it is in memory; what comes from the disk has one.
/// Read it through [`Buf`]: `copy_to_bytes` shares memory wherever a chunk holds what is asked for.
#[derive(Clone, Debug, Default)]
pub struct Body {
    chunks: SmallVec<[Bytes; CHUNKS_INLINE]>,
    length: usize,
    /// The CRC32C of so many chunks from the first on.
    hashed: Option<(usize, u32)>,
}

impl Body {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The chunks, none of them empty.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Adds a chunk at the end.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.length += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Computes the CRC of what is there, so that [`crate::Log::append`] has only that of later chunks to do:
    /// for whoever appends under a lock.
    pub fn hash(&mut self) {
        self.hashed = Some((self.chunks.len(), self.crc()));
    }

    /// All bytes in one piece: shared if there is one chunk, copied otherwise.
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            chunks => {
                let mut joined = BytesMut::with_capacity(self.length);
                chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
                joined.freeze()
            }
        }
    }

    /// The CRC32C of the bytes.
    pub(crate) fn crc(&self) -> u32 {
        let (done, crc) = self.hashed.unwrap_or((0, 0));
        self.chunks[done..].iter().fold(crc, |crc, chunk| crc32c::crc32c_append(crc, chunk))
    }
}

impl Buf for Body {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.first().map_or(&[], |chunk| chunk.as_ref())
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.chunks.iter().zip(slices);
        filled.map(|(chunk, slice)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.length, "advance past the end of a body");
        self.length -= count;
        self.hashed = None;
        while count > 0 {
            let first = &mut self.chunks[0];
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.chunks.remove(0);
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        assert!(length <= self.length, "copy past the end of a body");
        if length == 0 {
            return Bytes::new();
        }
        self.hashed = None;
        if self.chunks[0].len() >= length {
            let taken = self.chunks[0].split_to(length);
            self.length -= length;
            if self.chunks[0].is_empty() {
                self.chunks.remove(0);
            }
            return taken;
        }
        let mut joined = BytesMut::with_capacity(length);
        while joined.len() < length {
            let take = (length - joined.len()).min(self.chunks[0].len());
            joined.extend_from_slice(&self.chunks[0][..take]);
            self.advance(take);
        }
        joined.freeze()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::from_iter([bytes])
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut body = Self::default();
        chunks.into_iter().for_each(|chunk| body.push(chunk));
        body
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && {
            let bytes = |body: &Self| body.chunks.clone().into_iter().flatten();
            bytes(self).eq(bytes(other))
        }
    }
}

impl Eq for Body {}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(chunks: &[&'static str]) -> Body {
        chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect()
    }

    #[test]
    fn reads_the_same_however_it_is_cut() {
        let mut cut = body(&["he", "", "l", "lo wor", "ld"]);
        assert_eq!(cut, body(&["hello world"]));
        assert_eq!(cut.crc(), crc32c::crc32c(b"hello world"));
        assert_eq!(cut.to_bytes(), "hello world");
        assert_eq!(cut.copy_to_bytes(3), "hel");
        cut.advance(3);
        assert_eq!(cut.to_bytes(), "world");
        assert_eq!(cut.copy_to_bytes(5), "world");
        assert!(cut.is_empty() && cut.chunks().is_empty());
    }

    #[test]
    fn a_crc_begun_early_is_the_same() {
        let mut begun = body(&["hello ", "wor"]);
        begun.hash();
        begun.push(Bytes::from_static(b"ld"));
        assert_eq!(begun.crc(), crc32c::crc32c(b"hello world"));
        begun.advance(6);
        assert_eq!(begun.crc(), crc32c::crc32c(b"world"));
    }

    #[test]
    fn shares_memory_within_a_chunk() {
        let whole = Bytes::from_static(b"hello world");
        let mut body = Body::from(whole.clone());
        assert_eq!(body.copy_to_bytes(5).as_ptr(), whole.as_ptr());
    }
}
