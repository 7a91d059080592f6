//! Why bytes are no block.

use std::fmt;

use super::header::{MAGIC, VERSION};
use crate::Codec;

/// Which field of a block, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The field, as FORMAT.md calls it.
    pub field: &'static str,
    /// The position of the event it belongs to, if it belongs to one.
    pub event: Option<u32>,
}

impl Place {
    pub(crate) const fn block(field: &'static str) -> Self {
        Place { field, event: None }
    }

    pub(crate) const fn event(field: &'static str, event: u32) -> Self {
        Place { field, event: Some(event) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Some(event) => write!(f, "{} of event {event}", self.field),
            None => f.write_str(self.field),
        }
    }
}

/// Why bytes are no block. Each names the field, what it holds and what it may hold.
///
/// A block is refused whole: none of its events is readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// These are not the bytes of a block.
    #[error("magic is {found:02x?}, a block begins with {MAGIC:02x?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A block of another version.
    #[error("block has version {found}, this program reads up to {VERSION}: upgrade it")]
    Version {
        /// The block's version.
        found: u8,
    },
    /// A codec without a name.
    #[error("codec is {found}, known are 0 (none), 1 (zstd) and 2 (lz4)")]
    Codec {
        /// The codec's number.
        found: u8,
    },
    /// A flag without a meaning.
    #[error("flags are {found:#06x}, known are {known:#06x}")]
    Flags {
        /// All flags of the block.
        found: u16,
        /// All flags with a meaning.
        known: u16,
    },
    /// The bytes end inside a field.
    #[error("{place} wants {wanted} bytes, {left} are left")]
    Truncated {
        /// The field.
        place: Place,
        /// How many it needs.
        wanted: u64,
        /// How many there are.
        left: u64,
    },
    /// Above a limit.
    #[error("{place} is {value}, the limit is {limit}")]
    Limit {
        /// The field.
        place: Place,
        /// What it holds.
        value: u64,
        /// What it may hold.
        limit: u64,
    },
    /// The block says one thing and is another.
    #[error("{place} says {stated}, found {found}")]
    Mismatch {
        /// The field.
        place: Place,
        /// What it says.
        stated: i128,
        /// What is there.
        found: i128,
    },
    /// Damaged, or never complete.
    #[error("crc32c says {stated:#010x}, the bytes have {computed:#010x}")]
    Crc {
        /// The CRC in the header.
        stated: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// A number in a longer form than needed, or above 64 bits.
    #[error("{place} is no number in its shortest form")]
    Varint {
        /// The field.
        place: Place,
    },
    /// A key or value that is no text.
    #[error("{place} is not UTF-8")]
    Utf8 {
        /// The field.
        place: Place,
    },
    /// A key twice: among the block's keys, its shared headers, or one event's own.
    #[error("{place} comes twice: {key:?}")]
    DuplicateKey {
        /// The field.
        place: Place,
        /// The key, or its index.
        key: String,
    },
    /// A header that points at no key.
    #[error("{place} is {index}, the block has {keys} keys")]
    UnknownKey {
        /// The field.
        place: Place,
        /// Where it points.
        index: u64,
        /// How many keys there are.
        keys: u64,
    },
    /// Something that must not be empty or zero.
    #[error("{place} must not be 0")]
    Zero {
        /// The field.
        place: Place,
    },
    /// The body does not decompress into what the header says.
    #[error("body is no {codec} of {raw_bytes} bytes: {reason}")]
    Compression {
        /// The codec.
        codec: Codec,
        /// How many bytes the header promises.
        raw_bytes: u32,
        /// What the codec says.
        reason: String,
    },
}

impl BlockError {
    /// A stable word for metrics and for the test vectors of other languages.
    pub const fn name(&self) -> &'static str {
        match self {
            BlockError::Magic { .. } => "magic",
            BlockError::Version { .. } => "version",
            BlockError::Codec { .. } => "codec",
            BlockError::Flags { .. } => "flags",
            BlockError::Truncated { .. } => "truncated",
            BlockError::Limit { .. } => "limit",
            BlockError::Mismatch { .. } => "mismatch",
            BlockError::Crc { .. } => "crc",
            BlockError::Varint { .. } => "varint",
            BlockError::Utf8 { .. } => "utf8",
            BlockError::DuplicateKey { .. } => "duplicate_key",
            BlockError::UnknownKey { .. } => "unknown_key",
            BlockError::Zero { .. } => "zero",
            BlockError::Compression { .. } => "compression",
        }
    }
}
