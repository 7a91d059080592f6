//! `Producer` and `BlockingProducer` against the real server.

use std::collections::BTreeSet;
use std::time::Duration;

use sdk_flow::{PutError, Rejection};
use sdk_producer::{
    BreakerOptions, BreakerState, DeliveryError, Event, FlushError, Level, OnFull, Producer,
    ProducerBuilder, Rejected, RetryOptions, SendError,
};

use crate::harness::{Node, eventually, in_time};
use crate::proxy::Proxy;
use crate::twin::{FLOW, disk_full};

fn builder(url: &str) -> ProducerBuilder {
    Producer::builder().endpoint(url).flow(FLOW).ack(Level::Local).retry(RetryOptions {
        pause: Duration::from_millis(5),
        pause_max: Duration::from_millis(20),
        ..RetryOptions::default()
    })
}

fn event(body: impl ToString) -> Event {
    Event::new(body.to_string())
}

#[tokio::test]
async fn each_event_learns_its_id_level_and_place() {
    let node = Node::start(Level::Local).await;
    let producer = builder(&node.url()).header("app", "shop").start().expect("valid");
    let mut deliveries = Vec::new();
    for number in 0..100 {
        deliveries.push(producer.send(event(number)).await.expect("room"));
    }
    let mut ids = Vec::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let receipt = in_time(delivery).await.expect("stored");
        assert_eq!((receipt.level, receipt.offset), (Level::Local, number as u64));
        ids.push(receipt.id.to_string());
    }
    assert_eq!(node.twin.ids(), ids);
    assert_eq!(node.twin.bodies()[99], "99");
    assert!(node.twin.blocks() < 20, "batched");
    in_time(producer.close()).await.expect("all acknowledged");
    assert_eq!(node.twin.closed().len(), 1);
    assert!(matches!(producer.send(event("late")).await, Err(SendError::Closed)));
    assert_eq!(producer.metrics().acked_events, 100);
    node.stop().await;
}

#[tokio::test]
async fn a_lone_event_waits_for_the_linger_and_no_longer() {
    let node = Node::start(Level::Local).await;
    let producer = builder(&node.url()).linger(Duration::from_millis(1)).start().expect("valid");
    in_time(producer.send(event("a")).await.expect("room")).await.expect("stored");
    node.stop().await;
}

#[tokio::test]
async fn an_outage_loses_and_repeats_nothing() {
    let node = Node::start(Level::Local).await;
    let proxy = Proxy::to(node.address).await;
    let producer = builder(&proxy.url()).batch_bytes(200).start().expect("valid");
    for number in 0..2_000 {
        if number % 400 == 200 {
            proxy.cut().await;
        }
        drop(producer.send(event(number)).await.expect("room"));
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    in_time(producer.flush()).await.expect("all acknowledged");
    let expected: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    assert_eq!(node.twin.bodies(), expected);
    let ids = node.twin.ids();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    node.stop().await;
}

#[tokio::test]
async fn another_endpoint_takes_over() {
    let (first, second) = (Node::start(Level::Local).await, Node::start(Level::Local).await);
    let proxy = Proxy::to(first.address).await;
    let producer = builder(&proxy.url()).endpoint(second.url()).start().expect("valid");
    in_time(producer.send(event("a")).await.expect("room")).await.expect("stored");
    proxy.shut().await;
    in_time(producer.send(event("b")).await.expect("room")).await.expect("stored elsewhere");
    assert_eq!(first.twin.bodies(), ["a"]);
    assert_eq!(second.twin.bodies(), ["b"]);
    assert_eq!(producer.metrics().connected_to, Some(second.url()));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_full_window_waits_says_so_or_drops() {
    let node = Node::start(Level::Local).await;
    node.twin.hold();
    let full = |on_full| {
        let builder = builder(&node.url()).on_full(on_full).window_bytes(1_000);
        builder.deadline(Duration::from_millis(300)).linger(Duration::ZERO)
    };
    let body = "x".repeat(500);

    let producer = full(OnFull::Error).start().expect("valid");
    let _first = producer.send(event(&body)).await.expect("room");
    assert_eq!(producer.send(event(&body)).await.err(), Some(SendError::Full));

    let producer = full(OnFull::Drop).start().expect("valid");
    let _first = producer.send(event(&body)).await.expect("room");
    let dropped = producer.send(event(&body)).await.expect("taken to be dropped");
    assert_eq!(in_time(dropped).await, Err(DeliveryError::Dropped));
    assert_eq!(producer.metrics().dropped_events, 1);

    let producer = full(OnFull::Wait).start().expect("valid");
    let _first = producer.send(event(&body)).await.expect("room");
    let late = producer.send_within(event(&body), Duration::from_millis(20)).await;
    assert_eq!(late.err(), Some(SendError::Full), "waited for its deadline");
    let mut waiting = Box::pin(producer.send(event(&body)));
    assert!(futures::poll!(&mut waiting).is_pending());
    node.twin.release_all();
    in_time(in_time(waiting).await.expect("room")).await.expect("stored");
    node.stop().await;
}

#[tokio::test]
async fn without_a_node_events_expire_certainly_not_stored() {
    let node = Node::start(Level::Local).await;
    let proxy = Proxy::to(node.address).await;
    proxy.shut().await;
    let deadline = Duration::from_millis(100);
    let patient = BreakerOptions { failures: u32::MAX, ..BreakerOptions::default() };
    let producer = builder(&proxy.url()).deadline(deadline).breaker(patient);
    let producer = producer.start().expect("valid");
    let delivery = producer.send(event("a")).await.expect("room");
    let error = in_time(delivery).await.expect_err("nobody is there");
    assert!(matches!(error, DeliveryError::Expired { .. }) && error.is_certain(), "{error}");
    assert_eq!(in_time(producer.flush()).await, Err(FlushError::Unacknowledged { events: 1 }));
    proxy.open();
    in_time(producer.send(event("b")).await.expect("room")).await.expect("stored");
    in_time(producer.flush()).await.expect("the one before was said already");
    assert_eq!(node.twin.bodies(), ["b"]);
    assert_eq!(producer.metrics().expired_events, 1);
    node.stop().await;
}

#[tokio::test]
async fn an_unanswered_event_is_unknown_at_its_deadline() {
    let node = Node::start(Level::Local).await;
    node.twin.hold();
    let deadline = Duration::from_millis(100);
    let producer = builder(&node.url()).deadline(deadline).start().expect("valid");
    let delivery = producer.send(event("a")).await.expect("room");
    let error = in_time(delivery).await.expect_err("no answer");
    assert!(matches!(error, DeliveryError::Unknown { .. }) && !error.is_certain(), "{error}");
    assert!(error.to_string().contains(&format!("no answer yet from {}", node.url())), "{error}");
    node.twin.release_all();
    in_time(producer.send(event("b")).await.expect("room")).await.expect("stored");
    assert_eq!(node.twin.bodies(), ["a", "b"], "it was stored after all, and is no gap");
    node.stop().await;
}

#[tokio::test]
async fn an_event_with_an_earlier_deadline_does_not_wait_for_its_block() {
    let node = Node::start(Level::Local).await;
    node.twin.hold();
    let producer = builder(&node.url()).start().expect("valid");
    let patient = producer.send(event("a")).await.expect("room");
    let hasty = producer.send_within(event("b"), Duration::from_millis(30)).await.expect("room");
    assert!(matches!(in_time(hasty).await, Err(DeliveryError::Unknown { .. })));
    node.twin.release_all();
    in_time(patient).await.expect("stored");
    node.stop().await;
}

#[tokio::test]
async fn a_rejected_block_fails_its_events_alone() {
    let node = Node::start(Level::Local).await;
    let producer = builder(&node.url()).start().expect("valid");
    in_time(producer.send(event("a")).await.expect("room")).await.expect("stored");
    let content = Rejection::Content("too long".into());
    node.twin.refuse(PutError::Rejected { reason: content });
    let bad = producer.send(event("bad")).await.expect("room");
    let error = in_time(bad).await.expect_err("rejected");
    assert!(matches!(error, DeliveryError::Rejected { kind: Rejected::Invalid, .. }), "{error}");
    in_time(producer.send(event("c")).await.expect("room")).await.expect("stored");
    assert_eq!(node.twin.bodies(), ["a", "c"]);
    node.stop().await;
}

#[tokio::test]
async fn a_refusal_with_a_delay_is_waited_out_within_the_deadline() {
    let node = Node::start(Level::Local).await;
    let producer = builder(&node.url()).start().expect("valid");
    node.twin.refuse(disk_full());
    in_time(producer.send(event("a")).await.expect("room")).await.expect("stored later");
    assert_eq!(node.twin.blocks(), 1);
    node.stop().await;
}

#[tokio::test]
async fn what_no_block_can_hold_is_refused_at_once() {
    let node = Node::start(Level::Local).await;
    let producer = builder(&node.url()).start().expect("valid");
    let large = Event::new(vec![0; (1 << 20) + 1]);
    assert!(matches!(producer.send(large).await, Err(SendError::Invalid(_))));
    let long_key = event("x").with_header("k".repeat(129), "v");
    assert!(matches!(producer.send(long_key).await, Err(SendError::Invalid(_))));
    assert!(builder("ftp://x").start().is_err());
    assert!(builder(&node.url()).header("", "v").start().is_err());
    assert!(builder(&node.url()).batch_bytes(0).start().is_err());
    node.stop().await;
}

#[tokio::test]
async fn the_breaker_shows_and_recovers() {
    let node = Node::start(Level::Local).await;
    let proxy = Proxy::to(node.address).await;
    proxy.shut().await;
    let breaker = BreakerOptions {
        failures: 2,
        open_for: Duration::from_millis(50),
        ..BreakerOptions::default()
    };
    let producer = builder(&proxy.url()).breaker(breaker).start().expect("valid");
    let delivery = producer.send(event("a")).await.expect("room");
    let state = || producer.metrics().breakers[0].1;
    eventually("it opens", || state() == BreakerState::Open).await;
    proxy.open();
    in_time(delivery).await.expect("stored");
    assert_eq!(state(), BreakerState::Closed);
    node.stop().await;
}

#[test]
fn plain_threads_send_and_wait() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let node = runtime.block_on(Node::start(Level::Local));
    let producer = builder(&node.url()).start_blocking().expect("valid");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let producer = producer.clone();
            scope.spawn(move || {
                for number in 0..250 {
                    let delivery =
                        producer.send(event(format!("{worker} {number}"))).expect("room");
                    if number % 50 == 0 {
                        assert_eq!(delivery.wait().expect("stored").level, Level::Local);
                    }
                }
            });
        }
    });
    producer.flush().expect("all acknowledged");
    let bodies = node.twin.bodies();
    assert_eq!(bodies.len(), 1_000);
    for worker in 0..4 {
        let prefix = format!("{worker} ");
        let own: Vec<_> = bodies.iter().filter_map(|body| body.strip_prefix(&prefix)).collect();
        assert!(own.into_iter().map(|number| number.parse::<u32>().expect("a number")).is_sorted());
    }
    producer.close().expect("all acknowledged");
    runtime.block_on(node.stop());
}
