//! Blocks in, answers out.

use bytes::Bytes;
use proto::v1::append_request::Kind;
use proto::v1::{Code, Level, OpenSessionRequest};
use sdk_flow::{BoxError, PutError, Rejection};
use server_ingest::RouteError;

use crate::harness::{Node, PRODUCER, Stream, bind, block, open};
use crate::twin::{FLOW, disk_full};

#[tokio::test]
async fn blocks_are_stored_in_order_and_answered_with_their_place() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Unspecified).await;
    stream.block(&block(0, ["a", "b"])).await;
    stream.block(&block(2, ["c"])).await;
    for (number, first_offset, count) in [(1, 0, 2), (2, 2, 1)] {
        let answer = stream.answer().await;
        let place = answer.coordinates.expect("a place");
        assert_eq!(
            (answer.number, answer.code(), answer.level()),
            (number, Code::Ok, Level::Local)
        );
        assert_eq!((place.flow, place.shard, place.epoch), (7, 3, 2));
        assert_eq!((place.first_offset, place.count), (first_offset, count));
        assert!(!answer.duplicate);
    }
    stream.finish().await;
    assert_eq!(node.twin.bodies(), ["a", "b", "c"]);
    assert_eq!(node.metrics.events_acknowledged.get(), 3);
    node.stop().await;
}

#[tokio::test]
async fn many_blocks_are_in_flight_and_answered_as_they_complete() {
    let node = Node::start(sdk_event::Level::Local).await;
    node.twin.hold();
    let mut stream = node.stream(Level::Local).await;
    for first in 0..3 {
        stream.block(&block(first, ["x"])).await;
    }
    crate::harness::eventually("three blocks admitted", || node.twin.blocks() == 3).await;
    for (first, line) in [(2, "3 ok"), (0, "1 ok"), (1, "2 ok")] {
        node.twin.release(first);
        assert_eq!(stream.line().await, line);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_refused_block_fails_those_behind_it_until_the_next_bind() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Local).await;
    node.twin.refuse(disk_full());
    for first in 0..3 {
        stream.block(&block(first, ["x"])).await;
    }
    let refused = stream.answer().await;
    assert_eq!((refused.number, refused.code()), (1, Code::ResourceExhausted));
    assert_eq!(
        (refused.retry_after_ms, refused.reason.as_str()),
        (70, "no room: the disk is above its mark")
    );
    for number in [2, 3] {
        let behind = stream.answer().await;
        assert_eq!((behind.number, behind.code()), (number, Code::BehindRejected));
        assert_eq!(behind.expected_sequence, 0);
    }
    stream.bind(Level::Local).await;
    assert_eq!(stream.line().await, "4 ok");
    for first in 0..3 {
        stream.block(&block(first, ["x"])).await;
        assert_eq!(stream.line().await, format!("{} ok", first + 5));
    }
    assert_eq!(node.twin.blocks(), 3);
    node.stop().await;
}

/// Its ids are taken, so what follows has its place.
#[tokio::test]
async fn a_lost_repeat_fails_nothing_behind_it() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Local).await;
    node.twin.refuse(PutError::Rejected { reason: Rejection::Lost });
    for first in 0..2 {
        stream.block(&block(first, ["x"])).await;
    }
    assert_eq!(stream.line().await, "1 lost");
    // The twin has not taken the first, so that another answer says that it was asked.
    assert_eq!(stream.line().await, "2 sequence");
    node.stop().await;
}

#[tokio::test]
async fn a_sequence_ahead_is_refused_with_the_expected_one() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Local).await;
    stream.block(&block(5, ["x"])).await;
    let answer = stream.answer().await;
    assert_eq!((answer.code(), answer.expected_sequence), (Code::Sequence, 0));
    stream.bind(Level::Local).await;
    assert_eq!(stream.line().await, "2 ok");
    stream.gap(0, 5).await;
    stream.block(&block(5, ["x"])).await;
    assert_eq!(stream.line().await, "3 ok");
    assert_eq!(stream.line().await, "4 ok");
    node.stop().await;
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_original_and_stored_once() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Local).await;
    stream.block(&block(0, ["a"])).await;
    assert_eq!(stream.line().await, "1 ok");
    drop(stream);

    let mut again = node.stream(Level::Local).await;
    again.block(&block(0, ["a"])).await;
    let answer = again.answer().await;
    assert_eq!((answer.code(), answer.duplicate), (Code::Ok, true));
    assert_eq!(node.twin.bodies(), ["a"]);
    node.stop().await;
}

#[tokio::test]
async fn every_put_error_has_its_code() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    open(&mut client, Level::Local).await;
    let rejected = |reason| PutError::Rejected { reason };
    let table: Vec<(PutError, Code)> = vec![
        (disk_full(), Code::ResourceExhausted),
        (PutError::Stopped, Code::Unavailable),
        (PutError::Unknown(BoxError::from("the disk is gone")), Code::Unknown),
        (rejected(Rejection::Expected(4)), Code::Sequence),
        (rejected(Rejection::Generation(4)), Code::Generation),
        (rejected(Rejection::Expired), Code::ProducerExpired),
        (rejected(Rejection::Conflict), Code::Conflict),
        (rejected(Rejection::Lost), Code::Lost),
        (rejected(Rejection::Content("too large".into())), Code::Invalid),
    ];
    for (error, code) in table {
        let text = error.to_string();
        node.twin.refuse(error);
        let mut stream = Stream::open(&mut client).await;
        stream.bind(Level::Local).await;
        assert_eq!(stream.line().await, "0 ok");
        stream.block(&block(0, ["x"])).await;
        let answer = stream.answer().await;
        assert_eq!((answer.code(), answer.reason), (code, text));
    }
    assert_eq!(node.twin.blocks(), 0);
    assert_eq!(node.metrics.conflicts.get(), 1);
    node.stop().await;
}

#[tokio::test]
async fn what_is_no_block_of_the_bound_producer_is_refused() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    open(&mut client, Level::Local).await;
    let mut damaged = block(0, ["abc"]).bytes().to_vec();
    *damaged.last_mut().expect("not empty") ^= 1;
    let strangers = {
        let mut builder = sdk_event::BlockBuilder::new(sdk_event::ProducerId([1; 16]), 1, 0);
        builder.push(None, [], b"x").expect("fits");
        builder.finish(sdk_event::Codec::None).bytes().clone()
    };
    for (bytes, reason) in [
        (Bytes::from_static(b"not a block"), "header wants 80 bytes"),
        (Bytes::from(damaged), "crc32c"),
        (strangers, "not of the producer"),
    ] {
        let mut stream = Stream::open(&mut client).await;
        stream.bind(Level::Local).await;
        assert_eq!(stream.line().await, "0 ok");
        stream.send(Kind::Block(bytes)).await;
        let answer = stream.answer().await;
        assert_eq!(answer.code(), Code::Invalid);
        assert!(answer.reason.contains(reason), "{}", answer.reason);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_stream_must_be_bound_first() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    let mut stream = Stream::open(&mut client).await;
    stream.block(&block(0, ["x"])).await;
    assert_eq!(stream.line().await, "0 invalid");
    stream.send(Kind::Bind(proto::v1::Bind { flow: "wbe".to_owned(), ..bind(Level::Local) })).await;
    let answer = stream.answer().await;
    assert_eq!((answer.number, answer.code()), (1, Code::Flow));
    assert_eq!(answer.reason, "there is no flow `wbe`, did you mean `web`?");
    let short = proto::v1::Bind { producer: vec![1].into(), ..bind(Level::Local) };
    stream.send(Kind::Bind(short)).await;
    assert_eq!(stream.line().await, "2 invalid");
    node.stop().await;
}

#[tokio::test]
async fn sessions_say_where_a_producer_stands() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    let request = OpenSessionRequest {
        flow: FLOW.to_owned(),
        producer: PRODUCER.0.to_vec().into(),
        generation: 1,
        lowest_sequence: 40,
        ..OpenSessionRequest::default()
    };
    let mut ask = async |change: &dyn Fn(&mut OpenSessionRequest)| {
        let mut request = request.clone();
        change(&mut request);
        client.open_session(request).await.expect("answered").into_inner()
    };
    let answer = ask(&|request| request.sent = true).await;
    assert_eq!(answer.code(), Code::ProducerExpired);
    let answer = ask(&|_| ()).await;
    assert_eq!(
        (answer.code(), answer.expected_sequence, answer.level()),
        (Code::Ok, 40, Level::Local)
    );
    assert_eq!((answer.flow_id, answer.shard, answer.epoch), (7, 3, 2));
    let answer = ask(&|request| request.generation = 0).await;
    assert_eq!(answer.code(), Code::Generation);
    let answer = ask(&|request| request.epoch_seen = 3).await;
    assert_eq!(answer.code(), Code::Unavailable, "{}", answer.reason);

    node.twin.misroute(RouteError::Moved { owner: "http://other:7400".to_owned() });
    let answer = ask(&|_| ()).await;
    assert_eq!((answer.code(), answer.owner.as_str()), (Code::Moved, "http://other:7400"));

    let close = proto::v1::CloseSessionRequest {
        flow: FLOW.to_owned(),
        producer: PRODUCER.0.to_vec().into(),
        generation: 1,
    };
    let answer = client.close_session(close).await.expect("answered").into_inner();
    assert_eq!(answer.code(), Code::Ok);
    assert_eq!(node.twin.closed(), [PRODUCER]);
    node.stop().await;
}

#[tokio::test]
async fn a_stop_refuses_what_comes_and_answers_what_is_in_flight() {
    let node = Node::start(sdk_event::Level::Local).await;
    node.twin.hold();
    let mut stream = node.stream(Level::Local).await;
    stream.block(&block(0, ["a"])).await;
    crate::harness::eventually("a block in flight", || node.twin.blocks() == 1).await;
    node.tell_to_stop();
    // The listener is the first to go.
    crate::harness::in_time(async {
        while tokio::net::TcpStream::connect(node.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stream.block(&block(1, ["b"])).await;
    let answer = stream.answer().await;
    assert_eq!((answer.number, answer.code()), (2, Code::Unavailable));
    assert!(answer.retry_after_ms > 0);
    node.twin.release_all();
    assert_eq!(stream.line().await, "1 ok");
    assert_eq!(stream.end_or_answer().await.expect("a clean end"), None);
    node.stop().await;
}
