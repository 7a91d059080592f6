//! `Send`: plain events of many callers, made into blocks under the node's own producer ids.

mod check;
mod encode;
mod lane;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use proto::v1::{PlainEvent, SendRequest, SendResponse, StoredEvent};
use sdk_event::{EventId, Level, Lineage, ProducerId};
use sdk_flow::{Entropy, Tasks};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::connection::Charge;
use crate::limits::{RETRY_AFTER, SEND_LANES_MAX, SEND_QUEUED_MAX};
use crate::memory::Hold;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::router::{Router, ShardHandle};
use crate::wire;
use lane::Lane;

/// One call that waits to be stored.
struct Call {
    events: Vec<PlainEvent>,
    /// What its events come to in a block, at most.
    bytes: usize,
    asked: Option<Level>,
    reply: oneshot::Sender<Result<Stored, Refusal>>,
    /// Keeps the bytes charged until they are stored.
    _charge: Option<Arc<Charge>>,
    /// The same for what the events take beside their bytes.
    _beside: Option<Hold>,
}

/// Where a call's events are.
struct Stored {
    shard: Arc<dyn ShardHandle>,
    lineage: Lineage,
    level: Level,
    producer: ProducerId,
    generation: u64,
    first_sequence: u64,
    first_offset: u64,
    count: u32,
}

/// A lane for each flow that is sent to.
pub(crate) struct Lanes {
    router: Arc<dyn Router>,
    entropy: Arc<dyn Entropy>,
    tasks: Tasks,
    metrics: Metrics,
    lanes: Mutex<HashMap<String, mpsc::Sender<Call>>>,
}

impl Lanes {
    pub(crate) fn new(
        router: Arc<dyn Router>,
        entropy: Arc<dyn Entropy>,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Lanes {
        Lanes { router, entropy, tasks, metrics, lanes: Mutex::default() }
    }

    /// Stores the events of one call, together with those of others.
    ///
    /// # Errors
    /// A status, as `ingest.proto` says.
    pub(crate) async fn send(
        &self,
        request: SendRequest,
        charge: Option<Arc<Charge>>,
    ) -> Result<SendResponse, Status> {
        self.metrics.send_calls.inc();
        let result = self.store(request, charge).await;
        match &result {
            Ok(stored) => {
                self.metrics.events_acknowledged.inc_by(stored.count.into());
            }
            Err(refusal) => self.metrics.refuse(refusal.code),
        }
        result.map(Stored::into_response).map_err(Refusal::into_status)
    }

    async fn store(
        &self,
        request: SendRequest,
        charge: Option<Arc<Charge>>,
    ) -> Result<Stored, Refusal> {
        let asked = wire::to_level(request.ack)?;
        let bytes = check::events(&request.events)?;
        let beside = charge.as_ref().map(|charge| charge.beside(beside_bytes(&request.events)));
        let (reply, answer) = oneshot::channel();
        let events = request.events;
        let call = Call { events, bytes, asked, reply, _charge: charge, _beside: beside };
        self.lane(&request.flow)?.try_send(call).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::new(proto::v1::Code::ResourceExhausted, "too many calls wait")
                    .after(RETRY_AFTER)
            }
            mpsc::error::TrySendError::Closed(_) => Refusal::unavailable("the node is stopping"),
        })?;
        let mut stored = answer
            .await
            .map_err(|_| Refusal::new(proto::v1::Code::Unknown, "the node gave up"))??;
        if asked == Some(Level::Committed) {
            let end = stored.first_offset + u64::from(stored.count);
            stored.shard.committed(stored.lineage, stored.first_offset, end).await?;
            stored.level = Level::Committed;
        }
        Ok(stored)
    }

    fn lane(&self, flow: &str) -> Result<mpsc::Sender<Call>, Refusal> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(flow) {
            return Ok(lane.clone());
        }
        let producer = fresh_producer(self.entropy.as_ref());
        // A flow that does not exist gets no lane.
        self.router.route(flow, producer)?;
        if lanes.len() >= SEND_LANES_MAX {
            return Err(Refusal::unavailable("too many flows are sent to"));
        }
        let (calls, queue) = mpsc::channel(SEND_QUEUED_MAX);
        let (router, entropy) = (Arc::clone(&self.router), Arc::clone(&self.entropy));
        let lane = Lane::new(flow, producer, router, entropy, self.metrics.clone());
        self.tasks.start(format!("send lane of {flow}"), |stop| lane.run(queue, stop));
        lanes.insert(flow.to_owned(), calls.clone());
        Ok(calls)
    }
}

impl Stored {
    fn into_response(self) -> SendResponse {
        let event = |index: u32| {
            let sequence = self.first_sequence + u64::from(index);
            let (producer, generation) = (self.producer, self.generation);
            let coordinates = proto::v1::Coordinates {
                flow: self.lineage.flow,
                shard: self.lineage.shard,
                epoch: self.lineage.epoch,
                first_offset: self.first_offset + u64::from(index),
                count: 1,
            };
            StoredEvent {
                id: EventId { producer, generation, sequence }.to_string(),
                coordinates: Some(coordinates),
            }
        };
        SendResponse {
            level: wire::from_level(self.level).into(),
            events: (0..self.count).map(event).collect(),
        }
    }
}

/// Headers that a map makes room for at once.
const HEADERS_AT_ONCE: usize = 11;

/// What events take in memory beside their text: an event without content comes as two bytes.
fn beside_bytes(events: &[PlainEvent]) -> usize {
    let room = |event: &PlainEvent| event.headers.len().next_multiple_of(HEADERS_AT_ONCE);
    let headers: usize = events.iter().map(room).sum();
    size_of_val(events) + headers * size_of::<(String, String)>()
}

fn fresh_producer(entropy: &dyn Entropy) -> ProducerId {
    let mut id = [0; 16];
    entropy.fill(&mut id);
    ProducerId(id)
}
