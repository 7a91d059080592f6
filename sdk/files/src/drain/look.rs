//! What a drain has in hand, counted for the books.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Control;
use super::session::Session;

/// More callers than this are not answered.
const WAITING_MAX: usize = 64;

/// What a drain has read and not yet told the ledger the end of.
///
/// It is counted from the events themselves as they are read, and never from what the ledger or the
/// channel's totals say, so that an event that was lost on the way is missed in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InHand {
    /// The token.
    pub token: u64,
    /// Calls to the ledger so far, all of them answered: between two looks with the same number this
    /// drain has changed nothing in it.
    pub calls: u64,
    /// Everything below is read.
    pub cursor: u64,
    /// Events below the cursor that are in no committed file, or dropped by a rule that is not booked
    /// yet. `None` while what earlier tokens have recorded lies ahead of the cursor.
    pub events: Option<u64>,
    /// Lost offsets below the cursor that are not booked yet: at most so many events more.
    pub lost_offsets: u64,
}

/// Who waits to be told.
#[derive(Debug, Default)]
pub(super) struct Looks {
    waiting: Mutex<Vec<oneshot::Sender<InHand>>>,
    calls: AtomicU64,
}

impl Looks {
    pub(super) fn ask(&self) -> Option<oneshot::Receiver<InHand>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|caller| !caller.is_closed());
        let (caller, answer) = oneshot::channel();
        (waiting.len() < WAITING_MAX).then(|| {
            waiting.push(caller);
            answer
        })
    }

    /// A call to the ledger is about to be made.
    pub(super) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> Vec<oneshot::Sender<InHand>> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session {
    /// Answers those who look. Between two calls to the ledger: then it and this drain agree.
    pub(super) fn answer_looks(&self) {
        let control: &Arc<Control> = &self.control;
        for caller in control.looks.take() {
            // Who has gone does not want to know.
            let _ = caller.send(self.in_hand());
        }
    }

    fn in_hand(&self) -> InHand {
        let segments = self.table.iter().flat_map(|(_, bucket)| bucket.segments());
        let read: u64 = segments.map(|segment| segment.events).sum();
        let open = self.stretches.open();
        InHand {
            token: self.shared.token,
            calls: self.control.looks.calls.load(Ordering::Relaxed),
            cursor: self.cursor,
            events: (self.cursor >= self.covered_to).then(|| read + open.dropped()),
            lost_offsets: open.lost,
        }
    }
}
