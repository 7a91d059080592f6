//! Events as they are stored.

use super::{AdminService, refused};
use crate::lineages::{Held, HeldLineage};
use proto::v1;
use sdk_event::{EventRef, Lineage};
use sdk_flow::ReadError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Events that wait for a slow caller; beyond it they are passed over.
const WAITING_MAX: usize = 1_024;
/// Their bytes. One event alone may have more.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// What an event weighs beside its own bytes.
const EVENT_OVERHEAD_BYTES: usize = 256;
const BATCH_BYTES: usize = 256 << 10;

/// What a caller of `tap` gets.
pub(crate) type Tap = Pin<Box<dyn Stream<Item = Result<v1::TapEvent, Status>> + Send>>;

/// An event with its part of the room, which it gives back when the caller takes it.
type Sent = (v1::TapEvent, OwnedSemaphorePermit);

impl AdminService {
    /// Every event of the flow that is stored from now on, from its first channel, until there are
    /// `limit` of them or the flow gets another version. Never slows the flow: what the caller cannot
    /// follow is skipped and counted.
    pub(super) fn tap_flow(&self, flow: &str, limit: u64) -> Result<Tap, Status> {
        let flow = self.flows.named(flow).map_err(Status::not_found)?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Tapped {
            sender,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            skipped: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            limit,
            done: CancellationToken::new(),
        });
        let mut any = false;
        for (lineage, held) in self.lineages.all() {
            let current = matches!(held.held, Held::Written(_));
            if lineage.flow != flow.id || !current {
                continue;
            }
            any = true;
            let tapped = Arc::clone(&shared);
            self.tasks.start(format!("tap {lineage}"), |stop| async move {
                stop.run_until_cancelled(follow(lineage, held, tapped)).await;
            });
        }
        if !any {
            return Err(refused("the flow's shards are moving, ask again"));
        }
        Ok(Box::pin(ReceiverStream::new(receiver).map(|(event, _room)| Ok(event))))
    }
}

struct Tapped {
    sender: mpsc::Sender<Sent>,
    room: Arc<Semaphore>,
    skipped: AtomicU64,
    sent: AtomicU64,
    limit: u64,
    /// The caller has all it asked for.
    done: CancellationToken,
}

async fn follow(lineage: Lineage, held: HeldLineage, tapped: Arc<Tapped>) {
    let (watermark, _) = held.held.totals();
    let Some(channel) = held.version.channels.first() else { return };
    let Ok(mut reader) = held.held.reader(channel.number, watermark) else { return };
    loop {
        let batch = tokio::select! {
            () = tapped.sender.closed() => return,
            () = tapped.done.cancelled() => return,
            batch = reader.next(BATCH_BYTES) => batch,
        };
        match batch {
            Ok(Some(batch)) => {
                for (offset, event) in batch.events() {
                    if tapped.send(lineage, offset, &event).is_err() {
                        return;
                    }
                }
            }
            Err(ReadError::Lost { to, .. }) => reader.seek(to),
            Ok(None) | Err(_) => return,
        }
    }
}

/// The caller has gone, or has all it asked for.
struct Done;

impl Tapped {
    fn send(&self, lineage: Lineage, offset: u64, event: &EventRef<'_>) -> Result<(), Done> {
        let skip = || {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let permit = match self.sender.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => return skip(),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(Done),
        };
        let headers = event.headers().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let bytes = (event.body().len() + headers + EVENT_OVERHEAD_BYTES).min(WAITING_BYTES_MAX);
        let weight = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(weight) else {
            return skip();
        };
        let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        if self.limit > 0 && number > self.limit {
            return Err(Done);
        }
        let header = |(key, value): (&str, &str)| v1::TapHeader {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let event = v1::TapEvent {
            id: event.id().to_string(),
            lineage: lineage.to_string(),
            offset,
            timestamp_ms: event.timestamp_ms(),
            headers: event.headers().map(header).collect(),
            body: bytes::Bytes::copy_from_slice(event.body()),
            skipped: self.skipped.swap(0, Ordering::Relaxed),
        };
        permit.send((event, room));
        if number == self.limit {
            self.done.cancel();
        }
        Ok(())
    }
}
