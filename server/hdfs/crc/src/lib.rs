//! Stands in for the crate `crc` (<https://crates.io/crates/crc>) under `hdfs-native`, its only user here, by
//! `[patch.crates-io]` in the workspace's `Cargo.toml`.
//!
//! That crate computes every CRC there is from tables; what `hdfs-native` computes of each byte written and read
//! is CRC32C, for which processors have an instruction. More than half of the CPU time of a client that writes was
//! spent there. This has the part of the interface that `hdfs-native` uses, and leaves the work to `crc32c` and
//! `crc32fast`. `cargo xtask bench hdfs` compares with the client as it comes, tables and all.
//!
//! Whatever else in the tree asks for `crc` 3 gets this too: what it has not, that does not compile. If `hdfs-native`
//! asks for another version one day, or no longer, Cargo warns that the patch is unused; then this is to go.

use std::marker::PhantomData;

/// Which CRC.
pub struct Algorithm {
    /// The CRC of bytes behind others, from that of the others.
    append: fn(u32, &[u8]) -> u32,
}

/// CRC32C, as HDFS writes it (`dfs.checksum.type` CRC32C).
pub const CRC_32_ISCSI: Algorithm = Algorithm { append: crc32c::crc32c_append };

/// CRC32, which files have that were written with `dfs.checksum.type` CRC32.
pub const CRC_32_ISO_HDLC: Algorithm = Algorithm { append: append_crc32 };

fn append_crc32(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// With how many tables the crate that this stands in for would work. Says nothing here.
pub struct Table<const LANES: usize>;

/// A CRC to compute, `W` wide: always 32 bits.
pub struct Crc<W, I> {
    append: fn(u32, &[u8]) -> u32,
    parameters: PhantomData<(W, I)>,
}

impl<I> Crc<u32, I> {
    /// The CRC of an algorithm.
    pub const fn new(algorithm: &Algorithm) -> Self {
        Crc { append: algorithm.append, parameters: PhantomData }
    }

    /// The CRC of all of `bytes`.
    pub fn checksum(&self, bytes: &[u8]) -> u32 {
        (self.append)(0, bytes)
    }

    /// The CRC of bytes that come in pieces.
    pub fn digest(&self) -> Digest {
        Digest { append: self.append, crc: 0 }
    }
}

/// The CRC of the bytes so far.
pub struct Digest {
    append: fn(u32, &[u8]) -> u32,
    crc: u32,
}

impl Digest {
    /// Adds the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc = (self.append)(self.crc, bytes);
    }

    /// The CRC of all bytes.
    pub fn finalize(self) -> u32 {
        self.crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue (<https://reveng.sourceforge.io/crc-catalogue/17plus.htm>).
    const OF_DIGITS: [(&Algorithm, u32); 2] =
        [(&CRC_32_ISCSI, 0xe306_9283), (&CRC_32_ISO_HDLC, 0xcbf4_3926)];

    #[test]
    fn the_digits_have_the_catalogues_values_whole_and_in_pieces() {
        for (algorithm, value) in OF_DIGITS {
            let crc = Crc::<u32, Table<16>>::new(algorithm);
            assert_eq!(crc.checksum(b"123456789"), value);
            let mut digest = crc.digest();
            for piece in [&b"1234"[..], b"", b"56789"] {
                digest.update(piece);
            }
            assert_eq!(digest.finalize(), value);
        }
    }
}
