//! The contract between the half of a flow that receives and the half that
//! delivers.

use async_trait::async_trait;
use sdk_event::Lineage;

use crate::{Batch, BoxError, Put, PutError, Receipt};

/// A bounded store of blocks between sources and sinks.
///
/// ```text
///            floor            reader           watermark          end
///              ▼                 ▼                  ▼               ▼
/// ┄┄┄┄┄┄┄┄┄┄┄┄┄├─────────────────┼──────────────────┼───────────────┤
///   may be gone  delivered, maybe    to be read       stored, not yet
///                again after a       readers stop ▲   promised
///                restart
/// ```
///
/// A channel decides how much a crash can lose: a memory channel everything, a
/// durable one nothing it has acknowledged. `sdk-channel` has the suite that
/// every channel passes.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Stores the whole put, in all its channels, or nothing of it in any.
    ///
    /// Returns when the promise of [`Receipt::level`] holds. Puts of one
    /// producer are stored in the order of the calls. A put that is there
    /// already (same producer, generation and sequence numbers) is not stored
    /// again and gets the receipt of the original.
    ///
    /// Not cancel-safe: dropping the future leaves it open whether the put was
    /// stored, as [`PutError::Unknown`] does. Repeating it is always safe.
    async fn put(&self, put: Put) -> Result<Receipt, PutError>;

    /// A reader of `lineage` that stands at offset `from`.
    ///
    /// # Errors
    /// When the lineage is not known here, or `from` lies below what was kept.
    fn reader(&self, lineage: Lineage, from: u64) -> Result<Box<dyn ChannelReader>, ReadError>;
}

/// Follows one lineage of one channel.
#[async_trait]
pub trait ChannelReader: Send {
    /// Waits for stored puts, then returns what lies between the reader and the
    /// watermark, at least one put and then no more once `bytes_max` is passed, by
    /// what the blocks take in memory. The reader moves to the batch's end.
    ///
    /// `None` is the end of a sealed lineage: everything below its length has
    /// been read, also if the channel is closed by then. It never returns anything at or above the watermark.
    ///
    /// Cancel-safe: a dropped future has not moved the reader.
    ///
    /// # Errors
    /// After an error the reader has not moved.
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError>;

    /// The offset that the next batch begins at.
    fn cursor(&self) -> u64;

    /// Moves the reader, back to deliver again or forward past what is lost.
    fn seek(&mut self, offset: u64);
}

/// Why there is no batch, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The range is corrupt everywhere and booked as lost: seek to its end.
    #[error("offsets {from} to {to} are lost")]
    Lost {
        /// The first offset that is lost: where the reader stands.
        from: u64,
        /// The first that is not.
        to: u64,
    },

    /// Stop: the channel has stopped, or its owner has lost the lineage.
    #[error("the channel is closed")]
    Closed,

    /// Stop and tell the operator.
    #[error("the channel's storage failed")]
    Storage(#[source] BoxError),
}
