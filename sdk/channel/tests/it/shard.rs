//! Limits, totals, seals, and what the log keeps for a shard.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sdk_channel::conformance::{TestProducer, texts};
use sdk_channel::{
    CHANNEL_FULL, Capacity, ChannelMetrics, ChannelOptions, DurableChannel, RecentMemory,
    Remembered, Shard, ShardError, first_put_time, totals_below,
};
use sdk_event::{BlockBuilder, Codec, Level};
use sdk_flow::{Channel as _, ChannelReader, ChannelSet, Exhaustion, PutError, ReadError};
use sdk_wal::{FaultyStorage, Log, LogOptions, Mark, Marks, MemoryView};

use crate::harness::{
    LINEAGE, NOW_MS, by_hand, channels, clock, durable, lineage, log_options, memory, open_log,
    open_log_by_hand, open_shard, options, producer,
};

async fn read_all(reader: &mut dyn ChannelReader, to: u64) -> Vec<String> {
    let mut found = Vec::new();
    while reader.cursor() < to {
        let batch = reader.next(1 << 20).await.expect("read").expect("not the end");
        found.extend(texts(&batch));
    }
    found
}

async fn words(shard: &Arc<Shard>, channel: u8) -> String {
    let mut reader = shard.reader(channel, 0).expect("reader");
    read_all(reader.as_mut(), shard.watermark()).await.join(" ")
}

fn is_at_limit(error: &PutError, name: &str) -> bool {
    matches!(error, PutError::Exhausted { reason: Exhaustion::Channel(full), .. } if **full == *name)
}

/// Two required channels and an optional one: what item 14 shows.
#[tokio::test]
async fn a_put_refused_by_one_channel_is_in_none_and_an_optional_one_drops() {
    let log = open_log(&FaultyStorage::new(1));
    let metrics = ChannelMetrics::default();
    let mut options = options(
        &log,
        vec![durable(0, "main", 1 << 20), durable(1, "copy", 500), memory(2, "tap", 500)],
    );
    options.metrics = metrics.clone();
    let shard = Shard::open(options, Remembered::nothing(LINEAGE, None)).await.expect("shard");
    let shard = Arc::new(shard);
    let mut all = producer(&shard, 1).await.into_all(channels(&[0, 1]), ChannelSet::of(2));
    let before = shard.next_offset();
    let mut stored = 0;
    let refused = loop {
        match shard.put(all.block("word")).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(is_at_limit(&refused, "copy"), "{refused:?}");
    assert!(stored > 1);
    assert_eq!(shard.next_offset() - before, stored, "one record for each put, for all channels");
    all.back(1);
    let (_, totals) = shard.totals();
    assert_eq!(totals.channel(0).put, stored);
    assert_eq!(totals.channel(1).put, stored);
    // The optional one filled up earlier or later, and said what it left out.
    let tap = totals.channel(2);
    assert_eq!(tap.stored(), stored);
    assert!(tap.dropped().min(tap.put) > 0, "{tap:?}");
    assert!(tap.dropped.iter().all(|(rule, _)| **rule == *CHANNEL_FULL));
    let expected = vec!["word"; stored as usize].join(" ");
    assert_eq!(words(&shard, 0).await, expected);
    assert_eq!(words(&shard, 1).await, expected);
    assert_eq!(words(&shard, 2).await, vec!["word"; tap.put as usize].join(" "));
    // A stuck channel stops the other at its limit, and lets go when it drains.
    shard.raise_floor(0, shard.watermark());
    assert!(is_at_limit(&shard.put(all.block("word")).await.expect_err("still full"), "copy"));
    all.back(1);
    shard.raise_floor(1, shard.watermark());
    shard.put(all.block("word")).await.expect("room again");
    let mut text = String::new();
    let mut registry = prometheus_client::registry::Registry::with_prefix("collector");
    metrics.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encode");
    let records = format!("collector_channel_put_records_total{{flow=\"7\"}} {}", stored + 1);
    assert!(text.contains(&records), "{text}");
}

#[tokio::test]
async fn a_required_memory_channel_has_its_room_before_the_log_has_the_record() {
    let log = open_log(&FaultyStorage::new(1));
    let shard = open_shard(&log, vec![durable(0, "main", 1 << 20), memory(1, "tap", 800)]).await;
    let mut both = producer(&shard, 1).await.into_all(channels(&[0, 1]), ChannelSet::EMPTY);
    let mut stored = 0;
    let refused = loop {
        let end = shard.next_offset();
        match shard.put(both.block("word")).await {
            Ok(receipt) => stored += u64::from(receipt.count),
            Err(error) => {
                assert_eq!(shard.next_offset(), end, "a refused put has no offset");
                break error;
            }
        }
    };
    assert!(is_at_limit(&refused, "tap"), "{refused:?}");
    assert_eq!(shard.totals().1.channel(0).put, stored);
    assert_eq!(words(&shard, 0).await.split(' ').count() as u64, stored);
    assert_eq!(words(&shard, 1).await.split(' ').count() as u64, stored);
}

#[tokio::test]
async fn a_channels_span_of_the_log_is_limited_too() {
    let log = open_log(&FaultyStorage::new(1));
    let spanned = ChannelOptions {
        capacity: Capacity::new("spanned", u64::MAX, 3 << 20),
        ..durable(1, "spanned", 0)
    };
    let shard = open_shard(&log, vec![durable(0, "main", u64::MAX), spanned]).await;
    // It has one event, and holds what the other has behind it.
    let mut one = producer(&shard, 1).await.into(1);
    shard.put(one.block("stuck")).await.expect("put");
    let mut other = producer(&shard, 2).await;
    let word = "x".repeat(30_000);
    for _ in 0..300 {
        shard.put(other.block(&word)).await.expect("put");
        shard.raise_floor(0, shard.watermark());
    }
    let refused = shard.put(one.block("no more")).await.expect_err("it spans too much");
    assert!(is_at_limit(&refused, "spanned"), "{refused:?}");
    one.back(2);
    shard.raise_floor(1, shard.watermark());
    shard.put(one.block("again now")).await.expect("room");
}

#[tokio::test]
async fn totals_are_those_at_the_watermark_and_read_back_the_same() {
    let log = open_log(&FaultyStorage::new(1));
    let shard =
        open_shard(&log, vec![durable(0, "main", 1 << 20), durable(1, "copy", 1 << 20)]).await;
    let mut words = producer(&shard, 1).await;
    for at in 0..20 {
        let mut put = words.block("a b c");
        if at % 4 == 0 {
            let rule = Arc::from(if at % 8 == 0 { "interceptor:one" } else { "interceptor:two" });
            put.parts.clear();
            put.dropped.push(sdk_flow::Dropped { rule, channels: channels(&[0, 1]), events: 3 });
        }
        shard.put(put).await.expect("put");
        shard.gap(words.gap(words.next(), words.next() + 1)).await.expect("gap");
        words = TestProducer::continued(1, words.next() + 1);
    }
    let (watermark, totals) = shard.totals();
    assert_eq!((totals.channel(0).put, totals.channel(0).stored()), (45, 60));
    assert_eq!((totals.channel(1).put, totals.channel(1).stored()), (0, 15));
    let rules: Vec<_> = totals.channel(0).dropped.iter().map(|(_, events)| *events).collect();
    assert_eq!(rules, [9, 6]);
    let read = totals_below(&log, LINEAGE, watermark).expect("read");
    assert_eq!(read.channels(), totals.channels());
    assert_eq!(totals_below(&log, LINEAGE, 0).expect("read").channels(), []);
    assert_eq!(first_put_time(&log, LINEAGE, 0, watermark).expect("read"), Some(NOW_MS));
    assert_eq!(first_put_time(&log, LINEAGE, watermark, watermark).expect("read"), None);
}

#[tokio::test]
async fn the_log_is_freed_up_to_the_floor_and_the_checkpoints() {
    let log = open_log_by_hand(&FaultyStorage::new(1), 64 << 20);
    let mut options = options(&log, vec![durable(0, "main", u64::MAX)]);
    options.checkpoint_bytes = 64 << 10;
    let test = async {
        let shard = Shard::open(options, Remembered::nothing(LINEAGE, None)).await.expect("shard");
        let shard = Arc::new(shard);
        let mut words = producer(&shard, 1).await;
        let word = "x".repeat(10_000);
        for _ in 0..5000 {
            shard.put(words.block(&word)).await.expect("put");
            shard.raise_floor(0, shard.watermark());
        }
        shard
    };
    let shard = by_hand(&log, test).await;
    log.drive();
    // As much as the quota went through, and two checkpoints' worth is kept.
    let usage = log.usage();
    assert!(usage.used_bytes < 1 << 20, "{usage:?}");
    let entries = shard.inspect(|remembered| remembered.table.entries());
    let end = shard.seal();
    let rebuilt = sdk_channel::rebuild(&log, &[(LINEAGE, end)], lineage(2), None).expect("rebuild");
    assert!(rebuilt.exact);
    assert_eq!(rebuilt.remembered.table.entries(), entries);
}

#[tokio::test]
async fn a_full_log_refuses_and_goes_on_once_it_is_drained() {
    let log = open_log_by_hand(&FaultyStorage::new(1), 1 << 20);
    let mut options = options(&log, vec![durable(0, "main", u64::MAX)]);
    options.checkpoint_bytes = 64 << 10;
    let test = async {
        let shard = Shard::open(options, Remembered::nothing(LINEAGE, None)).await.expect("shard");
        let shard = Arc::new(shard);
        let mut words = producer(&shard, 1).await;
        let word = "x".repeat(10_000);
        let (mut stored, mut refused) = (0, None);
        while refused.is_none() {
            match shard.put(words.block(&word)).await {
                Ok(_) => stored += 1,
                Err(error) => refused = Some(error),
            }
            assert!(stored < 1000, "the quota is no limit");
        }
        let refused = refused.expect("refused");
        let PutError::Exhausted { reason: Exhaustion::Disk, retry_after } = refused else {
            panic!("{refused:?}");
        };
        assert!(retry_after > Duration::ZERO);
        words.back(1);
        // Readers and cursors go on, and what they free takes new puts; no restart.
        let mut reader = shard.reader(0, 0).expect("reader");
        assert_eq!(read_all(reader.as_mut(), shard.watermark()).await.len(), stored);
        shard.raise_floor(0, shard.watermark());
        log.drive();
        let receipt = shard.put(words.block(&word)).await.expect("there is room again");
        assert!(!receipt.duplicate);
    };
    by_hand(&log, test).await;
}

#[tokio::test]
async fn a_put_in_flight_at_the_seal_is_unknown_and_its_records_are_void() {
    let log = open_log_by_hand(&FaultyStorage::new(1), 64 << 20);
    let shard = by_hand(&log, open_shard(&log, vec![durable(0, "main", 1 << 20)])).await;
    let mut words = by_hand(&log, producer(&shard, 1)).await;
    let before = shard.watermark();
    let block = words.block("a b");
    let mut put = Box::pin(shard.put(block.clone()));
    assert!(futures::poll!(&mut put).is_pending());
    let end = shard.seal();
    assert_eq!(end, before, "it is not durable yet");
    log.drive();
    let unknown = put.await.expect_err("the seal came first");
    assert!(matches!(unknown, PutError::Unknown(_)), "{unknown:?}");
    assert_eq!(shard.watermark(), end, "a sealed watermark stands");
    shard.end_at(end);
    let mut reader = shard.reader(0, 0).expect("reader");
    while let Some(batch) = reader.next(1 << 20).await.expect("read") {
        assert!(batch.is_empty());
    }
    // The table is not handed on: it has what is void. The log rebuilds it.
    assert!(shard.take_remembered(end).is_none());
    let rebuilt = sdk_channel::rebuild(&log, &[(LINEAGE, end)], lineage(2), None).expect("rebuild");
    assert_eq!(rebuilt.remembered.table.entries()[&words.id()].next, 0);
}

#[tokio::test]
async fn a_lineage_is_written_once() {
    let log = open_log(&FaultyStorage::new(1));
    drop(open_shard(&log, vec![durable(0, "main", 1 << 20)]).await);
    let again = options(&log, vec![durable(0, "main", 1 << 20)]);
    let refused = Shard::open(again, Remembered::nothing(LINEAGE, None)).await;
    assert!(matches!(refused, Err(ShardError::Used(LINEAGE))));
}

#[tokio::test]
async fn a_replicated_lineage_acknowledges_what_every_replica_has() {
    let log = open_log(&FaultyStorage::new(1));
    let mut options = options(&log, vec![durable(0, "main", 1 << 20)]);
    options.level = Level::Replicated;
    let opening = Shard::open(options, Remembered::nothing(LINEAGE, None));
    // Its first checkpoint waits for the others as well.
    let early = tokio::time::timeout(Duration::from_millis(20), opening).await;
    assert!(early.is_err());
}

#[tokio::test]
async fn unknown_channels_and_contradictions_are_refused_as_content() {
    let log = open_log(&FaultyStorage::new(1));
    let shard = open_shard(&log, vec![durable(0, "main", 1 << 20)]).await;
    let mut words = producer(&shard, 1).await;
    let refuse = async |put| {
        let error = shard.put(put).await.expect_err("refused");
        let content =
            matches!(error, PutError::Rejected { reason: sdk_flow::Rejection::Content(_) });
        assert!(content, "{error:?}");
    };
    let good = words.block("a b");
    let mut other = good.clone();
    other.parts[0].channels = ChannelSet::of(9);
    refuse(other).await;
    let mut other = good.clone();
    other.count = 3;
    refuse(other).await;
    let mut other = good.clone();
    other.source_position = Some(bytes::Bytes::from_static(b"noise"));
    refuse(other).await;
    let mut other = good.clone();
    (other.count, other.source_position) = (0, None);
    refuse(other).await;
    shard.put(good).await.expect("nothing of it was stored");
}

#[tokio::test]
async fn a_dropped_put_is_stored_and_seen() {
    let log = open_log(&FaultyStorage::new(1));
    let shard = open_shard(&log, vec![durable(0, "main", 1 << 20)]).await;
    let channel = DurableChannel::new(Arc::clone(&shard), 0);
    let mut one = producer(&shard, 1).await;
    let block = one.block("a");
    {
        let mut put = Box::pin(channel.put(block.clone()));
        let _ = futures::poll!(&mut put);
    }
    // Nobody waits for its answer; the reader still gets it, and a repeat is one.
    let mut reader = shard.reader(0, 0).expect("reader");
    assert_eq!(read_all(reader.as_mut(), shard.next_offset()).await, ["a"]);
    assert!(channel.put(block).await.expect("repeat").duplicate);
}

#[tokio::test]
async fn the_clock_is_the_only_source_of_put_times() {
    let log = open_log(&FaultyStorage::new(1));
    let manual = clock();
    let mut options = options(&log, vec![durable(0, "main", 1 << 20)]);
    options.clock = manual.clone();
    let shard = Shard::open(options, Remembered::nothing(LINEAGE, None)).await.expect("shard");
    let shard = Arc::new(shard);
    let mut words = producer(&shard, 1).await;
    shard.put(words.block("a")).await.expect("put");
    manual.set_wall_ms(NOW_MS - 5000);
    shard.put(words.block("b")).await.expect("time may go back");
    let mut reader = shard.reader(0, 0).expect("reader");
    let mut times = Vec::new();
    while times.len() < 2 {
        let batch = reader.next(1 << 20).await.expect("read").expect("not the end");
        times.extend(batch.stored.iter().map(|stored| stored.put_time_ms));
    }
    assert_eq!(times, [NOW_MS, NOW_MS - 5000]);
}

/// Otherwise a log that is full when its process ends is full for ever: what is stored drains only
/// behind a lineage that is open.
#[tokio::test]
async fn a_lineage_opens_above_every_mark_and_then_takes_nothing_but_what_drains() {
    let storage = FaultyStorage::new(1);
    let marks = Marks { warn_percent: 0, stop_ingest_percent: 0, sinks_only_percent: 0 };
    let view = Arc::new(MemoryView::new());
    let log = Log::open(LogOptions { marks, ..log_options(&storage, view) }).expect("log").0;
    assert_eq!(log.usage().mark, Mark::SinksOnly);
    let shard = open_shard(&log, vec![durable(0, "main", 1 << 20)]).await;
    let mut reader = shard.reader(0, 0).expect("reader");
    assert_eq!(words(&shard, 0).await, "");
    let session = TestProducer::continued(1, 0).session();
    let refused = shard.open_session(session).await.expect_err("it is full");
    let full = matches!(refused, PutError::Exhausted { reason: Exhaustion::Disk, .. });
    assert!(full, "{refused:?}");
    shard.end_at(shard.stop().await);
    assert!(reader.next(1).await.expect("read").is_some_and(|batch| batch.is_empty()));
    let remembered = shard.take_remembered(shard.watermark()).expect("all of it is stored");
    assert!(shard.take_remembered(shard.watermark()).is_none(), "it is given away once");
    drop(remembered);
}

/// A block near its limit whose events need more bytes once the first is gone: see `Block::thin`.
#[tokio::test]
async fn a_reader_may_begin_inside_a_put_that_no_longer_fits_in_one_block() {
    let log = open_log(&FaultyStorage::new(1));
    let shard = open_shard(&log, vec![memory(0, "main", u64::MAX)]).await;
    let mut words = producer(&shard, 1).await;
    let keys: Vec<String> = (0..192).map(|key| format!("k{key}")).collect();
    let headers = |from: usize| keys[from..from + 64].iter().map(|key| (key.as_str(), ""));
    let mut put = words.block("x");
    let mut builder = BlockBuilder::new(put.producer, put.generation, put.first_sequence);
    for from in [0, 64, 128] {
        builder.push(None, headers(from), b"").expect("fits");
    }
    while builder.push(None, headers(0), b"").is_ok() {}
    put.parts[0].block = builder.finish(Codec::None);
    let header = *put.parts[0].block.header();
    (put.count, put.block_crc) = (header.count, header.crc);
    let receipt = shard.put(put).await.expect("put");
    let from = receipt.first_offset + 1;
    let mut reader = shard.reader(0, from).expect("reader");
    let batch = reader.next(1 << 20).await.expect("read").expect("not the end");
    let found = batch.events().map(|(offset, event)| (offset, event.sequence()));
    let behind = 1..u64::from(receipt.count);
    assert!(found.eq(behind.map(|at| (receipt.first_offset + at, at))));
}

/// A session that nobody waits for any more, and for which the log then has no room.
#[tokio::test]
async fn a_stop_waits_for_nothing_that_was_not_written() {
    let storage = FaultyStorage::new(1);
    // No mark says that it is full before a segment is wanted that there is no room for.
    let marks = Marks { warn_percent: 200, stop_ingest_percent: 200, sinks_only_percent: 200 };
    let quota_bytes = Some(4 * (64 << 10));
    let view = Arc::new(MemoryView::new());
    let log_options = log_options(&storage, view);
    let log_options = LogOptions { marks, quota_bytes, threads: false, ..log_options };
    let log = Log::open(log_options).expect("log").0;
    let shard = by_hand(&log, open_shard(&log, vec![durable(0, "main", u64::MAX)])).await;
    let fill = async {
        let mut words = producer(&shard, 1).await;
        for length in [3000, 1] {
            while shard.put(words.block(&"x".repeat(length))).await.is_ok() {}
            words.back(1);
        }
    };
    by_hand(&log, fill).await;
    let end = shard.next_offset();
    let mut session = Box::pin(shard.open_session(TestProducer::continued(2, 0).session()));
    assert!(futures::poll!(&mut session).is_pending());
    drop(session);
    assert_eq!(shard.next_offset(), end + 1, "it is on its way");
    let stop = tokio::time::timeout(Duration::from_secs(20), by_hand(&log, shard.stop()));
    assert_eq!(stop.await.expect("it ends"), end);
    assert_eq!(shard.producers(), 1);
}

/// A sink goes away from its read whenever a file is written, and comes back for it: the disk is read once.
#[tokio::test]
async fn a_read_that_nobody_waited_for_is_not_begun_again() {
    let log = open_log(&FaultyStorage::new(1));
    let mut options = options(&log, vec![durable(0, "main", 1 << 20)]);
    options.recent = Arc::new(RecentMemory::new(0));
    let shard = Shard::open(options, Remembered::nothing(LINEAGE, None)).await.expect("shard");
    let shard = Arc::new(shard);
    let mut words = producer(&shard, 1).await;
    for _ in 0..200 {
        shard.put(words.block(&"x".repeat(1_000))).await.expect("put");
    }
    let mut reader = shard.reader(0, 0).expect("reader");
    let (mut read, mut left) = (0, 0);
    while read < 200 {
        let mut next = pin!(reader.next(1 << 10));
        match poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await {
            Poll::Ready(batch) => read += texts(&batch.expect("read").expect("not the end")).len(),
            Poll::Pending => left += 1,
        }
        tokio::task::yield_now().await;
    }
    assert!(left > 10, "it was left {left} times only");
    let mut registry = prometheus_client::registry::Registry::default();
    log.register(&mut registry);
    let mut shown = String::new();
    prometheus_client::encoding::text::encode(&mut shown, &registry).expect("a string");
    let disk = shown.lines().find_map(|line| line.strip_prefix("collector_log_disk_reads_total "));
    let disk = disk.unwrap_or_else(|| panic!("no metric: {shown}"));
    let disk: u64 = disk.parse().expect("a number");
    assert!(disk <= 210, "{disk} records were read from the disk, of 200");
}

#[tokio::test]
async fn who_has_read_all_of_a_lineage_hears_its_end_though_it_is_closed() {
    let log = open_log(&FaultyStorage::new(1));
    let shard = open_shard(&log, vec![durable(0, "main", 1 << 20)]).await;
    let mut words = producer(&shard, 1).await;
    shard.put(words.block("word")).await.expect("put");
    let mut behind = shard.reader(0, 0).expect("reader");
    let mut reader = shard.reader(0, 0).expect("reader");
    let end = shard.stop().await;
    read_all(reader.as_mut(), shard.watermark()).await;
    shard.end_at(end);
    shard.close();
    assert!(reader.next(1).await.expect("the end").is_none());
    assert!(matches!(behind.next(1).await, Err(ReadError::Closed)));
}
