//! A spool comes back exactly where it was.

use bytes::Bytes;
use sdk_channel::conformance::texts;
use sdk_channel::{
    Capacity, ChannelKind, Recovered, Spool, SpoolChannelOptions, SpoolOptions, Undelivered,
};
use sdk_event::{BlockBuilder, Codec, Lineage};
use sdk_flow::{
    Channel as _, ChannelSet, CursorError, Part, Positions, Put, PutError, SeededEntropy,
    SourcePosition, SourceStart,
};
use sdk_wal::{FaultyStorage, Log};

use crate::harness::{clock, open_log};

fn spool_channel(name: &str, groups: &[&str]) -> SpoolChannelOptions {
    SpoolChannelOptions {
        kind: ChannelKind::Durable,
        capacity: Capacity::new(name, 1 << 20, u64::MAX),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

async fn open(log: &Log, channels: Vec<SpoolChannelOptions>) -> (Spool, Recovered) {
    let mut options = SpoolOptions::new(log.clone(), 1, "web", clock());
    options.channels = channels;
    options.inline_reads = true;
    Spool::open(options).await.expect("spool")
}

async fn open_main(log: &Log) -> (Spool, Recovered) {
    open(log, vec![spool_channel("main", &["out"])]).await
}

/// Lines that a source reads: what it says is at `line` of a file.
struct Source {
    start: SourceStart,
    line: u64,
}

impl Source {
    async fn open(spool: &Spool, seed: u64) -> Source {
        let start = spool.start_source("tail", &SeededEntropy::new(seed)).await.expect("start");
        let positions = start.positions.clone().unwrap_or_default();
        let line = positions
            .get(b"file".as_slice())
            .map_or(0, |value| u64::from_le_bytes(value.as_ref().try_into().expect("eight bytes")));
        Source { start, line }
    }

    fn position(&self) -> Bytes {
        let value = Bytes::copy_from_slice(&self.line.to_le_bytes());
        let entries = vec![(Bytes::from_static(b"file"), Some(value))];
        SourcePosition { source: "tail".to_owned(), entries }.encode()
    }

    fn read(&mut self, lines: u64) -> Put {
        let SourceStart { producer, generation, next_sequence, .. } = self.start;
        let mut builder = BlockBuilder::new(producer, generation, next_sequence);
        for _ in 0..lines {
            builder.push(None, [], format!("line-{}", self.line).as_bytes()).expect("fits");
            self.line += 1;
        }
        let block = builder.finish(Codec::None);
        self.start.next_sequence += lines;
        Put {
            producer,
            generation,
            first_sequence: next_sequence,
            count: lines as u32,
            block_crc: block.header().crc,
            parts: [Part {
                channels: ChannelSet::of(0),
                optional: ChannelSet::EMPTY,
                positions: Positions::All,
                block,
            }]
            .into_iter()
            .collect(),
            dropped: Vec::new(),
            source_position: Some(self.position()),
        }
    }
}

/// Drains up to `events` of a group's lineages in their order, committing each batch.
async fn drain(spool: &Spool, channel: &str, group: &str, events: usize) -> Vec<String> {
    let mut found = Vec::new();
    for lineage in spool.lineages(channel, group) {
        let cursor = spool.cursor(channel, group, lineage).expect("cursor");
        let from = cursor.floor().await.expect("floor");
        let mut reader =
            spool.channel(channel).expect("channel").reader(lineage, from).expect("reader");
        while found.len() < events {
            let Some(batch) = reader.next(1).await.expect("read") else { break };
            found.extend(texts(&batch));
            cursor.commit(batch.from, batch.to).await.expect("commit");
        }
    }
    found
}

/// Moves the cursors over what follows the last events of sealed lineages.
async fn pass_rest(spool: &Spool, channel: &str, group: &str) {
    for lineage in spool.lineages(channel, group) {
        if lineage == spool.shard().lineage() {
            continue;
        }
        let cursor = spool.cursor(channel, group, lineage).expect("cursor");
        let from = cursor.floor().await.expect("floor");
        let mut reader =
            spool.channel(channel).expect("channel").reader(lineage, from).expect("reader");
        // The commit of the last batch lets the lineage go; the reader still comes to its end.
        while let Some(batch) = reader.next(1).await.expect("read") {
            assert_eq!(texts(&batch), Vec::<String>::new());
            cursor.commit(batch.from, batch.to).await.expect("commit");
        }
    }
}

fn lines(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|line| format!("line-{line}")).collect()
}

#[tokio::test]
async fn cursors_positions_and_ids_come_back() {
    let storage = FaultyStorage::new(1);
    let mut identity = None;
    let mut delivered = Vec::new();
    for life in 0..5u64 {
        let log = open_log(&storage);
        let (spool, recovered) = open_main(&log).await;
        assert!(recovered.exact && recovered.orphans.is_empty());
        assert_eq!(recovered.undelivered.is_empty(), life == 0);
        let mut source = Source::open(&spool, life).await;
        let ids = (source.start.producer, source.start.generation);
        assert_eq!(*identity.get_or_insert(ids), ids, "the same ids for as long as it lives");
        assert_eq!((source.line, source.start.next_sequence), (life * 20, life * 20));
        for _ in 0..4 {
            let put = source.read(5);
            let receipt = spool.shard().put(put.clone()).await.expect("put");
            assert!(!receipt.duplicate);
            assert!(spool.shard().put(put).await.expect("repeat").duplicate);
        }
        // Less is delivered than is read, so that lineages pile up.
        delivered.extend(drain(&spool, "main", "out", 15).await);
        let put = source.read(1);
        drop(Box::pin(spool.shard().put(put)));
        drop(spool);
        // Killed, or without power.
        match life % 2 {
            0 => storage.kill(),
            _ => storage.power_cut(),
        }
        drop(log);
    }
    let log = open_log(&storage);
    let (spool, recovered) = open_main(&log).await;
    assert!(recovered.undelivered.iter().map(|left| left.lineage).is_sorted());
    assert_eq!(spool.backlog_bytes("main").map(|bytes| bytes > 0), Some(true));
    let left = 100 - delivered.len();
    delivered.extend(drain(&spool, "main", "out", left).await);
    assert_eq!(delivered, lines(0, 100), "every line once and in order");
    pass_rest(&spool, "main", "out").await;
    assert_eq!(spool.lineages("main", "out"), [spool.shard().lineage()]);
    // Everything is delivered: the log keeps nothing but this life's lineage.
    let kept: Vec<Lineage> = log.lineages().iter().map(|extent| extent.lineage).collect();
    assert_eq!(kept, [spool.shard().lineage()]);
    assert_eq!(spool.backlog_bytes("main"), Some(0));
}

#[tokio::test]
async fn a_position_without_events_is_remembered_and_forgotten() {
    let storage = FaultyStorage::new(1);
    let log = open_log(&storage);
    let (spool, _) = open_main(&log).await;
    let mut source = Source::open(&spool, 1).await;
    assert_eq!(source.start.positions, None, "its first start");
    source.line = 7;
    let alone = |position| Put {
        count: 0,
        parts: smallvec::smallvec![],
        source_position: Some(position),
        ..Source { start: source.start.clone(), line: 0 }.read(1)
    };
    spool.shard().put(alone(source.position())).await.expect("position");
    assert_eq!(Source::open(&spool, 1).await.line, 7);
    let entries = vec![(Bytes::from_static(b"file"), None)];
    let forget = SourcePosition { source: "tail".to_owned(), entries }.encode();
    spool.shard().put(alone(forget)).await.expect("position");
    drop(spool);
    storage.power_cut();
    drop(log);
    let (spool, _) = open_main(&open_log(&storage)).await;
    let start = spool.start_source("tail", &SeededEntropy::new(1)).await.expect("start");
    assert_eq!(start.positions.map(|positions| positions.len()), Some(0), "not its first start");
}

#[tokio::test]
async fn a_cursor_moves_from_where_it_stands_and_a_repeat_is_harmless() {
    let log = open_log(&FaultyStorage::new(1));
    let (spool, _) = open_main(&log).await;
    let lineage = spool.shard().lineage();
    let mut source = Source::open(&spool, 1).await;
    spool.shard().put(source.read(3)).await.expect("put");
    let cursor = spool.cursor("main", "out", lineage).expect("cursor");
    cursor.commit(0, 5).await.expect("commit");
    cursor.commit(0, 5).await.expect("repeat");
    let elsewhere = cursor.commit(4, 6).await.expect_err("it stands at 5");
    assert!(matches!(elsewhere, CursorError::Elsewhere { floor: 5 }), "{elsewhere:?}");
    assert!(spool.cursor("main", "other", lineage).is_none());
    assert!(spool.cursor("other", "out", lineage).is_none());
    spool.stop().await;
    let closed = cursor.commit(5, 6).await.expect_err("stopped");
    assert!(matches!(closed, CursorError::Closed), "{closed:?}");
    assert!(matches!(spool.shard().put(source.read(1)).await, Err(PutError::Stopped)));
}

/// A drained spool is quiet: a commit is a record, and must not call for another.
#[tokio::test(start_paused = true)]
async fn commits_do_not_cause_commits() {
    let log = open_log(&FaultyStorage::new(1));
    let (spool, _) = open_main(&log).await;
    let mut source = Source::open(&spool, 1).await;
    spool.shard().put(source.read(3)).await.expect("put");
    assert_eq!(drain(&spool, "main", "out", 3).await, lines(0, 3));
    let lineage = spool.shard().lineage();
    let cursor = spool.cursor("main", "out", lineage).expect("cursor");
    let from = cursor.floor().await.expect("floor");
    let channel = spool.channel("main").expect("channel");
    let mut reader = channel.reader(lineage, from).expect("reader");
    let hour = std::time::Duration::from_secs(3600);
    let quiet = tokio::time::timeout(hour, reader.next(1)).await;
    assert!(quiet.is_err(), "a batch of nothing but commits: {quiet:?}");
}

#[tokio::test]
async fn groups_have_cursors_of_their_own_and_the_slowest_keeps_the_room() {
    let log = open_log(&FaultyStorage::new(1));
    let (spool, _) = open(&log, vec![spool_channel("main", &["fast", "slow"])]).await;
    let mut source = Source::open(&spool, 1).await;
    for _ in 0..10 {
        spool.shard().put(source.read(1)).await.expect("put");
    }
    let used = spool.backlog_bytes("main").expect("channel");
    assert_eq!(drain(&spool, "main", "fast", 10).await, lines(0, 10));
    assert_eq!(spool.backlog_bytes("main"), Some(used), "the slow one has it all to deliver");
    assert_eq!(drain(&spool, "main", "slow", 10).await, lines(0, 10));
    assert_eq!(spool.backlog_bytes("main"), Some(0));
}

#[tokio::test]
async fn channels_keep_their_names_when_their_numbers_change() {
    let storage = FaultyStorage::new(1);
    let log = open_log(&storage);
    let channels = vec![spool_channel("main", &["out"]), spool_channel("old", &["gone"])];
    let (spool, _) = open(&log, channels).await;
    let mut source = Source::open(&spool, 1).await;
    let mut both = source.read(3);
    both.parts[0].channels = [0, 1].into_iter().collect();
    spool.shard().put(both).await.expect("put");
    let first = spool.shard().lineage();
    drop(spool);
    storage.power_cut();
    drop(log);

    let log = open_log(&storage);
    let channels = vec![spool_channel("first", &["out"]), spool_channel("main", &["out"])];
    let (spool, recovered) = open(&log, channels).await;
    let left = |channel: &str, group: &str| Undelivered {
        lineage: first,
        channel: channel.to_owned(),
        group: group.to_owned(),
        floor: 0,
        end: log.end(first),
    };
    assert_eq!(recovered.undelivered, [left("main", "out")]);
    assert_eq!(recovered.orphans, [left("old", "gone")]);
    assert_eq!(drain(&spool, "main", "out", 3).await, lines(0, 3));
    // What nobody drains any more is kept until someone says so.
    assert!(log.lineage(first).is_some());
    assert_eq!(spool.discard_orphans().await.expect("discard"), 1);
    assert!(log.lineage(first).is_none());
}
