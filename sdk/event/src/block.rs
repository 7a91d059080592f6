//! Many events in one piece of bytes: made once by the producer, stored and forwarded as they are.

mod builder;
mod check;
mod dictionary;
mod error;
mod header;
mod walk;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use builder::{BlockBuilder, PushError};
pub use error::{BlockError, Place};
pub use header::BlockHeader;
pub use walk::{EventRef, Events};

use crate::Codec;
use dictionary::Dictionary;

/// A block that has been checked once, so that reading it cannot fail.
///
/// A clone is one counter. Two are equal if their bytes are.
#[derive(Clone)]
pub struct Block(Arc<Checked>);

struct Checked {
    header: BlockHeader,
    /// As stored, header included.
    bytes: Bytes,
    /// Uncompressed, without the header. A slice of `bytes` if they are not compressed.
    body: Bytes,
    dictionary: Dictionary,
}

/// A header key that a block knows, looked up once with [`Block::key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderKey(u32);

impl Block {
    /// Checks everything about a block: version, limits, CRC, compression, each length and header.
    ///
    /// Refuses it whole if anything is wrong. `bytes` must be the block and nothing more. Copies
    /// nothing unless the body is compressed. Allocates at most
    /// [`BLOCK_BYTES_MAX`](crate::limits::BLOCK_BYTES_MAX) for a compressed body and 64 bytes for
    /// each of at most [`KEYS_MAX`](crate::limits::KEYS_MAX) keys, whatever the bytes say.
    pub fn decode(bytes: Bytes) -> Result<Block, BlockError> {
        let header = BlockHeader::decode(&bytes)?;
        header.check_crc(&bytes)?;
        let stored = bytes.slice(BlockHeader::BYTES..);
        let body = match header.codec {
            Codec::None => stored,
            codec => codec
                .decompress(&stored, header.raw_bytes as usize)
                .map_err(|reason| BlockError::Compression {
                    codec,
                    raw_bytes: header.raw_bytes,
                    reason,
                })?
                .into(),
        };
        let dictionary = Dictionary::read(&body, header.events_bytes as usize)?;
        check::events(&header, &body, &dictionary)?;
        Ok(Block(Arc::new(Checked { header, bytes, body, dictionary })))
    }

    /// The events at `positions` alone, which keep their ids, timestamps and headers.
    ///
    /// Same producer, generation, shared headers and codec. All positions give this block again, none
    /// give no block, and nearly always it is one. It may be more: keys are numbered anew, so that an
    /// event may need more bytes than it had, and what does not fit goes on in the next block.
    ///
    /// # Panics
    /// If `positions` are not ascending positions of events of this block.
    pub fn thin(&self, positions: &[u32]) -> Vec<Block> {
        let ascending = positions.is_sorted_by(|a, b| a < b);
        let count = self.header().count;
        assert!(
            ascending && positions.last().is_none_or(|last| *last < count),
            "positions must ascend and lie below {count}"
        );
        if positions.len() == count as usize {
            return vec![self.clone()];
        }
        let codec = self.header().codec;
        let mut wanted = positions.iter().copied().peekable();
        let mut blocks = Vec::new();
        let mut builder = BlockBuilder::from_block(self);
        for event in self.events() {
            if wanted.next_if_eq(&event.index()).is_none() {
                continue;
            }
            let mut pushed = builder.push_event(&event);
            if matches!(pushed, Err(PushError::Full { .. })) && !builder.is_empty() {
                blocks.push(builder.finish(codec));
                pushed = builder.push_event(&event);
            }
            pushed.expect("an event of a block fits in a block");
        }
        if !builder.is_empty() {
            blocks.push(builder.finish(codec));
        }
        blocks
    }

    /// What the block says about itself.
    #[inline]
    pub fn header(&self) -> &BlockHeader {
        &self.0.header
    }

    /// The block as it is stored and sent.
    #[inline]
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Its events in order.
    #[inline]
    pub fn events(&self) -> Events<'_> {
        Events::new(self)
    }

    /// The headers that every event has unless it has its own under the same key, in order.
    pub fn shared_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shared_pairs().map(|(key, value)| (self.key_text(key), value))
    }

    /// The shared header under `key`.
    pub fn shared_header(&self, key: &str) -> Option<&str> {
        self.shared_value(self.key(key)?.0)
    }

    /// Whether some event has headers of its own. If not, what holds for the shared headers holds
    /// for every event.
    #[inline]
    pub fn has_own_headers(&self) -> bool {
        self.header().own_headers
    }

    /// Looks a header key up once for many events. `None`: no event has such a header.
    pub fn key(&self, key: &str) -> Option<HeaderKey> {
        self.0.dictionary.find(&self.0.body, key).map(HeaderKey)
    }

    /// Memory that the block keeps alive, for accounting: its bytes, and its body once more if that
    /// is compressed.
    pub fn memory_bytes(&self) -> usize {
        let body = match self.header().codec {
            Codec::None => 0,
            _ => self.0.body.len(),
        };
        let dictionary = &self.0.dictionary;
        let index = size_of_val(&*dictionary.keys) + size_of_val(&*dictionary.shared);
        self.0.bytes.len() + body + index + size_of::<Checked>()
    }

    fn body(&self) -> &Bytes {
        &self.0.body
    }

    fn key_text(&self, key: u32) -> &str {
        self.0.dictionary.keys[key as usize].text(&self.0.body)
    }

    fn shared_value(&self, key: u32) -> Option<&str> {
        self.0.dictionary.shared(key).map(|shared| shared.value.text(&self.0.body))
    }

    fn shares(&self, key: u32) -> bool {
        self.0.dictionary.shared(key).is_some()
    }

    fn shared_pairs(&self) -> impl Iterator<Item = (u32, &str)> {
        let shared = self.0.dictionary.shared.iter();
        shared.map(|shared| (shared.key, shared.value.text(&self.0.body)))
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Block {}

/// Tells what the header says and never what is in the events.
impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(self.header()).finish()
    }
}
