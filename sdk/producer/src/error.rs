//! What can become of events beside being stored.

use std::sync::Arc;

/// Why an event, or a block, was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// Certainly not stored, and never will be as it is.
    #[error("rejected ({kind}): {reason}")]
    Rejected {
        /// What is wrong with it.
        kind: Rejected,
        /// What the node said.
        reason: Arc<str>,
    },
    /// Certainly not stored: its deadline passed.
    #[error("the deadline passed before it could be stored: {reason}")]
    Expired {
        /// What stood in the way last.
        reason: Arc<str>,
    },
    /// It may be stored, or not. Sent again, it may be there twice.
    #[error("it is not known whether it is stored: {reason}")]
    Unknown {
        /// Why not.
        reason: Arc<str>,
    },
    /// It was stored, and an operator has given it up.
    #[error("it was stored and is lost")]
    Lost,
    /// The node does not remember the producer, or knows a later generation of it.
    #[error("the node does not remember the producer")]
    ProducerExpired {
        /// Whether it may have been stored by an attempt before.
        perhaps_stored: bool,
    },
    /// Certainly not stored: a block before it was rejected. Only from a
    /// [`BlockStream`](crate::BlockStream) that was told so.
    #[error("a block before it was rejected")]
    Behind,
    /// Certainly not stored: there was no room, and the application chose to drop then.
    #[error("dropped, there was no room")]
    Dropped,
    /// The producer ended before there was an answer; it may be stored if it was sent.
    #[error("the producer has ended")]
    Closed,
}

impl DeliveryError {
    /// Whether the event is certainly not stored, so that sending it again stores it once.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        match self {
            DeliveryError::Rejected { .. }
            | DeliveryError::Expired { .. }
            | DeliveryError::Behind
            | DeliveryError::Dropped => true,
            DeliveryError::ProducerExpired { perhaps_stored } => !perhaps_stored,
            DeliveryError::Unknown { .. } | DeliveryError::Lost | DeliveryError::Closed => false,
        }
    }
}

/// What is wrong with rejected events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// They are malformed, or beyond a limit.
    Invalid,
    /// Other events are stored under their ids: this producer's id is in use twice.
    Conflict,
    /// The flow cannot give the level that was asked for.
    Level,
    /// There is no such flow.
    Flow,
    /// Who sends may not send to it, or is not known.
    Denied,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rejected::Invalid => "invalid",
            Rejected::Conflict => "conflict",
            Rejected::Level => "level",
            Rejected::Flow => "flow",
            Rejected::Denied => "denied",
        })
    }
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There was no room before the deadline, or at once if that was asked for.
    #[error("there is no room: too much is unanswered")]
    Full,
    /// No block can hold such an event.
    #[error("the event is not valid: {0}")]
    Invalid(sdk_event::PushError),
    /// The producer is closed.
    #[error("the producer is closed")]
    Closed,
}
