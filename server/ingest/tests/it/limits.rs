//! Each limit, exceeded.

use std::time::Duration;

use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use proto::v1::append_request::Kind;
use proto::v1::{AppendRequest, Code, Level, PlainEvent, SendRequest};
use sdk_event::limits::BLOCK_BYTES_MAX;
use server_ingest::limits::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Node, Stream, bind, block, eventually, in_time, large_block, open};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_block_of_more_than_four_mebibytes_is_refused_and_a_larger_message_ends_the_stream() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Local).await;
    stream.send(Kind::Block(Bytes::from(vec![0; BLOCK_BYTES_MAX + 1]))).await;
    assert_eq!(stream.line().await, "1 invalid");

    let mut stream = node.stream(Level::Local).await;
    stream.send(Kind::Block(Bytes::from(vec![0; BLOCK_BYTES_MAX + 70 * 1024]))).await;
    let status = stream.end_or_answer().await.expect_err("too large");
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    node.stop().await;
}

#[tokio::test]
async fn a_compressed_block_counts_with_what_it_unpacks_to() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Local).await;
    // What the header promises decides, before anything is unpacked.
    let mut bomb = {
        let mut builder = sdk_event::BlockBuilder::new(crate::harness::PRODUCER, 1, 0);
        builder.push(None, [], &vec![0; MIB]).expect("fits");
        builder.finish(sdk_event::Codec::Zstd).bytes().to_vec()
    };
    assert!(bomb.len() < 1024);
    bomb[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    stream.send(Kind::Block(bomb.into())).await;
    let answer = stream.answer().await;
    assert_eq!(answer.code(), Code::Invalid);
    assert!(answer.reason.contains("raw length"), "{}", answer.reason);
    node.stop().await;
}

#[tokio::test]
async fn a_session_has_eight_mebibytes_in_flight() {
    let node = Node::start(sdk_event::Level::Local).await;
    node.twin.hold();
    let (requests, mut answers) = node.stream(Level::Local).await.into_parts();
    let sending = async {
        for first in 0..20 {
            let message = AppendRequest {
                kind: Some(Kind::Block(large_block(first, MIB - 1024).bytes().clone())),
            };
            requests.send(message).await.expect("open");
        }
    };
    let watching = async {
        eventually("eight blocks are in flight", || node.twin.blocks() == 8).await;
        // The window of the stream takes some more; the shard never sees it.
        eventually("the window fills", || node.metrics.memory_bytes.get() > 9 * MIB as i64).await;
        assert_eq!(node.twin.block_bytes() / MIB, 7, "just below eight");
        assert_eq!(node.twin.blocks(), 8);
        node.twin.release_all();
        for _ in 0..20 {
            let answer = in_time(answers.message()).await.expect("an answer").expect("an answer");
            assert_eq!(answer.code(), Code::Ok);
        }
    };
    futures::join!(sending, watching);
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn a_session_has_eight_mebibytes_in_flight_as_they_are_unpacked() {
    let node = Node::start(sdk_event::Level::Local).await;
    node.twin.hold();
    let (requests, mut answers) = node.stream(Level::Local).await.into_parts();
    let sending = async {
        for first in 0..20 {
            let block = compressed_block(crate::harness::PRODUCER, first, MIB - 2048);
            assert!(block.bytes().len() < 1024);
            let kind = Some(Kind::Block(block.bytes().clone()));
            requests.send(AppendRequest { kind }).await.expect("open");
        }
    };
    let watching = async {
        eventually("eight blocks are in flight", || node.twin.blocks() == 8).await;
        let held = node.metrics.memory_bytes.get();
        assert!(held > 7 * MIB as i64, "{held} bytes are counted");
        // Those behind them have come; one is looked at in a stream's turn, none is put.
        eventually("all have come", || node.metrics.blocks.get() > 8).await;
        assert_eq!(node.twin.blocks(), 8);
        node.twin.release_all();
        for _ in 0..20 {
            let answer = in_time(answers.message()).await.expect("an answer").expect("an answer");
            assert_eq!(answer.code(), Code::Ok);
        }
    };
    futures::join!(sending, watching);
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn at_the_memory_limit_nothing_more_is_unpacked_and_afterwards_all_goes_on() {
    let limits = Limits { memory_bytes_max: 2 * MIB, ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    node.twin.hold();
    let mut streams = Vec::new();
    for producer in 0..6u8 {
        streams.push(OneBlock::bind(&node, producer).await);
    }
    for OneBlock { producer, stream } in &streams {
        stream.block(&compressed_block(*producer, 0, MIB - 2048)).await;
    }
    eventually("all have come", || node.metrics.blocks.get() == 6).await;
    eventually("memory is full", || node.metrics.memory_bytes.get() >= 2 * MIB as i64).await;
    assert!(node.metrics.memory_bytes.get() < 4 * MIB as i64);
    assert!(node.twin.blocks() <= 3, "{} are unpacked", node.twin.blocks());
    node.twin.release_all();
    for mut stream in streams {
        let answer = stream.stream.answer().await;
        assert_eq!(answer.code(), Code::Ok, "{}", answer.reason);
    }
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn plain_events_count_with_what_they_take_in_memory() {
    let node = Node::start(sdk_event::Level::Local).await;
    node.twin.hold();
    let mut client = node.client().await;
    let events = vec![PlainEvent::default(); 10_000];
    let request = SendRequest { flow: crate::twin::FLOW.to_owned(), ack: 0, events };
    let call = async { client.send(request).await.expect("stored") };
    let watching = async {
        eventually("it is on its way", || node.twin.blocks() == 1).await;
        let held = node.metrics.memory_bytes.get();
        let least = 10_000 * size_of::<PlainEvent>() as i64;
        assert!(held >= least, "20 kB came, {held} bytes are counted, {least} are used");
        node.twin.release_all();
    };
    futures::join!(call, watching);
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn what_is_stored_does_not_count_while_it_waits_for_files() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Committed).await;
    for first in 0..20 {
        stream.block(&large_block(first, MIB - 1024)).await;
    }
    eventually("all twenty are stored", || node.twin.blocks() == 20).await;
    eventually("none of them is in memory", || node.metrics.memory_bytes.get() == 0).await;
    node.twin.commit(20);
    for number in 1..=20 {
        assert_eq!(stream.line().await, format!("{number} ok"));
    }
    node.stop().await;
}

#[tokio::test]
async fn at_the_memory_limit_no_socket_is_read_and_afterwards_all_goes_on() {
    let limits = Limits { memory_bytes_max: 2 * MIB, ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    node.twin.hold();
    let mut streams = Vec::new();
    for producer in 0..6u8 {
        streams.push(OneBlock::bind(&node, producer).await);
    }
    for stream in &streams {
        stream.send(MIB - 1024).await;
    }
    eventually("memory is full", || node.metrics.memory_bytes.get() >= 2 * MIB as i64).await;
    assert!(node.twin.blocks() < 6);
    // A socket that was read when there was room may have given up to a frame more.
    assert!(node.metrics.memory_bytes.get() < 4 * MIB as i64);
    node.twin.release_all();
    for mut stream in streams {
        let answer = stream.stream.answer().await;
        assert_eq!(answer.code(), Code::Ok, "{}", answer.reason);
    }
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    assert_eq!(node.metrics.connections_cut.get(), 0);
    node.stop().await;
}

#[tokio::test]
async fn memory_full_of_unfinished_messages_is_freed_by_cutting_the_largest() {
    let limits = Limits {
        memory_bytes_max: MIB,
        memory_stuck: Duration::from_millis(50),
        ..Limits::default()
    };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    let mut stream = node.stream(Level::Local).await;
    // Says that 4 MiB come, and sends a good megabyte of them.
    let mut hostile = Unfinished::start(&node).await;
    hostile.send(MIB + MIB / 2).await;
    eventually("memory is full", || node.metrics.memory_bytes.get() >= MIB as i64).await;
    stream.block(&block(0, ["x"])).await;
    assert_eq!(stream.line().await, "1 ok");
    assert_eq!(node.metrics.connections_cut.get(), 1);
    drop(hostile);
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn a_message_with_fields_that_nobody_knows_gives_all_of_its_bytes_back() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = Unfinished::start(&node).await;
    // Field 15 with what is missing to 4 MiB; its tag and length take five bytes.
    stream.body.send_data(vec![15 << 3 | 2].into(), false).expect("queued");
    let length = 4 * MIB - 5;
    let varint = [0, 7, 14, 21].map(|shift| (length >> shift) as u8 & 0x7f | 0x80);
    let varint = [varint[0], varint[1], varint[2], varint[3] & 0x7f];
    stream.body.send_data(varint.to_vec().into(), false).expect("queued");
    stream.send(length).await;
    let refused = || {
        let (mut text, mut registry) = (String::new(), Registry::default());
        node.metrics.register(&mut registry);
        encode(&mut text, &registry).expect("text");
        text.contains("refused_total{code=\"CODE_INVALID\"} 1")
    };
    eventually("it is refused, for it has no kind", refused).await;
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    assert_eq!(node.metrics.streams.get(), 1, "and the stream is open");
    drop(stream);
    node.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_go_on() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    let mut stream = node.stream(Level::Local).await;
    let second = node.channel().await;
    let mut third = TcpStream::connect(node.address).await.expect("accepted by the system");
    let mut bytes = [0; 1];
    assert_eq!(in_time(third.read(&mut bytes)).await.unwrap_or(0), 0, "closed at once");
    assert_eq!(node.metrics.connections_refused.get(), 1);
    stream.block(&block(0, ["x"])).await;
    assert_eq!(stream.line().await, "1 ok");
    drop(second);
    eventually("its place is free", || node.metrics.connections.get() == 1).await;
    drop(node.channel().await);
    node.stop().await;
}

#[tokio::test]
async fn a_connection_has_so_many_streams_and_one_more_waits() {
    let limits = Limits { streams_per_connection_max: 3, ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    let mut client = node.client().await;
    open(&mut client, Level::Local).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Stream::open(&mut client).await);
    }
    let mut fourth = Box::pin(async { Stream::open(&mut client.clone()).await });
    assert!(futures::poll!(&mut fourth).is_pending());
    eventually("three are open", || node.metrics.streams.get() == 3).await;
    assert!(futures::poll!(&mut fourth).is_pending());
    streams.pop().expect("three").finish().await;
    in_time(fourth).await.finish().await;
    for stream in streams {
        stream.finish().await;
    }
    node.stop().await;
}

#[tokio::test]
async fn an_idle_stream_ends_and_one_with_something_unanswered_does_not() {
    let limits = Limits { idle_stream: Duration::from_millis(100), ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    node.twin.hold();
    let mut waiting = node.stream(Level::Local).await;
    waiting.block(&block(0, ["x"])).await;
    eventually("it is in flight", || node.twin.blocks() == 1).await;

    let mut client = node.client().await;
    let mut idle = Stream::open(&mut client).await;
    let status = idle.end_or_answer().await.expect_err("idle for too long");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    // The other one was silent for at least as long.
    node.twin.release_all();
    assert_eq!(waiting.line().await, "1 ok");
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_let_go_and_holds_no_memory() {
    let limits = Limits { unread_answers: Duration::from_millis(200), ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    let stream = node.stream(Level::Local).await;
    let (requests, answers) = stream.into_parts();
    let sending = async {
        for first in 0.. {
            let kind = Some(Kind::Block(block(first, ["x"]).bytes().clone()));
            if requests.send(AppendRequest { kind }).await.is_err() {
                break;
            }
        }
    };
    let watching = eventually("the stream is gone", || node.metrics.streams.get() == 0);
    tokio::select! {
        () = in_time(sending) => {}
        () = watching => {}
    }
    eventually("the stream is gone", || node.metrics.streams.get() == 0).await;
    drop((requests, answers));
    eventually("all memory is given back", || node.metrics.memory_bytes.get() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn noise_and_silence_on_the_port_end_and_hurt_nobody() {
    let limits = Limits { first_bytes: Duration::from_millis(100), ..Limits::default() };
    let node = Node::with(sdk_event::Level::Local, limits).await;
    let mut stream = node.stream(Level::Local).await;
    let mut silent = TcpStream::connect(node.address).await.expect("connect");
    let mut noisy = TcpStream::connect(node.address).await.expect("connect");
    let noise: Vec<u8> = (0..MIB).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect();
    // The write fails as soon as the node has seen enough.
    let _ = noisy.write_all(&noise).await;
    let mut rest = Vec::new();
    let _ = in_time(noisy.read_to_end(&mut rest)).await;
    let _ = in_time(silent.read_to_end(&mut rest)).await;
    eventually("only the good one is left", || node.metrics.connections.get() == 1).await;
    stream.block(&block(0, ["x"])).await;
    assert_eq!(stream.line().await, "1 ok");
    assert_eq!(node.metrics.memory_bytes.get(), 0);
    node.stop().await;
}

/// A block of one event of so many zeros, as small as it can be made.
fn compressed_block(producer: sdk_event::ProducerId, first: u64, bytes: usize) -> sdk_event::Block {
    let mut builder = sdk_event::BlockBuilder::new(producer, 1, first);
    builder.push(None, [], &vec![0; bytes]).expect("fits");
    builder.finish(sdk_event::Codec::Zstd)
}

/// A client with a connection and a producer of its own, and one block to send.
struct OneBlock {
    producer: sdk_event::ProducerId,
    stream: Stream,
}

impl OneBlock {
    async fn bind(node: &Node, producer: u8) -> OneBlock {
        let producer = sdk_event::ProducerId([producer; 16]);
        let mut client = node.client().await;
        let open = proto::v1::OpenSessionRequest {
            producer: producer.0.to_vec().into(),
            generation: 1,
            ..proto::v1::OpenSessionRequest::default()
        };
        client.open_session(open).await.expect("answered");
        let mut stream = Stream::open(&mut client).await;
        let bind = proto::v1::Bind { producer: producer.0.to_vec().into(), ..bind(Level::Local) };
        stream.send(Kind::Bind(bind)).await;
        assert_eq!(stream.line().await, "0 ok");
        OneBlock { producer, stream }
    }

    async fn send(&self, bytes: usize) {
        let mut builder = sdk_event::BlockBuilder::new(self.producer, 1, 0);
        builder.push(None, [], &vec![b'x'; bytes]).expect("fits");
        self.stream.block(&builder.finish(sdk_event::Codec::None)).await;
    }
}

/// A client that speaks HTTP/2 by hand and never ends its message.
struct Unfinished {
    body: h2::SendStream<Bytes>,
    _connection: tokio::task::JoinHandle<()>,
}

impl Unfinished {
    async fn start(node: &Node) -> Unfinished {
        let stream = TcpStream::connect(node.address).await.expect("connect");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("handshake");
        #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = http::Request::post(format!("{}/collector.v1.Ingest/Append", node.url()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let (_, body) = client.send_request(request, false).expect("sent");
        let mut unfinished = Unfinished { body, _connection: connection };
        unfinished.head(4 * MIB);
        unfinished
    }

    /// Begins a message of so many bytes.
    fn head(&mut self, bytes: usize) {
        let mut head = vec![0];
        head.extend(u32::try_from(bytes).expect("small").to_be_bytes());
        self.body.send_data(head.into(), false).expect("sent");
    }

    async fn send(&mut self, bytes: usize) {
        self.body.send_data(vec![0; bytes].into(), false).expect("queued");
    }
}
