//! What a shard remembers is rebuilt exactly, whatever became of the log meanwhile.

use std::sync::Arc;

use sdk_channel::conformance::{TestProducer, texts};
use sdk_channel::{
    ChannelOptions, DurableChannel, Rebuilt, RecentMemory, Remembered, SealedLineage, Shard,
    lost_events, rebuild, sequences_behind, stop_lineage, totals_below,
};
use sdk_event::{BlockBuilder, Codec, EventId, Lineage};
use sdk_flow::{Channel as _, PutError, ReadError, Rejection};
use sdk_wal::{FaultyStorage, Log, LogOptions, LogReadError, MemoryView, Storage as _, View};

use crate::harness::{
    LINEAGE, NOW_MS, by_hand, durable, lineage, log_options, open_log_by_hand, options, producer,
};

/// Opens the next lineage of the shard, with what was rebuilt.
async fn reopen(log: &Log, channel: &ChannelOptions, to: Lineage, rebuilt: Rebuilt) -> Arc<Shard> {
    let mut options = options(log, vec![channel.clone()]);
    (options.lineage, options.checkpoint_bytes) = (to, 16 << 10);
    Arc::new(Shard::open(options, rebuilt.remembered).await.expect("shard"))
}

/// Copy forward, append, seal below the tail, delete the view, restart.
#[tokio::test]
async fn the_table_is_rebuilt_exactly_behind_copies_and_a_seal_below_the_tail() {
    let storage = FaultyStorage::new(3);
    // Seven segments, so that half the quota is soon used and copying begins.
    let log = open_log_by_hand(&storage, 14 * (64 << 10));
    let channel = durable(0, "main", u64::MAX);
    let nothing = Rebuilt {
        remembered: Remembered::nothing(LINEAGE, None),
        unreadable: Vec::new(),
        exact: true,
        records: 0,
    };
    let first = by_hand(&log, reopen(&log, &channel, LINEAGE, nothing)).await;
    // A lineage of another flow holds a little of every segment: a stuck sink.
    let other = Lineage { flow: 8, ..LINEAGE };
    let mut other_options = options(&log, vec![durable(0, "other", u64::MAX)]);
    other_options.lineage = other;
    let stuck = Shard::open(other_options, Remembered::nothing(other, None));
    let stuck = Arc::new(by_hand(&log, stuck).await.expect("shard"));
    let test = async {
        let mut stuck_words = producer(&stuck, 1).await;
        let mut words: Vec<TestProducer> = Vec::new();
        for number in 1..=5 {
            words.push(producer(&first, number).await);
        }
        let word = "x".repeat(3000);
        for round in 0..400u64 {
            let words = &mut words[(round % 5) as usize];
            first.put(words.block(&word)).await.expect("put");
            if round % 20 == 0 {
                stuck.put(stuck_words.block("stuck")).await.expect("put");
            }
            first.raise_floor(0, first.watermark());
            log.drive();
        }
        // The last words of two producers are cut off by the seal.
        let end = first.watermark();
        let expected = first.inspect(|remembered| remembered.table.entries());
        first.put(words[0].block("beyond the end")).await.expect("put");
        first.put(words[3].block("this too")).await.expect("put");
        (end, expected)
    };
    let (end, expected) = by_hand(&log, test).await;
    first.end_at(end);
    drop((first, stuck));
    log.stop();
    storage.kill();

    // Another view: the old one is gone. Floors are said again by whoever knows.
    let log = open_log_by_hand(&storage, 14 * (64 << 10));
    let view: Arc<dyn View> = Arc::new(MemoryView::new());
    let rebuilt = rebuild(&log, &[(LINEAGE, end)], lineage(2), Some(view)).expect("rebuild");
    assert!(rebuilt.exact && rebuilt.unreadable.is_empty());
    assert_eq!(rebuilt.remembered.table.entries(), expected);
    let second = by_hand(&log, reopen(&log, &channel, lineage(2), rebuilt)).await;
    let refused = TestProducer::continued(1, 81).block("too far");
    let refused = by_hand(&log, second.put(refused)).await.expect_err("81 was beyond the end");
    let expected = matches!(refused, PutError::Rejected { reason: Rejection::Expected(80) });
    assert!(expected, "{refused:?}");
}

#[tokio::test]
async fn retries_across_restarts_are_recognised_and_a_sealed_lineage_is_drained() {
    let storage = FaultyStorage::new(5);
    let channel = durable(0, "main", 1 << 20);
    let mut sealed: Vec<(Lineage, u64)> = Vec::new();
    let mut blocks = Vec::new();
    for epoch in 1..=4 {
        let log = open_log_by_hand(&storage, 64 << 20);
        if epoch > 1 {
            let before = lineage(epoch - 1);
            let end = by_hand(&log, stop_lineage(&log, before, NOW_MS)).await.expect("stop");
            let again = by_hand(&log, stop_lineage(&log, before, NOW_MS)).await.expect("stop");
            assert_eq!(end, again, "a promise made before counts");
            log.cut(before, end);
            sealed.push((before, end));
        }
        let rebuilt = rebuild(&log, &sealed, lineage(epoch), None).expect("rebuild");
        let shard = by_hand(&log, reopen(&log, &channel, lineage(epoch), rebuilt)).await;
        let test = async {
            for (number, block) in &blocks {
                let known: &sdk_flow::Put = block;
                let receipt = shard.put(known.clone()).await.expect("a repeat");
                assert!(receipt.duplicate && receipt.lineage == lineage(*number));
            }
            let mut words = TestProducer::continued(1, 2 * (epoch - 1));
            shard.open_session(words.session()).await.expect("session");
            let block = words.block(&format!("{epoch}-a {epoch}-b"));
            shard.put(block.clone()).await.expect("put");
            blocks.push((epoch, block));
        };
        by_hand(&log, test).await;
        drop(shard);
        // The process is killed here, the machine in every other life.
        match epoch % 2 {
            0 => storage.power_cut(),
            _ => storage.kill(),
        }
    }
    let log = open_log_by_hand(&storage, 64 << 20);
    let mut words = Vec::new();
    for (lineage, end) in &sealed {
        let open = SealedLineage::open(&log, *lineage, *end, &[(channel.clone(), 0)], true);
        let open = Arc::new(open.expect("sealed"));
        assert_eq!(open.totals().channel(0).put, 2);
        assert!(channel.capacity.used() > 0);
        let mut reader = open.reader(0, 0).expect("reader");
        while let Some(batch) = reader.next(1 << 20).await.expect("read") {
            words.extend(texts(&batch));
            open.raise_floor(0, batch.to);
        }
        assert_eq!(reader.cursor(), *end);
        assert!(open.is_delivered());
    }
    assert_eq!(words.join(" "), "1-a 1-b 2-a 2-b 3-a 3-b");
    assert_eq!(channel.capacity.used(), 0, "what is delivered takes no room");
}

#[tokio::test]
async fn room_is_counted_again_for_what_waits() {
    let storage = FaultyStorage::new(5);
    let log = open_log_by_hand(&storage, 64 << 20);
    let channel = durable(0, "main", 1 << 20);
    let shard = by_hand(
        &log,
        reopen(&log, &channel, LINEAGE, rebuild(&log, &[], LINEAGE, None).expect("new")),
    )
    .await;
    let test = async {
        let mut words = producer(&shard, 1).await;
        for at in 0..10 {
            shard.put(words.block("a b c")).await.expect("put");
            if at == 4 {
                shard.raise_floor(0, shard.watermark());
            }
        }
    };
    by_hand(&log, test).await;
    let (used, end) = (channel.capacity.used(), shard.seal());
    let floor = shard.floor(0).expect("floor");
    drop(shard);
    assert_eq!(channel.capacity.used(), 0);
    let sealed = SealedLineage::open(&log, LINEAGE, end, &[(channel.clone(), floor)], true);
    let sealed = sealed.expect("sealed");
    assert_eq!(channel.capacity.used(), used);
    sealed.raise_floor(0, end);
    assert_eq!(channel.capacity.used(), 0);
}

/// A shard whose readers read the disk.
async fn open_without_memory(
    storage: &FaultyStorage,
    channels: Vec<ChannelOptions>,
) -> (Log, Arc<Shard>) {
    let log_options = LogOptions {
        threads: false,
        cache_bytes: 0,
        ..log_options(storage, Arc::new(MemoryView::new()))
    };
    let log = Log::open(log_options).expect("log").0;
    let mut options = options(&log, channels);
    (options.recent, options.inline_reads) = (Arc::new(RecentMemory::new(0)), true);
    let shard = Shard::open(options, Remembered::nothing(LINEAGE, None));
    let shard = Arc::new(by_hand(&log, shard).await.expect("shard"));
    (log, shard)
}

/// Flips a bit of what stands in the first segment.
fn flip(storage: &FaultyStorage, text: &[u8]) {
    let dir = std::path::Path::new("/log");
    let first = storage.list(dir).expect("list");
    let first = first.iter().find(|file| file.name.ends_with(".segment")).expect("a segment");
    let path = dir.join(&first.name);
    let contents = storage.contents(&path).expect("contents");
    let at = contents.windows(text.len()).position(|bytes| bytes == text).expect("it is there");
    storage.flip(&path, at as u64, 4);
}

#[tokio::test]
async fn a_flipped_bit_is_listed_by_id_counted_and_passed() {
    let storage = FaultyStorage::new(5);
    let channel = durable(0, "main", 1 << 20);
    let (log, shard) = open_without_memory(&storage, vec![channel.clone()]).await;
    let test = async {
        let mut words = producer(&shard, 1).await;
        for word in ["before", "flipped away", "behind"] {
            shard.put(words.block(word)).await.expect("put");
        }
    };
    by_hand(&log, test).await;
    log.drive();
    let end = shard.watermark();
    flip(&storage, b"flipped");

    let mut reader = shard.reader(0, 0).expect("reader");
    let mut words = Vec::new();
    let mut lost = None;
    while reader.cursor() < end {
        match reader.next(1).await {
            Ok(batch) => words.extend(texts(&batch.expect("not the end"))),
            Err(ReadError::Lost { from, to }) => {
                assert!(matches!(reader.next(1).await, Err(ReadError::Lost { .. })), "it stays");
                lost = Some((from, to));
                reader.seek(to);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(words, ["before", "behind"]);
    let (from, to) = lost.expect("it is lost");
    assert_eq!(to - from, 2);
    let listed = log.quarantined();
    let id = listed[0].identity.expect("it is listed by its id");
    assert_eq!((id.sequence, listed[0].from, listed[0].to), (1, from, to));
    assert_eq!(lost_events(&log, LINEAGE, 0, from, to, end).expect("count"), 2);
    assert_eq!(lost_events(&log, LINEAGE, 1, from, to, end).expect("count"), 0);
    assert_eq!(totals_below(&log, LINEAGE, end).expect("read").channel(0).put, 4);

    // Admission still knows it: a retry is a repeat, not a new event.
    let rebuilt = rebuild(&log, &[(LINEAGE, end)], lineage(2), None).expect("rebuild");
    assert!(rebuilt.exact);
    assert_eq!(rebuilt.unreadable.len(), 1);
    let second = by_hand(&log, reopen(&log, &channel, lineage(2), rebuilt)).await;
    let channel = DurableChannel::new(second, 0);
    let retry = TestProducer::continued(1, 1).block("flipped away");
    assert!(by_hand(&log, channel.put(retry)).await.expect("repeat").duplicate);
}

#[tokio::test]
async fn a_rotten_checkpoint_is_replaced_by_the_one_before() {
    let storage = FaultyStorage::new(9);
    let log = open_log_by_hand(&storage, 64 << 20);
    let mut options = options(&log, vec![durable(0, "main", u64::MAX)]);
    options.checkpoint_bytes = 8 << 10;
    let shard = Shard::open(options, Remembered::nothing(LINEAGE, None));
    let shard = Arc::new(by_hand(&log, shard).await.expect("shard"));
    let test = async {
        for number in 1..=20 {
            let mut words = producer(&shard, number).await;
            for _ in 0..10 {
                shard.put(words.block(&"x".repeat(500))).await.expect("put");
                shard.raise_floor(0, shard.watermark());
            }
        }
    };
    by_hand(&log, test).await;
    log.drive();
    let expected = shard.inspect(|remembered| remembered.table.entries());
    let end = shard.seal();
    let whole = rebuild(&log, &[(LINEAGE, end)], lineage(2), None).expect("rebuild");
    assert_eq!(whole.remembered.table.entries(), expected);
    drop(shard);
    log.stop();

    // The last checkpoint there is: the last offset of a part in any segment.
    let log = open_log_by_hand(&storage, 64 << 20);
    let listed = log.listed(LINEAGE, sdk_channel::record::kind::CHECKPOINT);
    let last = listed.iter().rfind(|part| part.first_offset < end).expect("a part");
    let body = log.reader(LINEAGE, last.first_offset).next().expect("read").expect("part");
    let body = body.body.to_bytes();
    log.stop();
    let dir = std::path::Path::new("/log");
    let mut flipped = 0;
    for file in storage.list(dir).expect("list") {
        let path = dir.join(&file.name);
        let contents = storage.contents(&path).expect("contents");
        let at = contents.windows(body.len()).position(|bytes| bytes == body.as_ref());
        if let Some(at) = at {
            storage.flip(&path, at as u64 + 1, 0x10);
            flipped += 1;
        }
    }
    assert!(flipped > 0);
    let log = open_log_by_hand(&storage, 64 << 20);
    let rebuilt = rebuild(&log, &[(LINEAGE, end)], lineage(2), None).expect("rebuild");
    assert!(rebuilt.exact, "the one before is kept for this");
    assert!(rebuilt.records > whole.records);
    assert_eq!(rebuilt.remembered.table.entries(), expected);
}

/// Records of another channel before what is lost: the reader has looked past them, the cursor has not.
#[tokio::test]
async fn what_is_lost_begins_where_the_cursor_stands() {
    let storage = FaultyStorage::new(5);
    let both = vec![durable(0, "main", 1 << 20), durable(1, "copy", 1 << 20)];
    let (log, shard) = open_without_memory(&storage, both).await;
    let test = async {
        let mut main = producer(&shard, 1).await;
        let mut copy = producer(&shard, 2).await.into(1);
        shard.put(main.block("before")).await.expect("put");
        for _ in 0..3 {
            shard.put(copy.block("elsewhere")).await.expect("put");
        }
        shard.put(copy.block("flipped")).await.expect("put");
        shard.put(main.block("behind")).await.expect("put");
    };
    by_hand(&log, test).await;
    log.drive();
    flip(&storage, b"flipped");

    let mut reader = shard.reader(0, 0).expect("reader");
    let (mut floor, mut words, mut lost) = (0, Vec::new(), 0);
    while floor < shard.watermark() {
        let (from, to) = match reader.next(1).await {
            Ok(batch) => {
                let batch = batch.expect("not the end");
                words.extend(texts(&batch));
                (batch.from, batch.to)
            }
            Err(ReadError::Lost { from, to }) => {
                lost += to - from;
                reader.seek(to);
                (from, to)
            }
            Err(error) => panic!("{error:?}"),
        };
        // What a cursor takes: see `Cursor::commit`.
        assert_eq!(from, floor, "a commit leaves no gap");
        floor = to;
    }
    assert_eq!((words.join(" ").as_str(), lost), ("before behind", 1));
}

/// 32 blocks of a MiB each, of which the disk has a few hundred bytes.
#[tokio::test]
async fn a_batch_is_bounded_by_what_it_takes_in_memory() {
    let storage = FaultyStorage::new(5);
    let (log, shard) = open_without_memory(&storage, vec![durable(0, "main", u64::MAX)]).await;
    let test = async {
        let mut words = producer(&shard, 1).await;
        for _ in 0..32 {
            let mut put = words.block("x");
            let mut builder = BlockBuilder::new(put.producer, put.generation, put.first_sequence);
            builder.push(None, [], &vec![0; 1 << 20]).expect("fits");
            put.parts[0].block = builder.finish(Codec::Zstd);
            put.block_crc = put.parts[0].block.header().crc;
            assert!(put.bytes() < 1024);
            shard.put(put).await.expect("put");
        }
    };
    by_hand(&log, test).await;
    let mut reader = shard.reader(0, 0).expect("reader");
    let mut events = 0;
    while reader.cursor() < shard.watermark() {
        let batch = reader.next(3 << 20).await.expect("read").expect("not the end");
        let blocks = batch.stored.iter().flat_map(|stored| &stored.parts);
        let bytes: usize = blocks.map(|(_, block)| block.memory_bytes()).sum();
        assert!(bytes < 4 << 20, "a batch of 3 MiB takes {bytes} bytes");
        events += batch.len();
    }
    assert_eq!(events, 32);
}

/// The second of four words was left out on the way: three offsets, four sequence numbers.
#[tokio::test]
async fn the_ids_of_a_lost_block_include_what_it_left_out() {
    let storage = FaultyStorage::new(5);
    let (log, shard) = open_without_memory(&storage, vec![durable(0, "main", 1 << 20)]).await;
    let test = async {
        let mut words = producer(&shard, 1).await;
        let mut put = words.block("thinned away from it");
        let thin = put.parts[0].block.thin(&[0, 2, 3]).remove(0);
        (put.count, put.block_crc) = (3, thin.header().crc);
        put.parts[0].block = thin;
        let receipt = shard.put(put).await.expect("put");
        producer(&shard, 2).await;
        shard.gap(words.gap(3, 4)).await.expect("gap");
        shard.put(words.block("behind it")).await.expect("put");
        receipt.first_offset
    };
    let first = by_hand(&log, test).await;
    log.drive();
    flip(&storage, b"thinned");
    let error = log.reader(LINEAGE, first).next().expect_err("it cannot be read");
    assert!(matches!(error, LogReadError::Quarantined(_)));
    let range = &log.quarantined()[0];
    let id = range.identity.expect("it is known");
    let behind = |block, id| sequences_behind(&log, LINEAGE, block, id).expect("read");
    assert_eq!((range.to - range.from, behind(range.from..range.to, id)), (3, 4));
    let dense = EventId { sequence: 4, ..id };
    assert_eq!(behind(first + 5..first + 7, dense), 6);
}
