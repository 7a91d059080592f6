//! Producers: remembered exactly, forgotten by the rules, never taken for new.

use std::sync::Arc;
use std::time::Duration;

use sdk_channel::conformance::TestProducer;
use sdk_channel::record::{Loss, LostIds};
use sdk_channel::{
    CLOSED_KEPT, DurableChannel, IDLE_EVICTABLE, IDLE_KEPT, OpenSession, Remembered, Shard, rebuild,
};
use sdk_event::{Lineage, ProducerId};
use sdk_flow::{Exhaustion, ManualClock, PutError, Receipt, Rejection};
use sdk_wal::{FaultyStorage, Log, MemoryView, View};

use crate::harness::{LINEAGE, NOW_MS, durable, lineage, open_log, options};

/// A shard that remembers few producers, and fewer in memory.
async fn small_shard(log: &Log, clock: &Arc<ManualClock>, producers: usize) -> Arc<Shard> {
    let view: Arc<dyn View> = Arc::new(MemoryView::new());
    let mut remembered = Remembered::nothing(LINEAGE, Some(view));
    remembered.table.set_limits(producers, 3);
    let mut options = options(log, vec![durable(0, "main", 1 << 20)]);
    options.clock = clock.clone();
    Arc::new(Shard::open(options, remembered).await.expect("shard"))
}

fn session(number: u32) -> OpenSession {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    OpenSession { producer: ProducerId(id), generation: 1, lowest: 0, sent: false }
}

fn is_full(error: &PutError) -> bool {
    matches!(error, PutError::Exhausted { reason: Exhaustion::Producers, .. })
}

fn is_expired(error: &PutError) -> bool {
    matches!(error, PutError::Rejected { reason: Rejection::Expired })
}

#[tokio::test]
async fn at_the_cap_the_longest_idle_is_forgotten_and_only_if_idle_for_an_hour() {
    let (log, clock) = (open_log(&FaultyStorage::new(1)), Arc::new(ManualClock::new(NOW_MS)));
    let shard = small_shard(&log, &clock, 10).await;
    for number in 0..10 {
        shard.open_session(session(number)).await.expect("room");
        clock.advance(Duration::from_secs(60));
    }
    let refused = shard.open_session(session(10)).await.expect_err("nobody was idle for an hour");
    assert!(is_full(&refused), "{refused:?}");
    // All but number 2 are heard of again.
    clock.advance(IDLE_EVICTABLE - Duration::from_secs(600));
    for number in (0..10).filter(|number| *number != 2) {
        shard.open_session(session(number)).await.expect("known");
    }
    let refused = shard.open_session(session(10)).await.expect_err("not for an hour yet");
    assert!(is_full(&refused), "{refused:?}");
    clock.advance(Duration::from_secs(600));
    shard.open_session(session(10)).await.expect("number 2 makes room");
    assert_eq!(shard.producers(), 10);
    let gone = OpenSession { sent: true, ..session(2) };
    assert!(is_expired(&shard.open_session(gone).await.expect_err("forgotten")));
    for number in (0..=10).filter(|number| *number != 2) {
        let known = OpenSession { sent: true, ..session(number) };
        shard.open_session(known).await.expect("remembered");
    }
    // The log says who was forgotten, so that a restart agrees.
    let entries = shard.inspect(|remembered| remembered.table.entries());
    let rebuilt =
        rebuild(&log, &[(LINEAGE, shard.watermark())], lineage(2), None).expect("rebuild");
    assert_eq!(rebuilt.remembered.table.entries(), entries);
}

#[tokio::test]
async fn a_producer_is_remembered_for_seven_days_or_ten_minutes_after_it_closed() {
    let (log, clock) = (open_log(&FaultyStorage::new(1)), Arc::new(ManualClock::new(NOW_MS)));
    let shard = small_shard(&log, &clock, 10).await;
    let channel = DurableChannel::new(Arc::clone(&shard), 0);
    let mut idle = TestProducer::open(&channel, 1).await;
    let mut closed = TestProducer::open(&channel, 2).await;
    let (first, second) = (idle.block("a"), closed.block("b"));
    shard.put(first.clone()).await.expect("put");
    shard.put(second.clone()).await.expect("put");
    shard.close_session(closed.id(), closed.generation()).await.expect("close");
    clock.advance(CLOSED_KEPT - Duration::from_millis(1));
    assert!(shard.put(second.clone()).await.expect("still known").duplicate);
    clock.advance(Duration::from_millis(1));
    assert!(is_expired(&shard.put(second).await.expect_err("forgotten")));
    clock.advance(IDLE_KEPT - CLOSED_KEPT - Duration::from_millis(1));
    assert!(shard.put(first.clone()).await.expect("still known").duplicate);
    clock.advance(Duration::from_millis(1));
    assert!(is_expired(&shard.put(first).await.expect_err("forgotten")));
    // Whoever says that the block was never sent is new.
    let again = OpenSession { lowest: 1, ..idle.session() };
    assert_eq!(shard.open_session(again).await.expect("new").next, 1);
}

#[tokio::test]
async fn a_producers_word_is_taken_where_its_memory_is_elsewhere() {
    let log = open_log(&FaultyStorage::new(1));
    let mut options = options(&log, vec![durable(0, "main", 1 << 20)]);
    options.trust_producers = true;
    let shard = Shard::open(options, Remembered::nothing(LINEAGE, None)).await.expect("shard");
    let open = OpenSession { lowest: 17, sent: true, ..session(1) };
    assert_eq!(shard.open_session(open).await.expect("its word").next, 17);
}

#[tokio::test]
async fn a_session_that_begins_higher_leaves_a_gap() {
    let log = open_log(&FaultyStorage::new(1));
    let shard = small_shard(&log, &Arc::new(ManualClock::new(NOW_MS)), 10).await;
    let channel = DurableChannel::new(Arc::clone(&shard), 0);
    let mut words = TestProducer::open(&channel, 1).await;
    words.put(&channel, "a b").await.expect("put");
    let higher = OpenSession { lowest: 5, ..words.session() };
    assert_eq!(shard.open_session(higher).await.expect("session").next, 5);
    // What lies in the gap was never stored, so it is no duplicate.
    let refused = words.put(&channel, "c").await.expect_err("given up");
    let expected = matches!(refused, PutError::Rejected { reason: Rejection::Expected(5) });
    assert!(expected, "{refused:?}");
}

/// Many producers, few in memory: the same answers, the same checkpoint.
#[tokio::test]
async fn a_table_that_outgrows_memory_is_the_same_table() {
    let log = open_log(&FaultyStorage::new(1));
    let shard = small_shard(&log, &Arc::new(ManualClock::new(NOW_MS)), 5000).await;
    let mut blocks = Vec::new();
    for number in 0..200u8 {
        let channel = DurableChannel::new(Arc::clone(&shard), 0);
        let mut words = TestProducer::open(&channel, number).await;
        let block = words.block("a b");
        shard.put(block.clone()).await.expect("put");
        blocks.push((words, block));
    }
    for (words, block) in &mut blocks {
        assert!(shard.put(block.clone()).await.expect("repeat").duplicate);
        let next = words.block("c");
        assert!(!shard.put(next).await.expect("next").duplicate);
    }
    let entries = shard.inspect(|remembered| remembered.table.entries());
    assert_eq!(entries.len(), 200);
    assert!(entries.values().all(|entry| entry.next == 3));
    let end = shard.seal();
    let view: Arc<dyn View> = Arc::new(MemoryView::new());
    let rebuilt = rebuild(&log, &[(LINEAGE, end)], lineage(2), Some(view)).expect("rebuild");
    assert_eq!(rebuilt.remembered.table.entries(), entries);
}

#[tokio::test]
async fn the_cap_on_producers_holds_and_a_full_table_survives_a_restart() {
    let log = open_log(&FaultyStorage::new(1));
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let shard = small_shard(&log, &clock, 3000).await;
    let open = |number| shard.open_session(session(number));
    let opened = futures::future::join_all((0..3000).map(open)).await;
    assert!(opened.iter().all(Result::is_ok));
    assert!(is_full(&shard.open_session(session(3000)).await.expect_err("full")));
    clock.advance(2 * IDLE_EVICTABLE);
    for number in 3000..3100 {
        shard.open_session(session(number)).await.expect("another is forgotten");
    }
    assert_eq!(shard.producers(), 3000);
    let entries = shard.inspect(|remembered| remembered.table.entries());
    // The next lineage begins with all of them in its checkpoint.
    let end = shard.stop().await;
    shard.end_at(end);
    let remembered = shard.take_remembered(end).expect("all of it is below the end");
    let mut options = options(&log, vec![durable(0, "main", 1 << 20)]);
    options.lineage = lineage(2);
    let next = Shard::open(options, remembered).await.expect("shard");
    assert_eq!(next.inspect(|remembered| remembered.table.entries()), entries);
    let sealed = [(LINEAGE, end), (lineage(2), next.watermark())];
    let rebuilt = rebuild(&log, &sealed, lineage(3), None).expect("rebuild");
    assert_eq!(rebuilt.remembered.table.entries(), entries);
    assert!(rebuilt.records <= next.watermark(), "nothing before the checkpoint is read");
}

/// The next lineage, with what was rebuilt from the log.
async fn reopen(
    log: &Log,
    clock: &Arc<ManualClock>,
    sealed: &[(Lineage, u64)],
    epoch: u64,
) -> Arc<Shard> {
    let mut rebuilt = rebuild(log, sealed, lineage(epoch), None).expect("rebuild");
    // What is known of where blocks are is forgotten with their lineage.
    rebuilt.remembered.table.set_epoch_min(epoch - 1);
    let mut options = options(log, vec![durable(0, "main", 1 << 20)]);
    (options.lineage, options.clock) = (lineage(epoch), clock.clone());
    Arc::new(Shard::open(options, rebuilt.remembered).await.expect("shard"))
}

fn is_lost(answer: &Result<Receipt, PutError>) -> bool {
    matches!(answer, Err(PutError::Rejected { reason: Rejection::Lost }))
}

/// A lineage is given up, its drains pass what is lost, it leaves the state; then the retry comes.
#[tokio::test]
async fn what_was_given_up_is_lost_to_whoever_puts_it_again() {
    let (log, clock) = (open_log(&FaultyStorage::new(1)), Arc::new(ManualClock::new(NOW_MS)));
    let first = reopen(&log, &clock, &[], 1).await;
    let mut producers = Vec::new();
    for number in 1..=3 {
        let mut words = crate::harness::producer(&first, number).await;
        let blocks = [words.block("a b"), words.block("c")];
        for block in &blocks {
            first.put(block.clone()).await.expect("put");
        }
        producers.push((words.id(), blocks));
    }
    let end = first.stop().await;
    first.end_at(end);
    let mut sealed = vec![(LINEAGE, end)];

    let second = reopen(&log, &clock, &sealed, 2).await;
    // All of the third producer's blocks, and one of the first.
    let whole = Loss { epoch: 1, from: end - 3, to: end, ids: None };
    let (producer, blocks) = &producers[0];
    let ids = LostIds { producer: *producer, generation: 1, first: 0, end: 2 };
    let one = Loss { epoch: 1, from: 2, to: 4, ids: Some(ids) };
    second.lose(&[whole, one]).await.expect("remembered");
    let expected =
        |answers: Vec<bool>| assert_eq!(answers, [true, false, false, false, true, true]);
    let put_again = async |shard: &Arc<Shard>| {
        let mut answers = Vec::new();
        for block in producers.iter().flat_map(|(_, blocks)| blocks) {
            let answer = shard.put(block.clone()).await;
            assert!(is_lost(&answer) || answer.as_ref().is_ok_and(|it| it.duplicate), "{answer:?}");
            answers.push(is_lost(&answer));
        }
        answers
    };
    expected(put_again(&second).await);
    second.set_epoch_min(2);
    expected(put_again(&second).await);
    assert!(blocks.len() == 2);

    // The log remembers it, by a record and then by checkpoints, for as long as producers are known.
    sealed.push((lineage(2), second.stop().await));
    for epoch in 3..=4 {
        let shard = reopen(&log, &clock, &sealed, epoch).await;
        shard.set_epoch_min(epoch);
        expected(put_again(&shard).await);
        sealed.push((lineage(epoch), shard.stop().await));
        log.forget(sealed.remove(0).0);
    }
    let late = reopen(&log, &clock, &sealed, 5).await;
    assert_eq!(late.inspect(|remembered| remembered.facts.losses().count()), 2);
    clock.advance(IDLE_KEPT);
    crate::harness::producer(&late, 9).await;
    sealed.push((lineage(5), late.stop().await));
    let later = reopen(&log, &clock, &sealed, 6).await;
    assert_eq!(later.inspect(|remembered| remembered.facts.losses().count()), 0);
}

/// Somebody sets the clock to next year, and nobody is forgotten: not now, not at the next start.
#[tokio::test]
async fn a_wall_clock_that_jumps_ahead_makes_nobody_idle() {
    let (log, clock) = (open_log(&FaultyStorage::new(1)), Arc::new(ManualClock::new(NOW_MS)));
    let first = reopen(&log, &clock, &[], 1).await;
    let mut busy = crate::harness::producer(&first, 1).await;
    let mut quiet = crate::harness::producer(&first, 2).await;
    let (repeat, kept) = (quiet.block("a"), quiet.block("b"));
    first.put(repeat.clone()).await.expect("put");
    first.put(kept.clone()).await.expect("put");
    clock.advance(Duration::from_secs(60));
    clock.set_wall_ms(NOW_MS + 365 * 24 * 3600 * 1000);
    assert!(first.put(kept.clone()).await.expect("it is known").duplicate);
    for _ in 0..10 {
        first.put(busy.block("x")).await.expect("put");
    }
    let mut sealed = vec![(LINEAGE, first.stop().await)];
    for epoch in 2..=3 {
        // Behind a start and its checkpoint.
        let shard = reopen(&log, &clock, &sealed, epoch).await;
        assert!(shard.put(kept.clone()).await.expect("it is known").duplicate);
        shard.put(busy.block("x")).await.expect("put");
        sealed.push((lineage(epoch), shard.stop().await));
    }
    // Time that passes counts, whatever the clock says.
    let last = reopen(&log, &clock, &sealed, 4).await;
    clock.advance(IDLE_KEPT - Duration::from_secs(600));
    assert!(last.put(kept.clone()).await.expect("it is known").duplicate);
    clock.advance(Duration::from_secs(600));
    assert!(is_expired(&last.put(kept).await.expect_err("forgotten")));
}
