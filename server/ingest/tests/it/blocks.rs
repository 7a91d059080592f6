//! `BlockStream` against the real server.

use std::time::Duration;

use sdk_event::{Block, Level};
use sdk_flow::{PutError, Rejection, Tasks};
use sdk_producer::{
    BlockAnswer, BlockStream, DeliveryError, OnExpired, OnRejected, Rejected, RetryOptions, Stored,
    StreamOptions,
};
use server_ingest::RouteError;

use crate::harness::{Node, PRODUCER, block, eventually, in_time, large_block};
use crate::proxy::Proxy;
use crate::twin::{FLOW, disk_full};

fn options(url: &str) -> StreamOptions {
    StreamOptions {
        endpoints: vec![url.parse().expect("an address")],
        flow: FLOW.to_owned(),
        ack: Some(Level::Local),
        retry: RetryOptions {
            pause: Duration::from_millis(5),
            pause_max: Duration::from_millis(20),
            ..RetryOptions::default()
        },
        ..StreamOptions::new(PRODUCER, 1)
    }
}

async fn send(stream: &BlockStream, block: Block) -> BlockAnswer {
    in_time(stream.send(block)).await.expect("open")
}

async fn stored(answer: BlockAnswer) -> Stored {
    in_time(answer).await.expect("stored")
}

#[tokio::test]
async fn blocks_are_answered_with_level_place_and_id() {
    let node = Node::start(Level::Local).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&node.url()), &tasks);
    let first = send(&stream, block(0, ["a", "b"])).await;
    let second = send(&stream, block(2, ["c"])).await;
    let (first, second) = (stored(first).await, stored(second).await);
    assert_eq!((first.level, first.first_offset, first.count), (Level::Local, 0, 2));
    assert_eq!((second.first_offset, second.first.sequence), (2, 2));
    assert_eq!(second.lineage.to_string(), "7/3/2");
    in_time(stream.close()).await.expect("closed");
    assert_eq!(node.twin.closed(), [PRODUCER]);
    assert_eq!(stream.metrics().acked_events, 3);
    assert_eq!(stream.metrics().in_flight_bytes, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_cut_wire_loses_and_repeats_nothing() {
    let node = Node::start(Level::Local).await;
    let proxy = Proxy::to(node.address).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&proxy.url()), &tasks);
    let mut answers = Vec::new();
    for first in 0..200 {
        if first % 20 == 10 {
            proxy.cut().await;
        }
        let body = first.to_string();
        answers.push(send(&stream, block(first, [body.as_str()])).await);
        tokio::task::yield_now().await;
    }
    for answer in answers {
        stored(answer).await;
    }
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(node.twin.bodies(), expected);
    node.stop().await;
}

#[tokio::test]
async fn a_block_whose_answer_was_lost_is_answered_as_a_duplicate() {
    let node = Node::start(Level::Local).await;
    node.twin.hold();
    let proxy = Proxy::to(node.address).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&proxy.url()), &tasks);
    let answer = send(&stream, block(0, ["a"])).await;
    eventually("it is admitted", || node.twin.blocks() == 1).await;
    proxy.cut().await;
    node.twin.release_all();
    let stored = stored(answer).await;
    assert!(stored.duplicate);
    assert_eq!(stream.metrics().retried_blocks, 1);
    assert_eq!(node.twin.bodies(), ["a"]);
    node.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_waited_out_in_order() {
    let node = Node::start(Level::Local).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&node.url()), &tasks);
    node.twin.refuse(disk_full());
    node.twin.refuse(disk_full());
    let mut answers = Vec::new();
    for first in 0..5 {
        answers.push(send(&stream, block(first, ["x"])).await);
    }
    for answer in answers {
        assert!(!stored(answer).await.duplicate);
    }
    assert_eq!(node.twin.blocks(), 5);
    assert_eq!(stream.metrics().connections, 1, "on the same connection");
    node.stop().await;
}

#[tokio::test]
async fn the_window_bounds_what_is_unanswered() {
    let node = Node::start(Level::Local).await;
    node.twin.hold();
    let tasks = Tasks::new();
    let window = StreamOptions { window_bytes: 300_000, ..options(&node.url()) };
    let stream = BlockStream::open(window, &tasks);
    let first = send(&stream, large_block(0, 100_000)).await;
    let _second = send(&stream, large_block(1, 100_000)).await;
    assert!(stream.try_send(large_block(2, 100_000)).is_err());
    let mut third = Box::pin(stream.send(large_block(2, 100_000)));
    assert!(futures::poll!(&mut third).is_pending());
    eventually("both are in flight", || node.twin.blocks() == 2).await;
    node.twin.release(0);
    stored(first).await;
    let third = in_time(third).await.expect("room");
    node.twin.release_all();
    stored(third).await;
    node.stop().await;
}

#[tokio::test]
async fn a_rejected_block_is_passed_or_waited_for_as_the_caller_chose() {
    for on_rejected in [OnRejected::GoOn, OnRejected::Stop] {
        let node = Node::start(Level::Local).await;
        let tasks = Tasks::new();
        let stream =
            BlockStream::open(StreamOptions { on_rejected, ..options(&node.url()) }, &tasks);
        stored(send(&stream, block(0, ["a"])).await).await;
        let content = Rejection::Content("a header is too long".into());
        node.twin.refuse(PutError::Rejected { reason: content });
        let bad = send(&stream, block(1, ["bad"])).await;
        let behind = send(&stream, block(2, ["c"])).await;
        let error = in_time(bad).await.expect_err("rejected");
        assert!(
            matches!(error, DeliveryError::Rejected { kind: Rejected::Invalid, .. }),
            "{error}"
        );
        let behind = in_time(behind).await;
        match on_rejected {
            OnRejected::GoOn => assert_eq!(behind.expect("stored").first.sequence, 2),
            OnRejected::Stop => {
                assert_eq!(behind, Err(DeliveryError::Behind));
                stream.gap(1, 2).expect("open");
                stored(send(&stream, block(2, ["c"])).await).await;
            }
        }
        assert_eq!(node.twin.bodies(), ["a", "c"]);
        node.stop().await;
    }
}

#[tokio::test]
async fn a_level_or_flow_that_is_not_there_rejects_and_says_so() {
    let node = Node::start(Level::Local).await;
    for (change, kind, reason) in [
        (
            StreamOptions { ack: Some(Level::Replicated), ..options(&node.url()) },
            Rejected::Level,
            "one replica",
        ),
        (
            StreamOptions { flow: "no".to_owned(), ..options(&node.url()) },
            Rejected::Flow,
            "no flow",
        ),
    ] {
        let tasks = Tasks::new();
        let stream = BlockStream::open(change, &tasks);
        let answer = send(&stream, block(0, ["a"])).await;
        let Err(DeliveryError::Rejected { kind: found, reason: said }) = in_time(answer).await
        else {
            panic!("not rejected");
        };
        assert_eq!(found, kind);
        assert!(said.contains(reason), "{said}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_forgotten_producer_fails_or_takes_a_new_generation() {
    for on_expired in [
        OnExpired::Fail,
        OnExpired::NewGeneration { resend_doubtful: false },
        OnExpired::NewGeneration { resend_doubtful: true },
    ] {
        let node = Node::start(Level::Local).await;
        let proxy = Proxy::to(node.address).await;
        let tasks = Tasks::new();
        let stream =
            BlockStream::open(StreamOptions { on_expired, ..options(&proxy.url()) }, &tasks);
        stored(send(&stream, block(0, ["a"])).await).await;
        node.twin.hold();
        let doubtful = send(&stream, block(1, ["b"])).await;
        eventually("it is in flight", || node.twin.blocks() == 2).await;
        proxy.shut().await;
        node.twin.forget();
        node.twin.release_all();
        let unsent = send(&stream, block(2, ["c"])).await;
        proxy.open();
        let (doubtful, unsent) = (in_time(doubtful).await, in_time(unsent).await);
        let expired = Err(DeliveryError::ProducerExpired { perhaps_stored: true });
        match on_expired {
            OnExpired::Fail => {
                assert_eq!(doubtful, expired);
                assert_eq!(unsent, Err(DeliveryError::ProducerExpired { perhaps_stored: false }));
            }
            OnExpired::NewGeneration { resend_doubtful: false } => {
                assert_eq!(doubtful, expired);
                let first = unsent.expect("stored").first;
                assert_eq!((first.generation, first.sequence), (stream.generation(), 2));
                assert!(first.generation > 1);
                assert_eq!(node.twin.bodies(), ["a", "b", "c"]);
            }
            OnExpired::NewGeneration { resend_doubtful: true } => {
                assert_eq!(doubtful.expect("stored").first.generation, stream.generation());
                assert_eq!(unsent.expect("stored").first.sequence, 2);
                assert_eq!(stream.metrics().doubtful_resent_events, 1);
                assert_eq!(node.twin.bodies(), ["a", "b", "b", "c"], "twice rather than never");
            }
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn the_owner_is_followed() {
    let (wrong, owner) = (Node::start(Level::Local).await, Node::start(Level::Local).await);
    wrong.twin.misroute(RouteError::Moved { owner: owner.url() });
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&wrong.url()), &tasks);
    stored(send(&stream, block(0, ["a"])).await).await;
    assert_eq!(owner.twin.bodies(), ["a"]);
    assert_eq!(stream.metrics().connected_to, Some(owner.url()));
    wrong.stop().await;
    owner.stop().await;
}

#[tokio::test]
async fn an_idle_stream_that_the_node_ends_is_opened_again_when_needed() {
    let limits = server_ingest::limits::Limits {
        idle_stream: Duration::from_millis(50),
        ..server_ingest::limits::Limits::default()
    };
    let node = Node::with(Level::Local, limits).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&node.url()), &tasks);
    stored(send(&stream, block(0, ["a"])).await).await;
    eventually("the stream has ended", || node.metrics.streams.get() == 0).await;
    eventually("and this end knows", || stream.metrics().connected_to.is_none()).await;
    stored(send(&stream, block(1, ["b"])).await).await;
    assert_eq!(stream.metrics().retried_blocks, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_restart_sends_again_what_may_be_there() {
    let node = Node::start(Level::Local).await;
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&node.url()), &tasks);
    stored(send(&stream, block(0, ["a"])).await).await;
    stored(send(&stream, block(1, ["b"])).await).await;
    stream.restart(1).expect("open");
    assert!(stored(send(&stream, block(1, ["b"])).await).await.duplicate);
    stored(send(&stream, block(2, ["c"])).await).await;
    drop(stream);

    let resumed = StreamOptions { next_sequence: 2, sent: true, ..options(&node.url()) };
    let stream = BlockStream::open(resumed, &tasks);
    assert!(stored(send(&stream, block(2, ["c"])).await).await.duplicate);
    assert_eq!(node.twin.bodies(), ["a", "b", "c"]);
    node.stop().await;
}

#[tokio::test]
async fn a_stop_answers_everybody() {
    let node = Node::start(Level::Local).await;
    node.twin.hold();
    let tasks = Tasks::new();
    let stream = BlockStream::open(options(&node.url()), &tasks);
    let answer = send(&stream, block(0, ["a"])).await;
    eventually("it is in flight", || node.twin.blocks() == 1).await;
    tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(in_time(answer).await, Err(DeliveryError::Closed));
    assert!(stream.send(block(1, ["b"])).await.is_err());
    node.twin.release_all();
    node.stop().await;
}
