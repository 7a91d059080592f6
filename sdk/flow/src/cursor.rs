//! Where a sink group stands.

use async_trait::async_trait;

use crate::BoxError;

/// The position of one sink group in one lineage of one channel.
///
/// On a node it is the group's floor in Raft, on an agent a record in the spool.
#[async_trait]
pub trait Cursor: Send + Sync {
    /// The offset below which everything is delivered for good.
    ///
    /// # Errors
    /// See [`CursorError`].
    async fn floor(&self) -> Result<u64, CursorError>;

    /// Says that `[from, to)` is delivered. Once this returns, the range is
    /// never delivered again, and the channel may forget it.
    ///
    /// Repeating a commit that succeeded is harmless. Cancel-safe in the sense
    /// that the range is then perhaps committed.
    ///
    /// # Errors
    /// [`CursorError::Elsewhere`] unless `from` is the floor.
    async fn commit(&self, from: u64, to: u64) -> Result<(), CursorError>;
}

/// Why a cursor did not move, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Try again: it is not known whether the commit was stored.
    #[error("the cursor cannot be reached")]
    Unavailable(#[source] BoxError),

    /// Stop: another process drains this lineage now.
    #[error("another process holds the cursor")]
    Fenced,

    /// Stop: the cursor stands elsewhere, so somebody else moved it.
    #[error("the cursor stands at {floor}")]
    Elsewhere {
        /// Where it stands.
        floor: u64,
    },

    /// Stop: the channel has stopped.
    #[error("the cursor is closed")]
    Closed,
}
