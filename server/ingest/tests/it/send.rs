//! Plain events.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::v1::{Level, PlainEvent, SendRequest};
use sdk_flow::{BoxError, PutError, Rejection};
use server_ingest::limits::Limits;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{Node, eventually, in_time};
use crate::twin::{FLOW, disk_full};

fn request(bodies: &[&str]) -> SendRequest {
    let event =
        |body: &&str| PlainEvent { body: body.as_bytes().to_vec().into(), ..PlainEvent::default() };
    SendRequest {
        flow: FLOW.to_owned(),
        ack: Level::Unspecified.into(),
        events: bodies.iter().map(event).collect(),
    }
}

#[tokio::test]
async fn events_are_stored_and_each_answered_with_its_id_and_offset() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    let mut call = request(&["a", "b"]);
    call.events[0].timestamp_ms = Some(1_700_000_000_000);
    call.events[0].headers = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
    let answer = client.send(call).await.expect("stored").into_inner();
    assert_eq!(answer.level(), Level::Local);
    let ids: Vec<String> = answer.events.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids, node.twin.ids());
    let offsets =
        answer.events.iter().map(|event| event.coordinates.expect("a place").first_offset);
    assert_eq!(offsets.collect::<Vec<_>>(), [0, 1]);
    assert_eq!(node.twin.bodies(), ["a", "b"]);

    let again = client.send(request(&["c"])).await.expect("stored").into_inner();
    assert_eq!(again.events[0].coordinates.expect("a place").first_offset, 2);
    node.stop().await;
}

#[tokio::test]
async fn calls_that_wait_share_a_block() {
    let node = Node::start(sdk_event::Level::Local).await;
    node.twin.hold();
    let client = node.client().await;
    let mut calls = tokio::task::JoinSet::new();
    let start = |calls: &mut tokio::task::JoinSet<_>, body: String| {
        let mut client = client.clone();
        calls.spawn(async move {
            let answer = client.send(request(&[&body])).await.expect("stored").into_inner();
            (body, answer.events[0].coordinates.expect("a place").first_offset)
        });
    };
    start(&mut calls, "first".to_owned());
    eventually("the first is on its way", || node.twin.blocks() == 1).await;
    for number in 0..60 {
        start(&mut calls, number.to_string());
    }
    eventually("all have come", || node.metrics.send_calls.get() == 61).await;
    node.twin.release_all();
    while let Some(answer) = in_time(calls.join_next()).await {
        let (body, offset) = answer.expect("no panic");
        assert_eq!(node.twin.bodies()[usize::try_from(offset).expect("small")], body);
    }
    assert_eq!(node.twin.blocks(), 2, "one block for all that waited");
    node.stop().await;
}

#[tokio::test]
async fn refusals_are_statuses_that_say_when_to_come_back() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    node.twin.refuse(disk_full());
    let status = client.send(request(&["x"])).await.expect_err("refused");
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "no room: the disk is above its mark")
    );
    let delay = status.get_details_retry_info().expect("a delay").retry_delay;
    assert_eq!(delay, Some(Duration::from_millis(70)));

    node.twin.refuse(PutError::Unknown(BoxError::from("the disk is gone")));
    let status = client.send(request(&["x"])).await.expect_err("unknown");
    assert_eq!(status.code(), Code::Unknown);

    let status = client
        .send(SendRequest { flow: "no".to_owned(), ..request(&["x"]) })
        .await
        .expect_err("no such flow");
    assert_eq!(status.code(), Code::NotFound);
    let status = client
        .send(SendRequest { ack: Level::Replicated.into(), ..request(&["x"]) })
        .await
        .expect_err("a level too high");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let status = client.send(request(&[])).await.expect_err("nothing to store");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(node.twin.blocks(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_lane_finds_its_place_again() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    client.send(request(&["a"])).await.expect("stored");
    node.twin.forget();
    client.send(request(&["b"])).await.expect("stored under a new id");
    node.twin.refuse(PutError::Stopped);
    client.send(request(&["c"])).await.expect("stored by the next owner");
    node.twin.refuse(PutError::Rejected { reason: Rejection::Expected(2) });
    client.send(request(&["d"])).await.expect("stored where the shard says");
    assert_eq!(node.twin.bodies(), ["a", "b", "c", "d"]);
    node.stop().await;
}

#[tokio::test]
async fn limits_of_an_event_are_those_of_a_block_and_hit_nobody_else() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    let long = |length: usize| "x".repeat(length);
    let header = |key: String, value: String| PlainEvent {
        headers: BTreeMap::from([(key, value)]),
        ..PlainEvent::default()
    };
    let many = |count: usize, value: usize| PlainEvent {
        headers: (0..count).map(|number| (format!("{number:04}"), long(value))).collect(),
        ..PlainEvent::default()
    };
    let body = PlainEvent { body: vec![0; (1 << 20) + 1].into(), ..PlainEvent::default() };
    for (event, reason) in [
        (body, "body bytes: 1048577, the limit is 1048576"),
        (header(long(129), long(1)), "bytes of a header's key: 129, the limit is 128"),
        (header(long(1), long(4097)), "bytes of a header's value: 4097, the limit is 4096"),
        (header(String::new(), long(1)), "a header has no key"),
        (many(65, 1), "headers: 65, the limit is 64"),
        (many(5, 4000), "bytes of headers: 20020, the limit is 16384"),
    ] {
        let call = SendRequest { events: vec![event], ..request(&[]) };
        let status = client.send(call).await.expect_err("refused");
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, reason));
    }
    client.send(request(&["good"])).await.expect("stored");
    node.stop().await;
}

#[tokio::test]
async fn a_call_with_more_keys_than_a_block_has_is_refused_alone() {
    let node = Node::start(sdk_event::Level::Local).await;
    node.twin.hold();
    let client = node.client().await;
    let mut calls = tokio::task::JoinSet::new();
    let start = |calls: &mut tokio::task::JoinSet<_>, call: SendRequest| {
        let mut client = client.clone();
        calls.spawn(async move { client.send(call).await.map_err(|status| status.code()) });
    };
    start(&mut calls, request(&["first"]));
    eventually("the first is on its way", || node.twin.blocks() == 1).await;
    // Seventeen events of 64 keys each, all different: 1,088 keys, and a block has 1,024.
    let keys = |event: usize| (0..64).map(move |key| (format!("{event}-{key}"), String::new()));
    let event =
        |number: usize| PlainEvent { headers: keys(number).collect(), ..PlainEvent::default() };
    let wide = SendRequest { events: (0..17).map(event).collect(), ..request(&[]) };
    start(&mut calls, request(&["before"]));
    start(&mut calls, wide);
    start(&mut calls, request(&["behind"]));
    eventually("all have come", || node.metrics.send_calls.get() == 4).await;
    node.twin.release_all();
    let mut refused = Vec::new();
    while let Some(answer) = in_time(calls.join_next()).await {
        refused.extend(answer.expect("no panic").err());
    }
    assert_eq!(refused, [Code::InvalidArgument]);
    let mut bodies = node.twin.bodies();
    bodies.sort();
    assert_eq!(bodies, ["before", "behind", "first"]);
    node.stop().await;
}

#[tokio::test]
async fn committed_waits_for_the_files_and_no_longer_than_the_deadline() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    let call = SendRequest { ack: Level::Committed.into(), ..request(&["a"]) };
    let mut late = tonic::Request::new(call.clone());
    late.set_timeout(Duration::from_millis(50));
    let status = client.send(late).await.expect_err("too late");
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status}");
    node.twin.commit(2);
    let answer = client.send(call).await.expect("committed").into_inner();
    assert_eq!(answer.level(), Level::Committed);
    node.stop().await;
}

#[tokio::test]
async fn one_call_more_than_there_may_be_is_shed_at_once() {
    let limits = Limits { calls_max: 2, ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    node.twin.hold();
    let client = node.client().await;
    let mut calls = tokio::task::JoinSet::new();
    for body in ["a", "b"] {
        let mut client = client.clone();
        calls.spawn(async move { client.send(request(&[body])).await });
    }
    eventually("two calls under way", || node.metrics.send_calls.get() == 2).await;
    let status = client.clone().send(request(&["c"])).await.expect_err("shed");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().expect("a delay").retry_delay.is_some());
    node.twin.release_all();
    while let Some(answer) = in_time(calls.join_next()).await {
        answer.expect("no panic").expect("stored");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_at_the_nodes_own_deadline() {
    let limits = Limits { call_deadline: Duration::from_millis(50), ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    node.twin.hold();
    let status = node.client().await.send(request(&["a"])).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    node.twin.release_all();
    node.stop().await;
}

#[tokio::test]
async fn a_panic_is_one_internal_answer() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    client.send(request(&["a"])).await.expect("stored");
    node.twin.panic_from_now_on();
    let status = client
        .open_session(proto::v1::OpenSessionRequest {
            producer: vec![1; 16].into(),
            ..proto::v1::OpenSessionRequest::default()
        })
        .await
        .expect_err("a defect");
    assert_eq!(status.code(), Code::Internal);
    node.stop().await;
}

/// What is stored must not fail at a client for the length of the answer.
#[tokio::test]
async fn a_call_has_as_many_events_as_an_answer_that_every_client_takes() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = node.client().await;
    let call = |events| SendRequest { events: vec![PlainEvent::default(); events], ..request(&[]) };
    let answer = client.send(call(16_384)).await.expect("stored and answered").into_inner();
    assert_eq!(answer.events.len(), 16_384);
    assert!(prost::Message::encoded_len(&answer) < 2 << 20);
    let refused = client.send(call(16_385)).await.expect_err("too many");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "events: 16385, the limit is 16384");
    assert_eq!(node.twin.blocks(), 1);
    node.stop().await;
}
