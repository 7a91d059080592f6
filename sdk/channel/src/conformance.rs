//! What every channel must do. Each channel runs this against itself.
//!
//! Flume's rules for a transaction, in our words: a put is stored whole or not at
//! all; what was taken and not committed comes again, in the same order; a put is
//! visible when it is stored and not before; what is lent counts against the
//! capacity. And ours beyond them: a repeat is not a new event, and a reader never
//! passes the watermark.

mod producer;

pub use producer::{TestProducer, texts};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sdk_event::Lineage;
use sdk_flow::{
    Batch, Channel, ChannelReader, Dropped, Exhaustion, Positions, PutError, Rejection,
};

use crate::admission::OpenSession;
use crate::channel::{DurableChannel, MemoryChannel};
use crate::record::Gap;
use crate::shard::{SessionAnswer, Shard};

/// A channel as the suite needs it.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The channel.
    fn channel(&self) -> &dyn Channel;
    /// The number it has in puts.
    fn number(&self) -> u8;
    /// The lineage that puts go to.
    fn lineage(&self) -> Lineage;
    /// Lets a producer put.
    async fn open_session(&self, open: OpenSession) -> Result<SessionAnswer, PutError>;
    /// Takes a producer's word for what will not come.
    async fn gap(&self, gap: Gap) -> Result<(), PutError>;
    /// Says that everything below `floor` is delivered.
    fn raise_floor(&self, floor: u64);
    /// The offset that readers stop at.
    fn watermark(&self) -> u64;
    /// Stops puts and the watermark.
    fn seal(&self) -> u64;
    /// Decides the lineage's length.
    fn end_at(&self, end: u64);
}

/// How long a check waits for what must not happen.
const NEVER: Duration = Duration::from_millis(20);

/// How long a check waits for what must happen.
const SOON: Duration = Duration::from_secs(30);

/// Runs every check, each on a fresh channel. `new` makes one that has room for the
/// bytes given, and of which at least `number` is durable or in memory alike.
///
/// # Panics
/// When the channel does not do what it must.
pub async fn check<F>(new: impl Fn(u64) -> F)
where
    F: Future<Output = Box<dyn Subject>>,
{
    let roomy = || new(64 << 20);
    reads_in_put_order(roomy().await.as_ref()).await;
    a_dropped_batch_comes_again(roomy().await.as_ref()).await;
    a_reader_waits_and_is_cancel_safe(roomy().await.as_ref()).await;
    batches_cover_every_offset(roomy().await.as_ref()).await;
    batches_keep_to_their_size(roomy().await.as_ref()).await;
    readers_do_not_disturb_each_other(roomy().await.as_ref()).await;
    a_repeat_is_not_stored_again(roomy().await.as_ref()).await;
    blocks_come_in_order_or_not_at_all(roomy().await.as_ref()).await;
    other_bytes_under_the_same_ids_are_refused(roomy().await.as_ref()).await;
    strangers_are_refused(roomy().await.as_ref()).await;
    lower_generations_are_refused(roomy().await.as_ref()).await;
    gaps_are_declared(roomy().await.as_ref()).await;
    parts_are_merged_by_offset(roomy().await.as_ref()).await;
    other_channels_offsets_are_passed(roomy().await.as_ref()).await;
    a_reader_may_begin_inside_a_put(roomy().await.as_ref()).await;
    many_producers_keep_their_order(roomy().await).await;
    nothing_passes_a_seal(roomy().await.as_ref()).await;
    a_full_channel_refuses_whole_puts(new(600).await.as_ref()).await;
    what_is_lent_takes_room(new(600).await.as_ref()).await;
}

async fn reads_in_put_order(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    for text in ["a b", "c", "d e f"] {
        producer.put(subject, text).await.expect("put");
    }
    assert_eq!(read(subject, 0, 6).await, "a b c d e f");
}

async fn a_dropped_batch_comes_again(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    producer.put(subject, "a").await.expect("put");
    producer.put(subject, "b").await.expect("put");
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    let taken = next(reader.as_mut()).await;
    let begin = taken.from;
    drop(taken);
    // Rolled back: the reader goes to where the cursor stands.
    reader.seek(begin);
    assert_eq!(collect(reader.as_mut(), 2).await.join(" "), "a b");
    assert_eq!(read(subject, begin, 2).await, "a b");
}

async fn a_reader_waits_and_is_cancel_safe(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    for text in ["a", "b", "c"] {
        let early = tokio::time::timeout(NEVER, next_events(reader.as_mut())).await;
        assert!(early.is_err(), "a batch before there was a put: {early:?}");
        producer.put(subject, text).await.expect("put");
        assert_eq!(collect(reader.as_mut(), 1).await.join(" "), text);
    }
}

async fn batches_cover_every_offset(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    for _ in 0..20 {
        producer.put(subject, "a b c").await.expect("put");
    }
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    let (mut at, mut events) = (0, 0);
    while events < 60 {
        let batch = next(reader.as_mut()).await;
        assert_eq!(batch.from, at, "batches follow on each other");
        assert!(batch.to > batch.from && batch.to <= subject.watermark());
        assert_eq!(reader.cursor(), batch.to);
        for stored in &batch.stored {
            assert!(stored.first_offset >= batch.from && stored.end() <= batch.to);
        }
        events += batch.len();
        at = batch.to;
    }
}

async fn batches_keep_to_their_size(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    for _ in 0..8 {
        producer.put(subject, "a").await.expect("put");
    }
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    let mut puts = 0;
    while puts < 8 {
        let batch = reader.next(1).await.expect("read").expect("not the end");
        assert!(batch.stored.len() <= 1, "no more puts once the size is passed");
        puts += batch.stored.len();
    }
}

async fn readers_do_not_disturb_each_other(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    producer.put(subject, "a b").await.expect("put");
    let mut one = subject.channel().reader(subject.lineage(), 0).expect("reader");
    let mut other = subject.channel().reader(subject.lineage(), 0).expect("reader");
    assert_eq!(collect(one.as_mut(), 2).await.join(" "), "a b");
    assert_eq!(collect(other.as_mut(), 2).await.join(" "), "a b");
}

async fn a_repeat_is_not_stored_again(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    let first = producer.block("a b");
    let receipt = subject.channel().put(first.clone()).await.expect("put");
    assert!(!receipt.duplicate);
    let again = subject.channel().put(first.clone()).await.expect("repeat");
    assert!(again.duplicate);
    assert_eq!((again.lineage, again.first_offset), (receipt.lineage, receipt.first_offset));
    producer.put(subject, "c").await.expect("put");
    assert!(subject.channel().put(first).await.expect("late repeat").duplicate);
    assert_eq!(read(subject, 0, 3).await, "a b c");
    assert_nothing_behind(subject, 3).await;
}

async fn blocks_come_in_order_or_not_at_all(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    let (first, second) = (producer.block("a b"), producer.block("c"));
    let rejection = subject.channel().put(second.clone()).await.expect_err("too early");
    assert_rejected(&rejection, &Rejection::Expected(0));
    subject.channel().put(first).await.expect("put");
    subject.channel().put(second).await.expect("now it is next");
    // It overlaps what is stored.
    let mut overlap = TestProducer::continued(1, 2);
    let rejection = subject.channel().put(overlap.block("x y")).await.expect_err("overlap");
    assert_rejected(&rejection, &Rejection::Expected(3));
    assert_eq!(read(subject, 0, 3).await, "a b c");
    assert_nothing_behind(subject, 3).await;
}

async fn other_bytes_under_the_same_ids_are_refused(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    producer.put(subject, "a").await.expect("put");
    let mut copy = TestProducer::continued(1, 0);
    let rejection = subject.channel().put(copy.block("b")).await.expect_err("conflict");
    assert_rejected(&rejection, &Rejection::Conflict);
    assert_eq!(read(subject, 0, 1).await, "a");
}

async fn strangers_are_refused(subject: &dyn Subject) {
    let mut stranger = TestProducer::continued(7, 0);
    let rejection = stranger.put(subject, "a").await.expect_err("no session");
    assert_rejected(&rejection, &Rejection::Expired);
    let open = OpenSession { lowest: 5, sent: true, ..stranger.session() };
    let rejection = subject.open_session(open).await.expect_err("perhaps it was stored");
    assert_rejected(&rejection, &Rejection::Expired);
    let open = OpenSession { lowest: 5, sent: false, ..stranger.session() };
    let answer = subject.open_session(open).await.expect("new");
    assert_eq!(answer.next, 5);
}

async fn lower_generations_are_refused(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    let old = producer.block("a");
    subject.channel().put(old.clone()).await.expect("put");
    let late = producer.block("b");
    let mut producer = TestProducer::next_generation(&producer);
    subject.open_session(producer.session()).await.expect("next generation");
    // What the old generation stored is remembered, what it did not is too late.
    assert!(subject.channel().put(old).await.expect("repeat").duplicate);
    let rejection = subject.channel().put(late).await.expect_err("old generation");
    assert_rejected(&rejection, &Rejection::Generation(producer.generation()));
    producer.put(subject, "c").await.expect("put");
    assert_eq!(read(subject, 0, 2).await, "a c");
}

async fn gaps_are_declared(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    producer.put(subject, "a").await.expect("put");
    let skipped = producer.block("x y");
    let behind = producer.block("b");
    let rejection = subject.channel().put(behind.clone()).await.expect_err("a gap");
    assert_rejected(&rejection, &Rejection::Expected(1));
    let gap = producer.gap(1, 3);
    subject.gap(gap.clone()).await.expect("gap");
    subject.gap(gap).await.expect("repeated gap");
    let rejection = subject.channel().put(skipped).await.expect_err("it was given up");
    assert_rejected(&rejection, &Rejection::Expected(3));
    subject.channel().put(behind).await.expect("put");
    assert_eq!(read(subject, 0, 2).await, "a b");
}

async fn parts_are_merged_by_offset(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    let mut put = producer.block("a b c d e");
    let whole = put.parts[0].clone();
    put.parts.clear();
    for positions in [[0u32, 3], [1, 4]] {
        let mut part = whole.clone();
        part.block = whole.block.thin(&positions).remove(0);
        part.positions = Positions::Some(Arc::from(positions));
        put.parts.push(part);
    }
    let rule: Arc<str> = Arc::from("test:c");
    put.dropped.push(Dropped { rule: rule.clone(), channels: whole.channels, events: 1 });
    let receipt = subject.channel().put(put).await.expect("put");
    assert_eq!(receipt.count, 5);
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    let batch = next_events(reader.as_mut()).await;
    let first = receipt.first_offset;
    let found: Vec<_> =
        batch.events().map(|(offset, event)| (offset - first, event.sequence())).collect();
    assert_eq!(found, [(0, 0), (1, 1), (3, 3), (4, 4)]);
    assert_eq!(texts(&batch).join(" "), "a b d e");
    assert_eq!(batch.stored.last().expect("one").dropped, [(rule, 1)]);
}

async fn other_channels_offsets_are_passed(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    producer.put(subject, "a").await.expect("put");
    let mut put = producer.block("x y z");
    put.parts.clear();
    subject.channel().put(put).await.expect("put with nothing for us");
    producer.put(subject, "b").await.expect("put");
    assert_eq!(read(subject, 0, 2).await, "a b");
    // With nothing behind it, the range still comes to an end.
    let mut put = producer.block("x y z");
    put.parts.clear();
    let receipt = subject.channel().put(put).await.expect("put with nothing for us");
    let mut reader =
        subject.channel().reader(subject.lineage(), receipt.first_offset).expect("reader");
    let batch = next(reader.as_mut()).await;
    assert!(batch.is_empty());
    assert_eq!((batch.from, batch.to), (receipt.first_offset, receipt.first_offset + 3));
}

async fn a_reader_may_begin_inside_a_put(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    let receipt = producer.put(subject, "a b c d").await.expect("put");
    producer.put(subject, "e").await.expect("put");
    let from = receipt.first_offset + 2;
    let mut reader = subject.channel().reader(subject.lineage(), from).expect("reader");
    let batch = next_events(reader.as_mut()).await;
    assert_eq!(batch.from, from);
    let offsets: Vec<_> = batch.stored[0].events().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [from, from + 1]);
    assert_eq!(read(subject, from, 3).await, "c d e");
}

async fn many_producers_keep_their_order(subject: Box<dyn Subject>) {
    let subject: Arc<dyn Subject> = Arc::from(subject);
    let put_all = |number: u8| {
        let subject = Arc::clone(&subject);
        async move {
            let mut producer = TestProducer::open(subject.as_ref(), number).await;
            for at in 0..20 {
                let text = format!("{number}-{at:02}");
                producer.put(subject.as_ref(), &text).await.expect("put");
            }
        }
    };
    futures::future::join_all((1..=8).map(put_all)).await;
    let all = read(subject.as_ref(), 0, 160).await;
    for number in 1..=8u8 {
        let prefix = format!("{number}-");
        let mine: Vec<_> = all.split(' ').filter(|text| text.starts_with(&prefix)).collect();
        assert_eq!(mine.len(), 20);
        assert!(mine.is_sorted(), "producer {number} came out of order: {mine:?}");
    }
}

async fn nothing_passes_a_seal(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    producer.put(subject, "a b").await.expect("put");
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    let end = subject.seal();
    assert_eq!(end, subject.watermark());
    assert_eq!(subject.seal(), end, "a second seal is the first");
    let refused = producer.put(subject, "c").await.expect_err("sealed");
    let moving = matches!(refused, PutError::Exhausted { reason: Exhaustion::Moving, .. });
    assert!(moving, "a sealed channel says that another takes over: {refused:?}");
    assert_eq!(collect(reader.as_mut(), 2).await.join(" "), "a b");
    let early = tokio::time::timeout(NEVER, reader.next(1 << 20)).await;
    assert!(early.is_err(), "the end is not decided yet: {early:?}");
    subject.end_at(end);
    let last = tokio::time::timeout(SOON, reader.next(1 << 20)).await.expect("in time");
    if let Some(rest) = last.expect("read") {
        assert!(rest.is_empty());
        assert!(reader.next(1 << 20).await.expect("read").is_none());
    }
    assert_eq!(reader.cursor(), end);
}

async fn a_full_channel_refuses_whole_puts(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    let stored = fill(subject, &mut producer).await;
    let refused = producer.put(subject, "no room").await.expect_err("full");
    let PutError::Exhausted { reason: Exhaustion::Channel(_), retry_after } = refused else {
        panic!("a full channel asks to wait: {refused:?}");
    };
    assert!(retry_after > Duration::ZERO);
    assert_eq!(read(subject, 0, stored).await, vec!["full"; stored].join(" "));
    assert_nothing_behind(subject, stored).await;
    // Refused and put again later, it is as if it had come once.
    subject.raise_floor(subject.watermark());
    producer.back(2);
    producer.put(subject, "room again").await.expect("room");
}

async fn what_is_lent_takes_room(subject: &dyn Subject) {
    let mut producer = TestProducer::open(subject, 1).await;
    fill(subject, &mut producer).await;
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    let batch = next_events(reader.as_mut()).await;
    let refused = producer.put(subject, "full").await.expect_err("lent is not gone");
    assert!(matches!(refused, PutError::Exhausted { .. }));
    producer.back(1);
    subject.raise_floor(batch.to);
    producer.put(subject, "full").await.expect("committed is gone");
}

/// Puts until the channel has no more room, and says how many puts that took.
async fn fill(subject: &dyn Subject, producer: &mut TestProducer) -> usize {
    for stored in 0..1000 {
        if producer.put(subject, "full").await.is_err() {
            producer.back(1);
            assert!(stored > 0, "there is room for one put at least");
            return stored;
        }
    }
    panic!("the channel is not bounded");
}

fn assert_rejected(error: &PutError, expected: &Rejection) {
    match error {
        PutError::Rejected { reason } => assert_eq!(reason, expected),
        other => panic!("expected a rejection with {expected:?}, got {other:?}"),
    }
}

/// Nothing follows the first `events` events.
async fn assert_nothing_behind(subject: &dyn Subject, events: usize) {
    let mut reader = subject.channel().reader(subject.lineage(), 0).expect("reader");
    collect(reader.as_mut(), events).await;
    let more = tokio::time::timeout(NEVER, next_events(reader.as_mut())).await;
    assert!(more.is_err(), "something was stored that should not be: {more:?}");
}

/// The texts of the first `events` events from `from` on.
async fn read(subject: &dyn Subject, from: u64, events: usize) -> String {
    let mut reader = subject.channel().reader(subject.lineage(), from).expect("reader");
    collect(reader.as_mut(), events).await.join(" ")
}

async fn collect(reader: &mut dyn ChannelReader, events: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < events {
        found.extend(texts(&next(reader).await));
    }
    found
}

async fn next(reader: &mut dyn ChannelReader) -> Batch {
    let batch = tokio::time::timeout(SOON, reader.next(1 << 20)).await;
    batch.expect("a batch in time").expect("read").expect("not the end")
}

/// The next batch that has events.
async fn next_events(reader: &mut dyn ChannelReader) -> Batch {
    loop {
        match reader.next(1 << 20).await {
            Ok(Some(batch)) if batch.is_empty() => (),
            Ok(Some(batch)) => return batch,
            other => panic!("expected a batch: {other:?}"),
        }
    }
}

#[async_trait]
impl Subject for DurableChannel {
    fn channel(&self) -> &dyn Channel {
        self
    }
    fn number(&self) -> u8 {
        0
    }
    fn lineage(&self) -> Lineage {
        self.shard().lineage()
    }
    async fn open_session(&self, open: OpenSession) -> Result<SessionAnswer, PutError> {
        self.shard().open_session(open).await
    }
    async fn gap(&self, gap: Gap) -> Result<(), PutError> {
        self.shard().gap(gap).await
    }
    fn raise_floor(&self, floor: u64) {
        Shard::raise_floor(self.shard(), self.number(), floor);
    }
    fn watermark(&self) -> u64 {
        self.shard().watermark()
    }
    fn seal(&self) -> u64 {
        self.shard().seal()
    }
    fn end_at(&self, end: u64) {
        self.shard().end_at(end);
    }
}

#[async_trait]
impl Subject for MemoryChannel {
    fn channel(&self) -> &dyn Channel {
        self
    }
    fn number(&self) -> u8 {
        MemoryChannel::NUMBER
    }
    fn lineage(&self) -> Lineage {
        self.shard().lineage()
    }
    async fn open_session(&self, open: OpenSession) -> Result<SessionAnswer, PutError> {
        self.shard().open_session(open).await
    }
    async fn gap(&self, gap: Gap) -> Result<(), PutError> {
        self.shard().gap(gap).await
    }
    fn raise_floor(&self, floor: u64) {
        Shard::raise_floor(self.shard(), self.number(), floor);
    }
    fn watermark(&self) -> u64 {
        self.shard().watermark()
    }
    fn seal(&self) -> u64 {
        self.shard().seal()
    }
    fn end_at(&self, end: u64) {
        self.shard().end_at(end);
    }
}
