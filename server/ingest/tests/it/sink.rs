//! The sink `collector`, as an agent runs it, against the real server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sdk_config::{AckLevel, ByteSize, CollectorSink, OnExpired};
use sdk_event::{Block, BlockBuilder, Codec, Level, Lineage};
use sdk_flow::{
    Batch, BoxError, DeadLetters, Positions, PutError, Rejection, Sink as _, SinkError, Stored,
    SystemEntropy,
};
use sdk_sinks::Collector;
use smallvec::smallvec;

use crate::harness::{Node, PRODUCER, block, eventually, in_time};
use crate::proxy::Proxy;
use crate::twin::FLOW;

const LINEAGE: Lineage = Lineage { flow: 1, shard: 0, epoch: 1 };

fn spec(url: &str) -> CollectorSink {
    CollectorSink {
        endpoints: vec![url.to_owned()],
        ack: Some(AckLevel::Local),
        request_timeout: "300ms".parse().expect("a duration"),
        max_backoff: "20ms".parse().expect("a duration"),
        ..CollectorSink::default()
    }
}

fn sink(spec: &CollectorSink) -> Collector {
    Collector::new(spec, FLOW, Arc::new(SystemEntropy)).expect("valid")
}

/// One put for each block.
fn batch(blocks: impl IntoIterator<Item = Block>) -> Batch {
    let mut to = 0;
    let stored = blocks.into_iter().map(|block| {
        let (first_offset, count) = (to, block.header().count);
        to += u64::from(count);
        let parts = smallvec![(Positions::All, block)];
        Stored { first_offset, count, put_time_ms: 1, parts, dropped: Vec::new() }
    });
    let stored = stored.collect();
    Batch { lineage: LINEAGE, from: 0, to, stored }
}

/// Dead letters in memory.
#[derive(Default)]
struct Letters(Mutex<Vec<String>>);

#[async_trait]
impl DeadLetters for Letters {
    async fn bury(&self, sink: &str, batch: &Batch, reason: &BoxError) -> Result<(), BoxError> {
        let mut letters = self.0.lock().expect("not poisoned");
        for (offset, event) in batch.events() {
            let body = String::from_utf8_lossy(event.body());
            letters.push(format!("{sink} {offset} {body}: {reason}"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn batches_arrive_once_however_often_they_are_delivered() {
    let node = Node::start(Level::Local).await;
    let mut sink = sink(&spec(&node.url()));
    let first = batch([block(0, ["a", "b"]), block(2, ["c"])]);
    in_time(sink.deliver(&first)).await.expect("delivered");
    in_time(sink.deliver(&first)).await.expect("delivered again");
    in_time(sink.deliver(&batch([block(3, ["d"])]))).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["a", "b", "c", "d"]);
    let ids = node.twin.ids();
    assert_eq!(ids[3], format!("{PRODUCER}-1-3"));
    in_time(sink.close()).await.expect("closed");
    assert!(node.twin.closed().is_empty(), "the spool goes on with these ids");
    node.stop().await;
}

#[tokio::test]
async fn an_outage_is_an_error_in_time_and_nothing_is_there_twice_afterwards() {
    let node = Node::start(Level::Local).await;
    node.twin.hold();
    let proxy = Proxy::to(node.address).await;
    let mut sink = sink(&spec(&proxy.url()));
    let batch = batch([block(0, ["a"]), block(1, ["b"])]);
    let error = in_time(sink.deliver(&batch)).await.expect_err("no answer");
    assert!(matches!(error, SinkError::Unavailable(_)), "{error}");
    proxy.cut().await;
    node.twin.release_all();
    in_time(sink.deliver(&batch)).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["a", "b"]);
    node.stop().await;
}

#[tokio::test]
async fn a_new_process_goes_on_where_the_one_before_was_cut_off() {
    let node = Node::start(Level::Local).await;
    let blocks = [block(0, ["a"]), block(1, ["b"]), block(2, ["c"])];
    let mut before = sink(&spec(&node.url()));
    in_time(before.deliver(&batch(blocks[..2].to_vec()))).await.expect("delivered");
    drop(before);
    // Its cursor had not moved: all of it comes again.
    let mut after = sink(&spec(&node.url()));
    in_time(after.deliver(&batch(blocks))).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["a", "b", "c"]);
    node.stop().await;
}

#[tokio::test]
async fn what_was_dropped_here_is_a_gap_there() {
    let node = Node::start(Level::Local).await;
    let mut sink = sink(&spec(&node.url()));
    let thinned = block(4, ["e", "f", "g"]).thin(&[0, 2]).remove(0);
    let blocks = [block(0, ["a"]), block(2, ["c"]), thinned, block(9, ["j"])];
    in_time(sink.deliver(&batch(blocks))).await.expect("delivered");
    in_time(sink.deliver(&batch([block(12, ["m"])]))).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["a", "c", "e", "g", "j", "m"]);
    node.stop().await;
}

#[tokio::test]
async fn a_put_that_was_split_goes_out_in_order() {
    let node = Node::start(Level::Local).await;
    let mut sink = sink(&spec(&node.url()));
    let whole = {
        let mut builder = BlockBuilder::new(PRODUCER, 1, 0);
        builder.shared_header("host", "web").expect("fits");
        for (body, app) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")] {
            builder.push(Some(7), [("app", app)], body.as_bytes()).expect("fits");
        }
        builder.finish(Codec::None)
    };
    let part =
        |positions: &[u32]| (Positions::Some(positions.into()), whole.thin(positions).remove(0));
    let parts = smallvec![part(&[0, 2]), part(&[1, 3])];
    let stored =
        vec![Stored { first_offset: 0, count: 4, put_time_ms: 1, parts, dropped: Vec::new() }];
    let split = Batch { lineage: LINEAGE, from: 0, to: 4, stored };
    in_time(sink.deliver(&split)).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["a", "b", "c", "d"]);
    assert_eq!(node.twin.blocks(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_rejected_block_becomes_a_dead_letter_alone() {
    let node = Node::start(Level::Local).await;
    let letters = Arc::new(Letters::default());
    let letters_of_sink = Arc::clone(&letters) as Arc<dyn DeadLetters>;
    let mut sink = sink(&spec(&node.url())).with_dead_letters("up", letters_of_sink);
    in_time(sink.deliver(&batch([block(0, ["a"])]))).await.expect("delivered");
    node.twin.refuse(PutError::Rejected { reason: Rejection::Content("too long".into()) });
    let blocks = [block(1, ["bad"]), block(2, ["c"]), block(3, ["d"])];
    in_time(sink.deliver(&batch(blocks))).await.expect("delivered or buried");
    in_time(sink.deliver(&batch([block(4, ["e"])]))).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["a", "c", "d", "e"]);
    let letters = letters.0.lock().expect("not poisoned").clone();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].starts_with("up 0 bad: rejected (invalid)"), "{letters:?}");
    node.stop().await;
}

#[tokio::test]
async fn of_a_put_that_goes_out_in_two_blocks_only_the_rejected_one_is_a_dead_letter() {
    let node = Node::start(Level::Local).await;
    let letters = Arc::new(Letters::default());
    let letters_of_sink = Arc::clone(&letters) as Arc<dyn DeadLetters>;
    // Each event is a block of its own.
    let small = CollectorSink { batch_bytes: ByteSize(1), ..spec(&node.url()) };
    let mut sink = sink(&small).with_dead_letters("up", letters_of_sink);
    let whole = block(0, ["a", "b", "c", "d"]);
    let part =
        |positions: &[u32]| (Positions::Some(positions.into()), whole.thin(positions).remove(0));
    let parts = smallvec![part(&[0, 2]), part(&[1, 3])];
    let stored =
        vec![Stored { first_offset: 7, count: 4, put_time_ms: 1, parts, dropped: Vec::new() }];
    let split = Batch { lineage: LINEAGE, from: 7, to: 11, stored };
    node.twin.refuse(PutError::Rejected { reason: Rejection::Content("too long".into()) });
    in_time(sink.deliver(&split)).await.expect("delivered or buried");
    assert_eq!(node.twin.bodies(), ["b", "c", "d"]);
    let letters = letters.0.lock().expect("not poisoned").clone();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].starts_with("up 7 a: rejected (invalid)"), "{letters:?}");
    node.stop().await;
}

#[tokio::test]
async fn without_dead_letters_the_batch_is_rejected() {
    let node = Node::start(Level::Local).await;
    let mut sink = sink(&spec(&node.url()));
    node.twin.refuse(PutError::Rejected { reason: Rejection::Content("too long".into()) });
    let bad = batch([block(0, ["bad"]), block(1, ["b"])]);
    let error = in_time(sink.deliver(&bad)).await.expect_err("rejected");
    assert!(matches!(error, SinkError::Rejected(_)), "{error}");
    // The group has buried the batch and goes on behind it.
    in_time(sink.deliver(&batch([block(2, ["c"])]))).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["c"]);
    node.stop().await;
}

#[tokio::test]
async fn a_level_that_is_not_given_is_an_outage_not_a_dead_letter() {
    let node = Node::start(Level::Local).await;
    let mut sink = sink(&CollectorSink { ack: Some(AckLevel::Replicated), ..spec(&node.url()) });
    let blocks = batch([block(0, ["a"]), block(1, ["b"])]);
    let error = in_time(sink.deliver(&blocks)).await.expect_err("not given");
    assert!(matches!(error, SinkError::Unavailable(_)), "{error}");
    node.twin.set_level(Level::Replicated);
    in_time(sink.deliver(&blocks)).await.expect("delivered");
    assert_eq!(node.twin.bodies(), ["a", "b"]);
    node.stop().await;
}

#[tokio::test]
async fn a_forgotten_producer_sends_again_or_buries_what_may_be_there() {
    for on_expired in [OnExpired::Resend, OnExpired::DeadLetter] {
        let node = Node::start(Level::Local).await;
        let proxy = Proxy::to(node.address).await;
        let letters = Arc::new(Letters::default());
        let letters_of_sink = Arc::clone(&letters) as Arc<dyn DeadLetters>;
        let spec = CollectorSink { on_expired, ..spec(&proxy.url()) };
        let mut sink = sink(&spec).with_dead_letters("up", letters_of_sink);
        in_time(sink.deliver(&batch([block(0, ["a"])]))).await.expect("delivered");
        node.twin.hold();
        let doubtful = batch([block(1, ["b"])]);
        in_time(sink.deliver(&doubtful)).await.expect_err("no answer");
        proxy.shut().await;
        node.twin.forget();
        node.twin.release_all();
        proxy.open();
        in_time(async { while sink.deliver(&doubtful).await.is_err() {} }).await;
        in_time(sink.deliver(&batch([block(2, ["c"])]))).await.expect("delivered");
        let letters = letters.0.lock().expect("not poisoned").len();
        match on_expired {
            OnExpired::Resend => {
                assert_eq!((node.twin.bodies().join(""), letters), ("abbc".to_owned(), 0));
            }
            OnExpired::DeadLetter => {
                assert_eq!((node.twin.bodies().join(""), letters), ("abc".to_owned(), 1));
            }
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn committed_waits_longer_than_an_answer_may_take_while_the_node_is_there() {
    let node = Node::start(Level::Local).await;
    let spec = CollectorSink {
        ack: Some(AckLevel::Committed),
        request_timeout: "20ms".parse().expect("a duration"),
        in_flight: ByteSize::mib(1),
        ..spec(&node.url())
    };
    let mut sink = sink(&spec);
    let batch = batch([block(0, ["a"])]);
    let delivery = sink.deliver(&batch);
    let commit = async {
        eventually("it is stored", || node.twin.blocks() == 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        node.twin.commit(1);
    };
    let (delivered, ()) = futures::join!(in_time(delivery), commit);
    delivered.expect("committed");
    node.stop().await;
}
