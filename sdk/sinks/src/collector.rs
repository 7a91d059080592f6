//! `collector`: onward to the nodes of a collector tier, under the ids that the events have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sdk_config::{AckLevel, CollectorSink, OnExpired as SpecOnExpired};
use sdk_event::{Block, Level, ProducerId};
use sdk_flow::{Batch, BoxError, Entropy, Sink, SinkError, Tasks};
use sdk_producer::{
    BlockAnswer, BlockStream, DeliveryError, Endpoint, OnExpired, OnRejected, Rejected,
    RetryOptions, StreamOptions,
};
use tokio::time::{Instant, timeout_at};

/// Producers that have a stream at once; the one idle longest is closed first.
const STREAMS_MAX: usize = 64;
/// How long streams may take to end.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Forwards stored blocks to nodes and answers when all of a batch is acknowledged.
///
/// Blocks keep their ids at every retry, so what was stored by an attempt before is recognised. When
/// nodes have forgotten the producer, what the spec says about `on_expired` holds.
pub struct Collector {
    options: StreamOptions,
    answer_within: Duration,
    streams: BTreeMap<(ProducerId, u64), Open>,
    tasks: Tasks,
}

/// A stream and where it is.
struct Open {
    stream: BlockStream,
    /// The sequence behind the last block that was sent, or answered if something went wrong.
    next: u64,
    used: Instant,
}

/// A block that waits for its answer.
struct Waiting {
    key: (ProducerId, u64),
    first: u64,
    end: u64,
    answer: BlockAnswer,
}

impl Collector {
    /// A sink as `spec` says; `flow` is the name of the flow it is in.
    ///
    /// # Errors
    /// When an endpoint is no address, or none is given.
    pub fn new(
        spec: &CollectorSink,
        flow: &str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Collector, BoxError> {
        let endpoints = spec.endpoints.iter().map(|text| text.parse::<Endpoint>());
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err("no endpoint is given".into());
        }
        let options = StreamOptions {
            endpoints,
            flow: spec.flow.clone().unwrap_or_else(|| flow.to_owned()),
            ack: spec.ack.map(level),
            window_bytes: usize::try_from(spec.in_flight.bytes()).unwrap_or(usize::MAX),
            on_rejected: OnRejected::Stop,
            on_expired: OnExpired::Renumber {
                resend_doubtful: spec.on_expired == SpecOnExpired::Resend,
            },
            retry: RetryOptions { pause_max: spec.max_backoff.into(), ..RetryOptions::default() },
            client: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
            entropy,
            ..StreamOptions::new(ProducerId([0; 16]), 0)
        };
        let answer_within = Duration::from(spec.request_timeout);
        Ok(Collector { options, answer_within, streams: BTreeMap::new(), tasks: Tasks::new() })
    }

    /// Sends one block behind those before it.
    async fn send(&mut self, block: &Block, deadline: Instant) -> Result<Waiting, SinkError> {
        let header = *block.header();
        let key = (header.producer, header.generation);
        if !self.streams.contains_key(&key) {
            self.make_room();
            let options = StreamOptions {
                producer: header.producer,
                generation: header.generation,
                next_sequence: header.first_sequence,
                // A process before this one may have sent it and not lived to see the answer. The
                // very first block of a producer would make the node look for one it never knew.
                sent: header.first_sequence > 0,
                ..self.options.clone()
            };
            let stream = BlockStream::open(options, &self.tasks);
            let open = Open { stream, next: header.first_sequence, used: deadline };
            self.streams.insert(key, open);
        }
        let Some(open) = self.streams.get_mut(&key) else {
            return Err(SinkError::Unavailable("the stream has ended".into()));
        };
        open.used = deadline;
        let ended = |error: sdk_producer::SendError| SinkError::Unavailable(Box::new(error));
        if header.first_sequence < open.next {
            // A batch that comes again: ask what of it is stored, and go on from there.
            open.stream.restart(header.first_sequence).map_err(ended)?;
        } else if header.first_sequence > open.next {
            open.stream.gap(open.next, header.first_sequence).map_err(ended)?;
        }
        let answer = match timeout_at(deadline, open.stream.send(block.clone())).await {
            Ok(sent) => sent.map_err(ended)?,
            Err(_) => return Err(SinkError::Unavailable("no node answers".into())),
        };
        open.next = header.end_sequence();
        Ok(Waiting { key, first: header.first_sequence, end: header.end_sequence(), answer })
    }

    /// After something went wrong: what has no answer is forgotten here, and asked for again.
    fn step_back(&mut self, key: (ProducerId, u64), to: u64) {
        if let Some(open) = self.streams.get_mut(&key)
            && open.stream.restart(to).is_ok()
        {
            open.next = to;
        } else {
            self.streams.remove(&key);
        }
    }

    fn make_room(&mut self) {
        while self.streams.len() >= STREAMS_MAX {
            let idle = self.streams.iter().min_by_key(|(_, open)| open.used).map(|(key, _)| *key);
            let Some(idle) = idle else { return };
            self.streams.remove(&idle);
        }
    }

    async fn answered(&mut self, waiting: Vec<Waiting>) -> Result<(), SinkError> {
        let mut first_error = None;
        let mut lowest: BTreeMap<(ProducerId, u64), u64> = BTreeMap::new();
        for Waiting { key, first, end, answer } in waiting {
            // Each answer in time moves the deadline: a large batch over a slow line is no outage.
            let deadline = Instant::now() + self.answer_within;
            let answer = match timeout_at(deadline, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(DeliveryError::Unknown { reason: "no node answers".into() }),
            };
            match answer {
                Ok(_) => (),
                // Stored once, and given up by an operator there: sending again cannot help.
                Err(DeliveryError::Lost) => (),
                Err(error) => {
                    let from = if is_content(&error) { end } else { first };
                    let known = lowest.entry(key).or_insert(from);
                    *known = (*known).min(from);
                    if first_error.is_none() {
                        first_error = Some(error);
                        // The others cannot be better, and waiting for each would take as long again.
                        self.answer_rest_soon();
                    }
                }
            }
        }
        let Some(error) = first_error else { return Ok(()) };
        for (key, to) in lowest {
            self.step_back(key, to);
        }
        Err(match error {
            DeliveryError::Rejected { kind: Rejected::Invalid | Rejected::Conflict, .. } => {
                SinkError::Rejected(Box::new(error))
            }
            error => SinkError::Unavailable(Box::new(error)),
        })
    }

    fn answer_rest_soon(&mut self) {
        self.answer_within = self.answer_within.min(Duration::from_millis(100));
    }
}

/// Whether the block itself is at fault.
fn is_content(error: &DeliveryError) -> bool {
    matches!(error, DeliveryError::Rejected { kind: Rejected::Invalid | Rejected::Conflict, .. })
}

fn level(level: AckLevel) -> Level {
    match level {
        AckLevel::Received => Level::Received,
        AckLevel::Local => Level::Local,
        AckLevel::Replicated => Level::Replicated,
        AckLevel::Committed => Level::Committed,
    }
}

#[async_trait]
impl Sink for Collector {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let within = self.answer_within;
        let deadline = Instant::now() + within;
        let mut waiting = Vec::with_capacity(batch.stored.len());
        let mut failed = None;
        for (_, block) in batch.stored.iter().flat_map(|stored| &stored.parts) {
            match self.send(block, deadline).await {
                Ok(sent) => waiting.push(sent),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let answered = self.answered(waiting).await;
        self.answer_within = within;
        match failed {
            // What was sent may be stored; all of it is asked for again.
            Some(error) => Err(error),
            None => answered,
        }
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        self.streams.clear();
        self.tasks.stop(CLOSE_GRACE).await;
        Ok(())
    }
}
