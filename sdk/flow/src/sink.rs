//! The contract of what delivers.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Batch, BoxError};

/// Delivers events to their destination, at least once.
///
/// The runner commits a batch at the cursor after `deliver` has returned `Ok`,
/// so that is what `Ok` must mean: the destination has the events for good. A
/// batch may come again, whole, after a crash or an error. (The file sink is not
/// one of these: it commits by file, and delivers exactly once.)
#[async_trait]
pub trait Sink: Send {
    /// Delivers the whole batch. Batches come by offset, one at a time.
    ///
    /// Not cancelled by the runner: a clean stop waits for a delivery that has
    /// begun, so that it causes no duplicate. A sink that waits for something
    /// must therefore have a deadline of its own.
    ///
    /// # Errors
    /// On any error the batch counts as not delivered.
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError>;

    /// Ends what is open. Called once, last; a second call is harmless.
    ///
    /// # Errors
    /// Nothing that was delivered depends on it.
    async fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Why a batch was not delivered, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Penalise this sink and try another, or this one later.
    #[error("the destination is unavailable")]
    Unavailable(#[source] BoxError),

    /// Wait, then deliver again to the same sink: nobody is to blame (HDFS in
    /// safe mode, a spool above its mark).
    #[error("the destination asks for a pause")]
    Paused {
        /// How long to wait before the next try.
        retry_after: Duration,
        /// What it said.
        #[source]
        error: BoxError,
    },

    /// The events themselves are refused: trying again cannot help.
    #[error("the destination rejected the events")]
    Rejected(#[source] BoxError),

    /// Stop: another process delivers this lineage now.
    #[error("another process delivers now")]
    Fenced,
}
