//! One zlib stream out of chunks that are compressed apart.

use std::io::Error;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};

/// Deflate with a window of 32 KiB, and the check bits that go with it.
const HEADER: [u8; 2] = [0x78, 0x9c];

/// The last block, which is empty.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// Chains of zlib streams are read to the end by Hadoop alone: others stop after the first and say
/// nothing. So a file is one stream. Its chunks know nothing of each other and end with a byte; all
/// that is kept between them is the checksum.
#[derive(Debug, Clone)]
pub(crate) struct Zlib {
    begun: bool,
    checksum: Adler32,
}

impl Zlib {
    pub(crate) fn new() -> Zlib {
        Zlib { begun: false, checksum: Adler32 { a: 1, b: 0 } }
    }

    /// The next bytes of the stream.
    pub(crate) fn encode(&mut self, raw: &[u8], level: u32) -> Result<Bytes, Error> {
        let mut out = Vec::with_capacity(raw.len() / 2 + 64);
        self.begin(&mut out);
        self.checksum.update(raw);
        let mut deflate = Compress::new(Compression::new(level), false);
        loop {
            let done = usize::try_from(deflate.total_in()).map_err(Error::other)?;
            deflate
                .compress_vec(&raw[done..], &mut out, FlushCompress::Sync)
                .map_err(Error::other)?;
            // With room left over, everything is out, the end of the last byte as well.
            if deflate.total_in() == raw.len() as u64 && out.len() < out.capacity() {
                return Ok(out.into());
            }
            out.reserve(raw.len() / 4 + 64);
        }
    }

    /// The end of the stream.
    pub(crate) fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.begin(&mut out);
        out.extend_from_slice(&LAST_BLOCK);
        let mut out = BytesMut::from(out.as_slice());
        out.put_u32(self.checksum.value());
        out.freeze()
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&HEADER);
        }
    }
}

/// Zlib's checksum.
#[derive(Debug, Clone, Copy)]
struct Adler32 {
    a: u32,
    b: u32,
}

impl Adler32 {
    const MODULUS: u32 = 65_521;
    /// So many bytes can be summed before the sums overflow.
    const RUN: usize = 5552;

    fn update(&mut self, bytes: &[u8]) {
        for run in bytes.chunks(Adler32::RUN) {
            for byte in run {
                self.a += u32::from(*byte);
                self.b += self.a;
            }
            self.a %= Adler32::MODULUS;
            self.b %= Adler32::MODULUS;
        }
    }

    fn value(self) -> u32 {
        self.b << 16 | self.a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        let mut checksum = Adler32 { a: 1, b: 0 };
        checksum.update(b"Wikipedia");
        assert_eq!(checksum.value(), 0x11e6_0398);
        let mut long = Adler32 { a: 1, b: 0 };
        long.update(&[0xff; 1 << 20]);
        let mut pieces = Adler32 { a: 1, b: 0 };
        [0xff; 1 << 20].chunks(777).for_each(|piece| pieces.update(piece));
        assert_eq!(long.value(), pieces.value());
    }
}
