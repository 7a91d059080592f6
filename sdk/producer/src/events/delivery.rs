//! What became of one event.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared;
use sdk_event::{EventId, Level, Lineage};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::DeliveryError;
use crate::stream::Stored;

/// How a block ended, for each of its events.
pub(super) type Outcome = Result<Stored, DeliveryError>;

/// The promise for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id; it is stored once under it.
    pub id: EventId,
    /// Where its bytes were when the node answered.
    pub level: Level,
    /// The lineage that has it.
    pub lineage: Lineage,
    /// Its offset there.
    pub offset: u64,
    /// It was stored by an attempt whose answer was lost. The offset is then only as exact as the
    /// node's memory of it.
    pub duplicate: bool,
}

/// The fate of one event: a future that ends when it is known.
///
/// Dropping it changes nothing about the event.
#[must_use = "without looking at it nobody knows whether the event was stored"]
pub struct Delivery {
    state: State,
}

enum State {
    Dropped,
    Waiting {
        outcome: Shared<oneshot::Receiver<Outcome>>,
        index: u32,
        deadline: Option<Instant>,
        timer: Option<Pin<Box<Sleep>>>,
    },
}

impl Delivery {
    pub(super) fn dropped() -> Delivery {
        Delivery { state: State::Dropped }
    }

    /// The event at `index` of a block. `deadline` only where it is earlier than the block's.
    pub(super) fn waiting(
        outcome: Shared<oneshot::Receiver<Outcome>>,
        index: u32,
        deadline: Option<Instant>,
    ) -> Delivery {
        Delivery { state: State::Waiting { outcome, index, deadline, timer: None } }
    }
}

impl Future for Delivery {
    type Output = Result<Receipt, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let State::Waiting { outcome, index, deadline, timer } = &mut self.state else {
            return Poll::Ready(Err(DeliveryError::Dropped));
        };
        if let Poll::Ready(outcome) = outcome.poll_unpin(cx) {
            let stored = outcome.unwrap_or(Err(DeliveryError::Closed));
            return Poll::Ready(stored.map(|stored| Receipt::of(&stored, *index)));
        }
        let Some(deadline) = *deadline else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        let reason = "the event's deadline passed before there was an answer".into();
        Poll::Ready(Err(DeliveryError::Unknown { reason }))
    }
}

impl Receipt {
    fn of(stored: &Stored, index: u32) -> Receipt {
        let EventId { producer, generation, sequence } = stored.first;
        Receipt {
            id: EventId { producer, generation, sequence: sequence + u64::from(index) },
            level: stored.level,
            lineage: stored.lineage,
            offset: stored.first_offset + u64::from(index),
            duplicate: stored.duplicate,
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}
