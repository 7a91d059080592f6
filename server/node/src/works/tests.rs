#![allow(clippy::disallowed_methods, reason = "puts something in the way of a sink")]

use super::*;
use crate::lineages::{Held, HeldLineage};
use sdk_channel::stop_lineage;
use sdk_config::ledger::Span;
use sdk_config::parse_node;
use sdk_event::{Block, BlockBuilder, Codec, Level, Lineage, ProducerId};
use sdk_files::fs::LocalFileSystems;
use sdk_flow::{Exhaustion, PutError, Receipt, Rejection, SeededEntropy, SystemClock};
use sdk_wal::{KeyValue, LogOptions, MemoryView, ViewError};
use server_cluster::command::{Lost, Seal, ShardSeal};
use server_cluster::state::{LostRange, Opening};
use server_ingest::{CommitError, OpenSession, ShardHandle};
use server_raft::{Raft, RaftOptions};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const STOP_GRACE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(20);

/// A node without doors, on a directory.
struct TestNode {
    works: Works,
    log: Log,
    tasks: Tasks,
}

fn log_options(dir: &Path) -> LogOptions {
    LogOptions {
        segment_bytes: 1 << 20,
        quota_bytes: Some(64 << 20),
        free_bytes_floor: 0,
        reserve_bytes: 4096,
        ..LogOptions::new(dir.join("log"))
    }
}

impl TestNode {
    async fn start(dir: &Path, log_options: LogOptions) -> Self {
        Self::start_with(dir, log_options, "durable").await
    }

    async fn start_with(dir: &Path, log_options: LogOptions, channel: &str) -> Self {
        let spec = format!(
            r#"
[flow.web]
shards = 2
replicas = 1
[flow.web.sources.in]
type = "collector"
channels = ["main"]
[flow.web.channels.main]
type = "{channel}"
[flow.web.sinks.out]
type = "files"
channel = "main"
path = "{}/files/web/all"
roll_interval = "100ms"
"#,
            dir.display()
        );
        let config = parse_node(&spec, "test.toml", &|_| None).expect("config").value;
        let tasks = Tasks::new();
        let view = Arc::clone(&log_options.view);
        let log = Log::open(log_options).expect("log").0;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let raft = RaftOptions {
            quota_bytes: 4 << 20,
            segment_bytes: 64 << 10,
            reserve_bytes: 4 << 10,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            ..RaftOptions::new(dir.join("raft"), FIRST_NODE)
        };
        let options = WorksOptions {
            config,
            cluster: [0xc1; 16],
            directory: [0xd1; 16],
            addresses: Vec::new(),
            log: log.clone(),
            view,
            raft: Raft::start(raft, &tasks).expect("raft"),
            file_systems: Arc::new(LocalFileSystems::default()),
            archive: None,
            dead_letters: dir.join("dead"),
            clock,
            entropy,
            host: HostNames::default(),
        };
        let works = Works::start(options, &mut Registry::default(), &tasks).await.expect("works");
        Self { works, log, tasks }
    }

    async fn stop(self) {
        self.works.stop(STOP_GRACE).await;
        self.tasks.stop(STOP_GRACE).await;
        drop(self.works);
        self.log.stop();
    }

    /// Each shard's newest lineage, by shard.
    fn newest(&self) -> Vec<Lineage> {
        let lineages = self.works.cluster.read(|state| {
            state.lineages().map(|(lineage, _)| ((lineage.flow, lineage.shard), lineage)).collect()
        });
        let newest: std::collections::BTreeMap<_, _> = lineages;
        newest.into_values().collect()
    }

    fn is_drained(&self) -> bool {
        let living = self.works.audit().into_iter().flat_map(|row| row.living);
        living.map(|living| living.waiting).sum::<u64>() == 0
    }
}

/// Someone who sends one block of one event after the other.
struct Sender {
    producer: ProducerId,
    next: u64,
}

impl Sender {
    /// The first producer whose events go to that shard.
    fn to(node: &TestNode, shard: usize) -> Self {
        Self::all_to(node, shard).next().expect("some producer goes there")
    }

    /// Producers whose events go to that shard, without end.
    fn all_to(node: &TestNode, shard: usize) -> impl Iterator<Item = Self> {
        let flow = node.works.flows.named("web").expect("flow");
        let ids = (1_u128..).map(|number| ProducerId(number.to_be_bytes()));
        let ids = ids.filter(move |id| flow.shard_of(*id) == shard);
        ids.map(|producer| Self { producer, next: 0 })
    }

    async fn open_session(&self, node: &TestNode) -> Result<Lineage, PutError> {
        let moving = PutError::Exhausted { reason: Exhaustion::Moving, retry_after: MOMENT };
        let shard = self.route(node).ok_or(moving)?;
        let (producer, lowest_sequence) = (self.producer, self.next);
        let sent = lowest_sequence > 0;
        let session = OpenSession { producer, generation: 1, lowest_sequence, sent };
        shard.open_session(session).await.map(|_| shard.lineage())
    }

    fn block(&self) -> Block {
        let mut builder = BlockBuilder::new(self.producer, 1, self.next);
        builder.push(None, [], format!("event {}", self.next).as_bytes()).expect("fits");
        builder.finish(Codec::None)
    }

    fn route(&self, node: &TestNode) -> Option<Arc<dyn ShardHandle>> {
        node.works.router().route("web", self.producer).ok()
    }

    async fn send(&mut self, node: &TestNode) -> Result<Receipt, PutError> {
        self.open_session(node).await?;
        let shard = self.route(node).expect("the shard is open");
        let receipt = shard.put(self.block()).await?;
        self.next += 1;
        Ok(receipt)
    }
}

/// Waits for what takes a moment, as whoever looks at a node from outside would.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds() {
            tokio::time::sleep(MOMENT).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} does not come to be"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_does_not_open_keeps_nothing_else_and_is_tried_again() {
    let dir = tempfile::tempdir().expect("dir");
    let node = TestNode::start(dir.path(), log_options(dir.path())).await;
    let mut first = Sender::to(&node, 0);
    let mut second = Sender::to(&node, 1);
    first.send(&node).await.expect("stored");
    second.send(&node).await.expect("stored");
    // The next lineage of a shard is begun already, as by a try that a full log has ended.
    let begun = node.newest()[0];
    let begun = Lineage { epoch: begun.epoch + 1, ..begun };
    stop_lineage(&node.log, begun, 0).await.expect("written");
    node.stop().await;

    let node = TestNode::start(dir.path(), log_options(dir.path())).await;
    assert!(first.route(&node).is_none(), "a lineage is opened once");
    let receipt = second.send(&node).await.expect("the other shard takes events");
    assert_eq!(receipt.level, Level::Local);
    eventually("the first shard", || first.route(&node).is_some()).await;
    let receipt = first.send(&node).await.expect("stored");
    assert_eq!(receipt.lineage.epoch, begun.epoch + 1, "the one begun in vain is sealed");
    eventually("an empty backlog", || node.is_drained()).await;
    node.stop().await;
}

/// A view that loses producers while it is told to.
struct Forgetful {
    view: MemoryView,
    forgets: AtomicBool,
}

impl View for Forgetful {
    fn put(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
        match tree == "producers" && self.forgets.load(Ordering::Relaxed) {
            true => Ok(()),
            false => self.view.put(tree, key, value),
        }
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.view.get(tree, key)
    }

    fn remove(&self, tree: &str, key: &[u8]) -> Result<(), ViewError> {
        self.view.remove(tree, key)
    }

    fn range(
        &self,
        tree: &str,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<KeyValue>, ViewError> {
        self.view.range(tree, from, to, max)
    }

    fn last_at_or_below(&self, tree: &str, key: &[u8]) -> Result<Option<KeyValue>, ViewError> {
        self.view.last_at_or_below(tree, key)
    }

    fn clear(&self, tree: &str) -> Result<(), ViewError> {
        self.view.clear(tree)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_memory_of_producers_is_damaged_goes_on_in_a_new_lineage() {
    let dir = tempfile::tempdir().expect("dir");
    let forgets = AtomicBool::new(true);
    let view = Arc::new(Forgetful { view: MemoryView::new(), forgets });
    let options = LogOptions { view: Arc::clone(&view) as _, ..log_options(dir.path()) };
    let node = TestNode::start(dir.path(), options).await;
    // More than a table keeps in memory, so that the view has the first ones; or it should.
    let many: Vec<Sender> = Sender::all_to(&node, 0).take(9000).collect();
    let opened = futures::future::join_all(many.iter().map(|one| one.open_session(&node))).await;
    let lineage = *opened[0].as_ref().expect("open");
    assert!(opened.iter().all(Result::is_ok));
    let mut lost = None;
    for one in &many {
        if one.open_session(&node).await.is_err() {
            lost = Some(one);
            break;
        }
    }
    let lost = lost.expect("the view has lost some");
    view.forgets.store(false, Ordering::Relaxed);
    let newer = || lost.route(&node).is_some_and(|shard| shard.lineage().epoch > lineage.epoch);
    eventually("a new lineage", newer).await;
    let known = node.works.lineages.all().into_iter().filter_map(|(_, held)| match held.held {
        Held::Written(shard) => Some(shard),
        Held::Sealed(_) => None,
    });
    let newest = known.filter(|shard| shard.lineage().shard == 0).last().expect("the shard");
    assert_eq!(newest.producers(), many.len(), "the log knows them all");
    lost.open_session(&node).await.expect("open");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_abandoned_is_lost_also_when_its_lineage_has_left_the_state() {
    let dir = tempfile::tempdir().expect("dir");
    // Nothing can be delivered as long as this stands where the directory is to be.
    let in_the_way = dir.path().join("files");
    std::fs::write(&in_the_way, "").expect("written");
    let node = TestNode::start(dir.path(), log_options(dir.path())).await;
    let mut sender = Sender::to(&node, 0);
    let block = sender.block();
    let receipt = sender.send(&node).await.expect("stored");
    let (given_up, offset) = (receipt.lineage, receipt.first_offset);
    node.stop().await;

    let node = TestNode::start(dir.path(), log_options(dir.path())).await;
    let shard = sender.route(&node).expect("open");
    let answer = shard.put(block.clone()).await.expect("a repeat");
    assert!(answer.duplicate && answer.lineage == given_up);
    let waits = shard.committed(given_up, offset, offset + 1);
    // As `lineages abandon` does.
    let spans = [Span { first: 0, last: offset }];
    node.works.lineages.give_up(given_up, &spans).await.expect("remembered");
    let ranges = spans.map(|span| LostRange { span, ids: Vec::new() }).to_vec();
    node.works.cluster.propose(Lost { lineage: given_up, ranges }).await.expect("listed");
    assert!(matches!(waits.await, Err(CommitError::Lost)));
    std::fs::remove_file(&in_the_way).expect("removed");
    let listed = || node.works.cluster.read(|state| state.lineage(given_up).is_some());
    eventually("the end of the lineage", || !listed()).await;
    let again = shard.put(block.clone()).await.expect_err("it was never delivered");
    assert!(matches!(again, PutError::Rejected { reason: Rejection::Lost }), "{again:?}");
    let late = shard.committed(given_up, offset, offset + 1).await;
    assert!(matches!(late, Err(CommitError::Lost)));
    node.stop().await;

    let node = TestNode::start(dir.path(), log_options(dir.path())).await;
    let again = sender.route(&node).expect("open").put(block).await.expect_err("not delivered");
    assert!(matches!(again, PutError::Rejected { reason: Rejection::Lost }), "{again:?}");
    sender.send(&node).await.expect("what follows is taken");
    node.stop().await;
}

fn has_folder(at: &Path, name: &str) -> bool {
    let entries = std::fs::read_dir(at).into_iter().flatten().filter_map(Result::ok);
    let mut folders = entries.filter(|entry| entry.path().is_dir());
    folders.any(|folder| folder.file_name() == name || has_folder(&folder.path(), name))
}

/// `drained`: whether all is delivered when the seal is applied, so that the lineage leaves the state with it.
async fn seals_without_an_answer(channel: &str, drained: bool) {
    let dir = tempfile::tempdir().expect("dir");
    let node = TestNode::start_with(dir.path(), log_options(dir.path()), channel).await;
    let mut senders = [Sender::to(&node, 0), Sender::to(&node, 1)];
    let blocks = [senders[0].block(), senders[1].block()];
    for sender in &mut senders {
        sender.send(&node).await.expect("stored");
    }
    if drained {
        eventually("an empty backlog", || node.is_drained()).await;
    }
    let stopped = node.newest();
    let mut ends = Vec::new();
    for lineage in &stopped {
        let Some(HeldLineage { held: Held::Written(shard), .. }) =
            node.works.lineages.get(*lineage)
        else {
            panic!("{lineage} is not written")
        };
        ends.push(shard.stop().await);
    }
    // One of the seals was applied after all.
    let me = node.works.cluster.node();
    let next = Opening { owner: me, replicas: vec![me] };
    let shard =
        ShardSeal { lineage: stopped[0], end: ends[0], holders: vec![me], next, version: 1 };
    let incarnation = node.works.cluster.incarnation();
    let seal = Seal { node: me, incarnation, shards: vec![shard] };
    node.works.cluster.propose(seal).await.expect("applied");
    for ((sender, stopped), block) in senders.iter_mut().zip(&stopped).zip(blocks) {
        let newer = || sender.route(&node).is_some_and(|it| it.lineage().epoch > stopped.epoch);
        eventually("a new lineage", newer).await;
        let receipt = sender.send(&node).await.expect("stored");
        assert_eq!(receipt.lineage.epoch, stopped.epoch + 1);
        let again = sender.route(&node).expect("open").put(block).await.expect("a repeat");
        assert!(again.duplicate, "what was known before is forgotten: {again:?}");
    }
    let listed = |lineage| node.works.cluster.read(|state| state.lineage(lineage).is_some());
    eventually("the end of what was stopped", || !stopped.iter().any(|it| listed(*it))).await;
    // Who drains to the end clears up behind it; who is closed before does not.
    let staged = |lineage: &Lineage| {
        has_folder(&dir.path().join("files"), &format!("{}-{}", lineage.shard, lineage.epoch))
    };
    eventually("clean staging", || !stopped.iter().any(staged)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_stopped_for_a_seal_without_an_answer_goes_on_in_a_new_lineage() {
    for channel in ["durable", "memory"] {
        for drained in [false, true] {
            seals_without_an_answer(channel, drained).await;
        }
    }
}
