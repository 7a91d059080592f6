//! What a shard answers when it is not with a receipt.

use std::sync::Arc;
use std::time::Duration;

use sdk_event::Lineage;
use sdk_flow::{Exhaustion, PutError, Rejection};
use sdk_wal::{AppendError, FullReason};

use crate::admission::Refusal;
use crate::metrics::ShardMetrics;

/// A flush takes milliseconds.
pub(super) const BUSY_RETRY: Duration = Duration::from_millis(10);
const MOVING_RETRY: Duration = Duration::from_millis(100);
pub(super) const CHANNEL_RETRY: Duration = Duration::from_millis(250);
const DISK_RETRY: Duration = Duration::from_secs(1);
const PRODUCERS_RETRY: Duration = Duration::from_secs(60);

/// How a session stands once it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAnswer {
    /// The lineage that took it.
    pub lineage: Lineage,
    /// The producer's generation.
    pub generation: u64,
    /// The sequence number expected next: what lies below is stored.
    pub next: u64,
}

/// Why a lineage was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The log has records of it: a lineage is written by one process only.
    #[error("lineage {0} was written before: seal it and open the next")]
    Used(Lineage),
    /// The first checkpoint could not be stored.
    #[error("the first checkpoint could not be stored")]
    Checkpoint(#[source] PutError),
}

pub(super) fn unknown(reason: &'static str) -> PutError {
    PutError::Unknown(reason.into())
}

pub(super) fn exhausted(reason: Exhaustion, retry_after: Duration) -> PutError {
    PutError::Exhausted { reason, retry_after }
}

pub(super) fn moving() -> PutError {
    exhausted(Exhaustion::Moving, MOVING_RETRY)
}

pub(super) fn content(reason: impl Into<Arc<str>>) -> PutError {
    PutError::Rejected { reason: Rejection::Content(reason.into()) }
}

/// What an append that wrote nothing means for its caller.
pub(super) fn not_appended(error: AppendError) -> PutError {
    match error {
        AppendError::Full { reason: FullReason::InFlight } => {
            exhausted(Exhaustion::Memory, BUSY_RETRY)
        }
        AppendError::Full { .. } => exhausted(Exhaustion::Disk, DISK_RETRY),
        // The record before it was refused, and it with that one.
        AppendError::OutOfSequence { .. } => exhausted(Exhaustion::Moving, BUSY_RETRY),
        AppendError::Cut { .. } => moving(),
        AppendError::Stopped | AppendError::Dead { .. } => PutError::Stopped,
        AppendError::Invalid { length, length_max } => {
            content(format!("a record of {length} bytes is more than {length_max}"))
        }
    }
}

/// What admission's refusal means for the caller.
pub(super) fn refused(refusal: Refusal, metrics: &ShardMetrics) -> PutError {
    let (name, reason) = match refusal {
        Refusal::Expected(next) => ("expected", Rejection::Expected(next)),
        Refusal::Generation(current) => ("generation", Rejection::Generation(current)),
        Refusal::Expired => ("expired", Rejection::Expired),
        Refusal::Conflict => ("conflict", Rejection::Conflict),
        Refusal::Lost => ("lost", Rejection::Lost),
        Refusal::Full => {
            metrics.rejected("producers");
            return exhausted(Exhaustion::Producers, PRODUCERS_RETRY);
        }
        Refusal::Store(_) => return moving(),
    };
    metrics.rejected(name);
    PutError::Rejected { reason }
}
