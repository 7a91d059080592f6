//! The real shard behind the server, and the SDK in front of it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sdk_channel::{
    Capacity, ChannelKind, ChannelOptions, Remembered, Shard, ShardOptions, rebuild, stop_lineage,
};
use sdk_config::{FlowSpec, SourceSpec};
use sdk_event::{Block, Level, Lineage, ProducerId};
use sdk_flow::{ChannelProcessor, Environment, HostNames, SystemClock, Tasks};
use sdk_producer::{BlockStream, Event, Producer, StreamOptions};
use sdk_wal::{Log, LogOptions};
use server_ingest::limits::Limits;
use server_ingest::{CommitError, Committed, RouteError, Router, ShardHandle, SourceShard};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::harness::{Node, PRODUCER, block, in_time};
use crate::twin::Twin;

const LINEAGE: Lineage = Lineage { flow: 7, shard: 0, epoch: 1 };

/// A shard on a disk, with a node in front.
struct Stack {
    node: Node,
    router: Arc<OneShard>,
    log: Log,
    flow: FlowSpec,
    finals: Arc<Finals>,
    _dir: TempDir,
}

struct OneShard(Mutex<Arc<SourceShard>>);

/// How far files are final.
struct Finals(watch::Sender<u64>);

#[async_trait]
impl Committed for Finals {
    async fn committed(&self, _: Lineage, _: u64, end: u64) -> Result<(), CommitError> {
        let mut finals = self.0.subscribe();
        finals.wait_for(|floor| *floor >= end).await.map_err(|_| CommitError::Stopped)?;
        Ok(())
    }
}

impl Router for OneShard {
    fn route(&self, _: &str, _: ProducerId) -> Result<Arc<dyn ShardHandle>, RouteError> {
        Ok(Arc::clone(&*self.0.lock().expect("not poisoned")) as Arc<dyn ShardHandle>)
    }
}

impl Stack {
    async fn start(kind: ChannelKind, level: Level) -> (Stack, Arc<Shard>) {
        let dir = tempfile::tempdir().expect("a directory");
        let log = Log::open(LogOptions {
            segment_bytes: 1 << 20,
            quota_bytes: Some(256 << 20),
            free_bytes_floor: 0,
            reserve_bytes: 4096,
            ..LogOptions::new(dir.path().join("log"))
        });
        let log = log.expect("a log").0;
        let flow: FlowSpec = serde_json::from_value(serde_json::json!({
            "sources": { "in": { "collector": { "channels": ["main"] } } },
            "channels": { "main": { "durable": {} } },
        }))
        .expect("a flow");
        let shard = open(&log, LINEAGE, kind, level, Remembered::nothing(LINEAGE, None)).await;
        let finals = Arc::new(Finals(watch::Sender::new(0)));
        let router = OneShard(Mutex::new(source_shard(&flow, &shard, &finals)));
        let router = Arc::new(router);
        let twin = Twin::new(level);
        let routes = Arc::clone(&router) as Arc<dyn Router>;
        let node = Node::over(routes, twin, Limits::default()).await;
        (Stack { node, router, log, flow, finals, _dir: dir }, shard)
    }

    /// Seals the lineage and opens the next, as a restart does.
    async fn reopen(&self, shard: &Shard) -> Arc<Shard> {
        shard.seal();
        let now_ms = 1_800_000_000_000;
        let end = stop_lineage(&self.log, LINEAGE, now_ms).await.expect("stopped");
        let next = Lineage { epoch: LINEAGE.epoch + 1, ..LINEAGE };
        let rebuilt = rebuild(&self.log, &[(LINEAGE, end)], next, None).expect("rebuilt");
        let shard =
            open(&self.log, next, ChannelKind::Durable, Level::Local, rebuilt.remembered).await;
        let handle = source_shard(&self.flow, &shard, &self.finals);
        *self.router.0.lock().expect("not poisoned") = handle;
        shard
    }
}

async fn open(
    log: &Log,
    lineage: Lineage,
    kind: ChannelKind,
    level: Level,
    remembered: Remembered,
) -> Arc<Shard> {
    let capacity = Capacity::new("main", 64 << 20, u64::MAX);
    let options = ShardOptions {
        channels: vec![ChannelOptions { number: 0, kind, capacity }],
        ..ShardOptions::new(lineage, level, Some(log.clone()), Arc::new(SystemClock::new()))
    };
    Arc::new(Shard::open(options, remembered).await.expect("a shard"))
}

fn source_shard(flow: &FlowSpec, shard: &Arc<Shard>, finals: &Arc<Finals>) -> Arc<SourceShard> {
    let environment =
        Environment { clock: Arc::new(SystemClock::new()), host: HostNames::default() };
    let source: &SourceSpec = &flow.sources["in"];
    let processor = ChannelProcessor::build(source, flow, &environment).expect("a processor");
    let finals = Arc::clone(finals) as Arc<dyn Committed>;
    Arc::new(SourceShard::new(Arc::clone(shard), Arc::new(processor), finals))
}

/// Everything that a reader hands out, as `sequence:body`.
async fn stored(shard: &Shard, events: usize) -> Vec<String> {
    let mut reader = shard.reader(0, 0).expect("a reader");
    let mut lines = Vec::new();
    while lines.len() < events {
        let batch = in_time(reader.next(1 << 20)).await.expect("readable").expect("not sealed");
        lines.extend(batch.events().map(|(_, event)| {
            format!("{}:{}", event.sequence(), String::from_utf8_lossy(event.body()))
        }));
    }
    lines
}

fn options(node: &Node) -> StreamOptions {
    StreamOptions {
        endpoints: vec![node.url().parse().expect("an address")],
        ..StreamOptions::new(PRODUCER, 1)
    }
}

async fn send(stream: &BlockStream, block: Block) -> sdk_producer::Stored {
    let answer = in_time(stream.send(block)).await.expect("open");
    in_time(answer).await.expect("stored")
}

#[tokio::test]
async fn events_of_the_sdk_are_in_the_channel_in_order() {
    let (stack, shard) = Stack::start(ChannelKind::Durable, Level::Local).await;
    let producer = Producer::builder().endpoint(stack.node.url()).batch_bytes(2_000);
    let producer = producer.start().expect("valid");
    let mut last = None;
    for number in 0..3_000 {
        last = Some(producer.send(Event::new(number.to_string())).await.expect("room"));
    }
    let receipt = in_time(last.expect("sent")).await.expect("stored");
    assert_eq!((receipt.level, receipt.id.sequence), (Level::Local, 2_999));
    in_time(producer.close()).await.expect("all acknowledged");
    let expected: Vec<String> = (0..3_000).map(|number| format!("{number}:{number}")).collect();
    assert_eq!(stored(&shard, 3_000).await, expected);
    stack.node.stop().await;
}

#[tokio::test]
async fn a_restart_of_the_shard_is_invisible_to_a_producer() {
    let (stack, shard) = Stack::start(ChannelKind::Durable, Level::Local).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&stack.node), &tasks);
    let first = send(&stream, block(0, ["a"])).await;
    assert_eq!(first.lineage.epoch, 1);
    let next = stack.reopen(&shard).await;
    let second = send(&stream, block(1, ["b"])).await;
    assert_eq!(second.lineage.epoch, 2);
    stream.restart(0).expect("open");
    let repeat = send(&stream, block(0, ["a"])).await;
    assert!(repeat.duplicate);
    assert_eq!(stored(&next, 1).await, ["1:b"]);
    stack.node.stop().await;
}

#[tokio::test]
async fn a_thinned_block_keeps_its_ids_and_needs_no_gap() {
    let (stack, shard) = Stack::start(ChannelKind::Durable, Level::Local).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&stack.node), &tasks);
    let thinned = block(0, ["a", "b", "c", "d"]).thin(&[0, 2]).remove(0);
    let tail = thinned.header().end_sequence();
    assert_eq!(tail, 3);
    send(&stream, thinned.clone()).await;
    send(&stream, block(tail, ["e"])).await;
    assert_eq!(stream.metrics().retried_blocks, 0);
    stream.restart(0).expect("open");
    assert!(send(&stream, thinned).await.duplicate);
    assert_eq!(stored(&shard, 3).await, ["0:a", "2:c", "3:e"]);
    stack.node.stop().await;
}

#[tokio::test]
async fn committed_is_what_the_node_says_about_files() {
    let (stack, shard) = Stack::start(ChannelKind::Durable, Level::Local).await;
    let tasks = Tasks::new();
    let options = StreamOptions { ack: Some(Level::Committed), ..options(&stack.node) };
    let stream = BlockStream::open(options, &tasks);
    let mut answer = in_time(stream.send(block(0, ["a"]))).await.expect("open");
    assert_eq!(stored(&shard, 1).await, ["0:a"]);
    assert!(futures::poll!(&mut answer).is_pending());
    stack.finals.0.send_replace(shard.watermark());
    assert_eq!(in_time(answer).await.expect("committed").level, Level::Committed);
    stack.node.stop().await;
}

#[tokio::test]
async fn a_memory_channel_gives_received() {
    let (stack, shard) = Stack::start(ChannelKind::Memory, Level::Received).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&stack.node), &tasks);
    assert_eq!(send(&stream, block(0, ["a"])).await.level, Level::Received);
    assert_eq!(stored(&shard, 1).await, ["0:a"]);
    stack.node.stop().await;
}
