//! `collector`: onward to the nodes of a collector tier, under the ids that the events have.

mod lane;
mod merge;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sdk_config::{AckLevel, CollectorSink, OnExpired as SpecOnExpired, WireCodec};
use sdk_event::{Block, Codec, Level, ProducerId};
use sdk_flow::{Batch, BoxError, DeadLetters, Entropy, Positions, Sink, SinkError, Stored, Tasks};
use sdk_producer::{
    Client, ClientFiles, DeliveryError, Endpoint, OnExpired, OnRejected, ProducerMetrics, Rejected,
    RetryOptions, StreamOptions,
};
use smallvec::smallvec;
use tracing::warn;

use lane::{Answer, Lane};
use merge::blocks;

/// Producers that have a stream at once; the one idle longest makes room.
const LANES_MAX: usize = 64;

/// How long streams may take to end.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Forwards stored blocks to nodes and answers when all of a batch is acknowledged.
///
/// Blocks keep their ids at every retry, so what was stored by an attempt before is recognised; a
/// batch that comes again waits for what is under way and sends only the rest. Events that an
/// interceptor dropped here are declared as gaps.
///
/// A block that nodes reject for what it is goes to the dead letters, alone, where there are any;
/// only then is its place declared a gap and what follows sent. Without dead letters the batch that
/// it is in is rejected. When nodes have forgotten the producer, what the spec says about
/// `on_expired` holds.
pub struct Collector {
    options: StreamOptions,
    answer_within: Duration,
    codec: Codec,
    batch_bytes: usize,
    lanes: BTreeMap<Key, Lane>,
    turn: u64,
    letters: Option<Letters>,
    tasks: Tasks,
}

/// Whose blocks a stream carries.
type Key = (ProducerId, u64);

struct Letters {
    sink: String,
    letters: Arc<dyn DeadLetters>,
}

/// A block of the batch in hand.
struct Item<'a> {
    stored: &'a Stored,
    /// Of its events in the put.
    positions: Positions,
    block: Block,
    done: bool,
}

impl Collector {
    /// A sink as `spec` says; `flow` is the name of the flow it is in.
    ///
    /// # Errors
    /// When an endpoint is no address, or none is given, or a file cannot be used.
    pub fn new(
        spec: &CollectorSink,
        flow: &str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Collector, BoxError> {
        let connect_timeout = Duration::from(spec.connect_timeout);
        let endpoints = spec.endpoints.iter().map(|text| text.parse::<Endpoint>());
        let endpoints = endpoints.map(|e| e.map(|e| e.with_connect_timeout(connect_timeout)));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err("no endpoint is given".into());
        }
        let files = ClientFiles {
            ca: spec.ca.as_ref().map(PathBuf::from),
            certificate: spec.certificate.as_ref().map(PathBuf::from),
            key: spec.key.as_ref().map(PathBuf::from),
            token_file: spec.token_file.as_ref().map(PathBuf::from),
            server_name: spec.server_name.clone(),
            prefix: String::new(),
        };
        let options = StreamOptions {
            endpoints,
            security: Client::new(files)?,
            flow: spec.flow.clone().unwrap_or_else(|| flow.to_owned()),
            ack: spec.ack.map(level),
            window_bytes: usize::try_from(spec.in_flight.bytes()).unwrap_or(usize::MAX),
            on_rejected: OnRejected::Stop,
            on_expired: OnExpired::NewGeneration {
                resend_doubtful: spec.on_expired == SpecOnExpired::Resend,
            },
            retry: RetryOptions { pause_max: spec.max_backoff.into(), ..RetryOptions::default() },
            client: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
            entropy,
            ..StreamOptions::new(ProducerId([0; 16]), 0)
        };
        Ok(Collector {
            options,
            answer_within: spec.request_timeout.into(),
            codec: codec(spec.codec),
            batch_bytes: usize::try_from(spec.batch_bytes.bytes()).unwrap_or(usize::MAX),
            lanes: BTreeMap::new(),
            turn: 0,
            letters: None,
            tasks: Tasks::new(),
        })
    }

    /// Where blocks go that nodes reject, under the name that this sink has in its flow.
    #[must_use]
    pub fn with_dead_letters(mut self, sink: &str, letters: Arc<dyn DeadLetters>) -> Collector {
        self.letters = Some(Letters { sink: sink.to_owned(), letters });
        self
    }

    /// What each stream has done so far.
    pub fn metrics(&self) -> impl Iterator<Item = (ProducerId, ProducerMetrics)> {
        self.lanes.iter().map(|((producer, _), lane)| (*producer, lane.metrics()))
    }

    /// Sends what is not done and waits for the answers. Afterwards either all is done, or what is
    /// left must be sent again.
    async fn round(&mut self, batch: &Batch, items: &mut [Item<'_>]) -> Result<(), SinkError> {
        for item in items.iter_mut().filter(|item| !item.done) {
            let within = self.answer_within;
            item.done = self.lane(&item.block).submit(&item.block, within).await?;
        }
        for item in items.iter_mut().filter(|item| !item.done) {
            let (within, ack) = (self.answer_within, self.options.ack);
            let patient = ack == Some(Level::Committed);
            match self.lane(&item.block).answer(&item.block, within, patient).await? {
                Answer::Stored => item.done = true,
                Answer::Again => {}
                Answer::Refused(error) => {
                    self.bury(batch, item, error).await?;
                    self.lane(&item.block).pass(&item.block);
                    item.done = true;
                }
            }
        }
        Ok(())
    }

    /// Keeps what nodes will never take.
    async fn bury(
        &self,
        batch: &Batch,
        item: &Item<'_>,
        error: DeliveryError,
    ) -> Result<(), SinkError> {
        let error: BoxError = error.into();
        let Some(Letters { sink, letters }) = &self.letters else {
            return Err(SinkError::Rejected(error));
        };
        // A put may have gone out in several blocks: only what was refused.
        let parts = smallvec![(item.positions.clone(), item.block.clone())];
        let stored = Stored { parts, dropped: Vec::new(), ..item.stored.clone() };
        let (from, to) = (stored.first_offset, stored.end());
        let alone = Batch { lineage: batch.lineage, from, to, stored: vec![stored] };
        warn!(%error, sink, offset = from, "a block goes to the dead letters");
        letters.bury(sink, &alone, &error).await.map_err(SinkError::Unavailable)
    }

    /// The stream of the block's producer.
    fn lane(&mut self, block: &Block) -> &mut Lane {
        let header = block.header();
        let key = (header.producer, header.generation);
        self.turn += 1;
        if !self.lanes.contains_key(&key) && self.lanes.len() >= LANES_MAX {
            let idle = self.lanes.iter().filter(|(_, lane)| lane.is_idle());
            let idle = idle.min_by_key(|(_, lane)| lane.used).map(|(key, _)| *key);
            if let Some(idle) = idle {
                self.lanes.remove(&idle);
            }
        }
        let lane =
            self.lanes.entry(key).or_insert_with(|| Lane::open(&self.options, header, &self.tasks));
        lane.used = self.turn;
        lane
    }
}

#[async_trait]
impl Sink for Collector {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut items = Vec::with_capacity(batch.stored.len());
        for stored in &batch.stored {
            for (positions, block) in blocks(stored, self.batch_bytes, self.codec) {
                items.push(Item { stored, positions, block, done: false });
            }
        }
        while items.iter().any(|item| !item.done) {
            let left = items.iter().filter(|item| !item.done).count();
            self.round(batch, &mut items).await?;
            if items.iter().filter(|item| !item.done).count() >= left {
                return Err(SinkError::Unavailable("the nodes take nothing".into()));
            }
        }
        self.lanes.values_mut().for_each(Lane::forget_done);
        Ok(())
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        self.lanes.clear();
        self.tasks.stop(CLOSE_GRACE).await;
        Ok(())
    }
}

/// Whether the block itself is at fault, or its ids.
fn is_final(error: &DeliveryError) -> bool {
    matches!(
        error,
        DeliveryError::Rejected { kind: Rejected::Invalid | Rejected::Conflict, .. }
            | DeliveryError::Lost
            | DeliveryError::ProducerExpired { .. }
    )
}

fn level(level: AckLevel) -> Level {
    match level {
        AckLevel::Received => Level::Received,
        AckLevel::Local => Level::Local,
        AckLevel::Replicated => Level::Replicated,
        AckLevel::Committed => Level::Committed,
    }
}

fn codec(codec: WireCodec) -> Codec {
    match codec {
        WireCodec::None => Codec::None,
        WireCodec::Lz4 => Codec::Lz4,
        WireCodec::Zstd => Codec::Zstd,
    }
}
