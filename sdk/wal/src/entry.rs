//! What goes into the log and what comes out of it.

use crate::body::Body;
use crate::error::AppendError;
use sdk_event::{EventId, Lineage};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// The first kind whose records are listed: see [`crate::Log::listed`].
///
/// Kinds below it mean nothing to the log. Records of the others (checkpoints) are few, and the log
/// remembers where each stands, so that whoever needs the latest finds it without reading what lies between.
pub const LISTED_KIND_MIN: u8 = 128;

/// Why a record is appended, which decides at which disk mark it is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// New events: refused from the mark *stop ingest* on.
    #[default]
    Ingest,
    /// What keeps accepted events whole (control records, copies for a replica): refused from *sinks only* on.
    Upkeep,
    /// What lets sinks go on and so frees space: refused only when the quota is used up.
    Drain,
}

/// One record to append.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The lineage it belongs to.
    pub lineage: Lineage,
    /// What the body is, to whoever wrote it; from [`LISTED_KIND_MIN`] on it is listed.
    pub kind: u8,
    /// At which disk mark it is refused.
    pub purpose: Purpose,
    /// The offset of its first event: the end of the lineage, unless the log holds nothing of it yet.
    pub first_offset: u64,
    /// How many offsets it takes, at least one.
    pub count: u32,
    /// When it was put, in milliseconds of the epoch.
    pub put_time_ms: i64,
    /// The id of its first event, kept twice beside the record, so that a record that can no longer
    /// be read is still known by it.
    pub identity: Option<EventId>,
    /// The bytes.
    pub body: Body,
}

impl Entry {
    /// The offset after its last.
    pub fn end(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }
}

/// One record read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The lineage it belongs to.
    pub lineage: Lineage,
    /// What the body is, to whoever wrote it.
    pub kind: u8,
    /// The offset of its first event.
    pub first_offset: u64,
    /// How many offsets it takes.
    pub count: u32,
    /// When it was put, in milliseconds of the epoch.
    pub put_time_ms: i64,
    /// The bytes; their CRC was checked if they came from the disk.
    pub body: Body,
}

impl LogRecord {
    /// The offset after its last.
    pub fn end(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }
}

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of its segment.
    pub segment: u64,
    /// The byte in the segment at which its flush begins.
    pub at: u32,
    /// The number of its flush.
    pub flush: u64,
}

/// The answer to an append, to come.
///
/// `Ok` means that `fdatasync` returned 0 on a flush that holds the whole record. An error other than
/// [`AppendError::Dead`] means that no byte of it was written. Dropping it changes nothing: the record
/// is appended all the same. Await it, or [`wait`](Self::wait) on a thread of your own.
#[derive(Debug)]
#[must_use = "nothing is promised before this answers"]
pub struct Appended {
    slot: Arc<Slot>,
}

impl Appended {
    /// Blocks until the answer is there. Not for async code.
    pub fn wait(mut self) -> Result<Position, AppendError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    pub(crate) fn new() -> (Self, Answer) {
        let slot = Arc::new(Slot::default());
        (Self { slot: slot.clone() }, Answer { slot: Some(slot) })
    }
}

impl Future for Appended {
    type Output = Result<Position, AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            SlotState::Answered(answer) => Poll::Ready(answer.clone()),
            SlotState::Waiting(Some(waker)) if waker.will_wake(context.waker()) => Poll::Pending,
            SlotState::Waiting(_) => {
                *state = SlotState::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// The other end of an [`Appended`]. Dropped without an answer, it says that the log is dead.
#[derive(Debug)]
pub(crate) struct Answer {
    slot: Option<Arc<Slot>>,
}

impl Answer {
    pub(crate) fn send(mut self, answer: Result<Position, AppendError>) {
        if let Some(slot) = self.slot.take() {
            slot.answer(answer);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.answer(Err(AppendError::Dead { reason: "the log's writer is gone".into() }));
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<SlotState>,
}

impl Slot {
    fn answer(&self, answer: Result<Position, AppendError>) {
        let before = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, SlotState::Answered(answer))
        };
        if let SlotState::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

#[derive(Debug)]
enum SlotState {
    Waiting(Option<Waker>),
    Answered(Result<Position, AppendError>),
}

impl Default for SlotState {
    fn default() -> Self {
        Self::Waiting(None)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
