//! Answers on their way to a client that may be slow to read them.

use std::collections::VecDeque;
use std::time::Duration;

use proto::v1::AppendResponse;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::limits::ANSWERS_QUEUED_MAX;

/// The stream that tonic sends.
pub(crate) type Answers = ReceiverStream<Result<AppendResponse, Status>>;

/// Answers that are not handed over to HTTP/2 yet.
pub(crate) struct Outbox {
    sender: mpsc::Sender<Result<AppendResponse, Status>>,
    queue: VecDeque<AppendResponse>,
    /// Since when the first of the queue waits.
    waits_since: Instant,
    patience: Duration,
    closed: bool,
}

/// What came of waiting.
pub(super) enum Next {
    /// An answer left the queue.
    Sent,
    /// The reader has taken nothing for too long.
    Stalled,
    /// The reader is gone.
    Closed,
}

impl Outbox {
    pub(super) fn new(patience: Duration) -> (Outbox, Answers) {
        let (sender, receiver) = mpsc::channel(ANSWERS_QUEUED_MAX);
        let (queue, waits_since) = (VecDeque::new(), Instant::now());
        let outbox = Outbox { sender, queue, waits_since, patience, closed: false };
        (outbox, ReceiverStream::new(receiver))
    }

    /// Whether more may be read from the client.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < ANSWERS_QUEUED_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, answer: AppendResponse) {
        if self.closed {
            return;
        }
        if !self.queue.is_empty() {
            return self.queue.push_back(answer);
        }
        match self.sender.try_send(Ok(answer)) {
            Ok(()) => {}
            Err(TrySendError::Full(Ok(answer))) => {
                self.waits_since = Instant::now();
                self.queue.push_back(answer);
            }
            // `next` says so.
            Err(_) => {}
        }
    }

    /// Waits until an answer has left the queue, or the reader stalls or goes. Cancel-safe.
    pub(super) async fn next(&mut self) -> Next {
        if self.queue.is_empty() {
            self.sender.closed().await;
            return Next::Closed;
        }
        tokio::select! {
            biased;
            permit = self.sender.reserve() => match permit {
                Ok(permit) => {
                    let answer = self.queue.pop_front().expect("it is not empty");
                    permit.send(Ok(answer));
                    self.waits_since = Instant::now();
                    Next::Sent
                }
                Err(_) => Next::Closed,
            },
            () = sleep_until(self.waits_since + self.patience) => Next::Stalled,
        }
    }

    /// Drops what is queued and takes no more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.queue.clear();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends the stream with `status`. The reader has taken all but what fits in its queue, so
    /// there is room unless it does not read at all.
    pub(super) fn end(self, status: Status) {
        let _ = self.sender.try_send(Err(status));
    }
}
