//! How the body of a block is stored.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::str::FromStr;

use zstd::bulk::{Compressor, Decompressor};

/// zstd's fastest named level: a block is compressed once, on the way to its acknowledgement.
const ZSTD_LEVEL: i32 = 1;

/// How the body of a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// As it is.
    #[default]
    None,
    /// One or more zstd frames.
    Zstd,
    /// One LZ4 block (not a frame).
    Lz4,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Codec; 3] = [Codec::None, Codec::Zstd, Codec::Lz4];

    /// Its name in configuration and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Zstd => "zstd",
            Codec::Lz4 => "lz4",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(number)).copied()
    }

    /// Its number in a block's header.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Zstd => 1,
            Codec::Lz4 => 2,
        }
    }

    /// `raw` compressed, behind `before` zero bytes. `None` if that would not be smaller.
    pub(crate) fn compress(self, raw: &[u8], before: usize) -> Option<Vec<u8>> {
        let room = match self {
            Codec::None => return None,
            Codec::Zstd => zstd::zstd_safe::compress_bound(raw.len()),
            Codec::Lz4 => lz4_flex::block::get_maximum_output_size(raw.len()),
        };
        let mut out = vec![0; before + room];
        let written = match self {
            Codec::Zstd => zstd_compress(raw, &mut out[before..]).ok()?,
            _ => lz4_flex::block::compress_into(raw, &mut out[before..]).ok()?,
        };
        out.truncate(before + written);
        out.shrink_to_fit();
        (written < raw.len()).then_some(out)
    }

    /// Decompresses into exactly `raw_bytes` bytes and allocates no more than that.
    pub(crate) fn decompress(self, stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, String> {
        let mut raw = vec![0; raw_bytes];
        let written = match self {
            Codec::None => return Err("nothing to decompress".to_owned()),
            Codec::Zstd => zstd_decompress(stored, &mut raw).map_err(|error| error.to_string())?,
            Codec::Lz4 => lz4_flex::block::decompress_into(stored, &mut raw)
                .map_err(|error| error.to_string())?,
        };
        if written != raw_bytes {
            return Err(format!("{written} bytes came out, not {raw_bytes}"));
        }
        Ok(raw)
    }
}

// A zstd context costs more to set up than a block to compress, so each thread keeps one.
thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn zstd_compress(raw: &[u8], out: &mut [u8]) -> io::Result<usize> {
    COMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Compressor::new(ZSTD_LEVEL)?);
        }
        kept.as_mut().map_or(Ok(0), |zstd| zstd.compress_to_buffer(raw, out))
    })
}

fn zstd_decompress(stored: &[u8], out: &mut [u8]) -> io::Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Decompressor::new()?);
        }
        kept.as_mut().map_or(Ok(0), |zstd| zstd.decompress_to_buffer(stored, out))
    })
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Codec {
    type Err = ParseCodecError;

    fn from_str(text: &str) -> Result<Self, ParseCodecError> {
        let named = Codec::ALL.into_iter().find(|codec| codec.name() == text);
        named.ok_or_else(|| ParseCodecError(text.to_owned()))
    }
}

/// The text names no codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no codec: none, zstd or lz4")]
pub struct ParseCodecError(String);
