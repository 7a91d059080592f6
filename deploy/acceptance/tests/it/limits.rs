//! Every limit of a node is exceeded from outside, and answers as written: `LIMITS.md` lists them all.

use crate::send::quick_roll;
use deploy_acceptance::{Node, NodeOptions, Tree, eventually, run};
use proto::v1::append_request::Kind;
use proto::v1::ingest_client::IngestClient;
use proto::v1::{
    AppendRequest, AppendResponse, Bind, Code, OpenSessionRequest, PlainEvent, SendRequest,
};
use sdk_event::{Block, BlockBuilder, Codec, ProducerId};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel as Connection;

/// A node of one shard with these limits under `[node.limits]`.
fn node_with(limits: &str) -> Node {
    let quick = quick_roll();
    let flows = quick.config.clone().expect("a configuration");
    let config = format!("[node.limits]\n{limits}\n[flow.default]\nshards = 1\n{flows}");
    let mut node = Node::new(NodeOptions { config: Some(config), ..quick });
    node.start();
    node
}

pub(crate) async fn connect(node: &Node) -> IngestClient<Connection> {
    let client = IngestClient::connect(node.ingest()).await.expect("connect");
    client.max_encoding_message_size(64 << 20)
}

async fn open(client: &mut IngestClient<Connection>, producer: u8) -> (Code, u64) {
    let request = OpenSessionRequest {
        producer: vec![producer; 16].into(),
        generation: 1,
        ..Default::default()
    };
    let answer = client.open_session(request).await.expect("an answer").into_inner();
    (answer.code(), answer.retry_after_ms)
}

/// A bound stream of a producer.
pub(crate) struct Stream {
    requests: mpsc::Sender<AppendRequest>,
    answers: Streaming<AppendResponse>,
}

impl Stream {
    pub(crate) async fn bound(client: &mut IngestClient<Connection>, producer: u8) -> Stream {
        assert_eq!(open(client, producer).await.0, Code::Ok);
        let (requests, queue) = mpsc::channel(4);
        let bind = Bind { producer: vec![producer; 16].into(), generation: 1, ..Bind::default() };
        let bind = AppendRequest { kind: Some(Kind::Bind(bind)) };
        requests.send(bind).await.expect("the queue is there");
        let answers = client.append(ReceiverStream::new(queue)).await.expect("a stream");
        let mut stream = Stream { requests, answers: answers.into_inner() };
        assert_eq!(stream.answer().await.expect("an answer").code(), Code::Ok);
        stream
    }

    pub(crate) async fn send(&self, block: impl Into<bytes::Bytes>) {
        let request = AppendRequest { kind: Some(Kind::Block(block.into())) };
        self.requests.send(request).await.expect("the stream is open");
    }

    pub(crate) async fn answer(&mut self) -> Result<AppendResponse, tonic::Status> {
        let answer = self.answers.message().await?;
        answer.ok_or_else(|| tonic::Status::ok("the stream has ended"))
    }
}

pub(crate) fn block(producer: u8, bodies: &[&[u8]], codec: Codec) -> Block {
    let mut builder = BlockBuilder::new(ProducerId([producer; 16]), 1, 0);
    for body in bodies {
        builder.push(Some(1), [], body).expect("it fits");
    }
    builder.finish(codec)
}

#[tokio::test]
async fn an_event_above_a_limit_is_refused_with_the_limit_and_hurts_no_other() {
    let node = Node::started();
    let mut client = connect(&node).await;
    let headers = |count: usize, key: usize, value: usize| -> BTreeMap<String, String> {
        let pair = |number| (format!("{number:0key$}"), "v".repeat(value));
        (0..count).map(pair).collect()
    };
    let event = |body: usize, headers| PlainEvent {
        body: vec![b'x'; body].into(),
        headers,
        ..PlainEvent::default()
    };
    for (event, limit) in [
        (event((1 << 20) + 1, BTreeMap::new()), "1048576"),
        (event(1, headers(65, 4, 1)), "64"),
        (event(1, headers(1, 129, 1)), "128"),
        (event(1, headers(1, 4, 4097)), "4096"),
        (event(1, headers(5, 4, 4000)), "16384"),
    ] {
        let request = SendRequest { events: vec![event], ..SendRequest::default() };
        let status = client.send(request).await.expect_err("it is too large");
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
        assert!(status.message().contains(limit), "{status}");
    }
    let largest = event(1 << 20, headers(64, 4, 200));
    let request = SendRequest { events: vec![largest], ..SendRequest::default() };
    client.send(request).await.expect("at the limits");
}

#[tokio::test]
async fn a_block_above_four_mebibytes_is_refused_and_the_stream_goes_on() {
    let node = Node::started();
    let mut client = connect(&node).await;
    let mut stream = Stream::bound(&mut client, 1).await;
    stream.send(vec![0; (4 << 20) + 1]).await;
    assert_eq!(stream.answer().await.expect("an answer").code(), Code::Invalid);
    // A small one that says it unpacks to more.
    let mut stream = Stream::bound(&mut client, 2).await;
    let mut bomb = block(2, &[&vec![0; 1 << 20]], Codec::Zstd).bytes().to_vec();
    bomb[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    stream.send(bomb).await;
    assert_eq!(stream.answer().await.expect("an answer").code(), Code::Invalid);
    // A gRPC message has a limit of its own, behind which nothing is looked at.
    let mut stream = Stream::bound(&mut client, 3).await;
    stream.send(vec![0; (4 << 20) + (65 << 10)]).await;
    assert_eq!(stream.answer().await.expect_err("too large").code(), tonic::Code::OutOfRange);
    let mut stream = Stream::bound(&mut client, 4).await;
    stream.send(block(4, &[b"small"], Codec::None).bytes().clone()).await;
    assert_eq!(stream.answer().await.expect("an answer").code(), Code::Ok);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let node = node_with("connections = 4");
    let address = node.ingest().trim_start_matches("http://").to_owned();
    let idle: Vec<TcpStream> =
        (0..4).map(|_| TcpStream::connect(&address).expect("connect")).collect();
    let mut one_more = TcpStream::connect(&address).expect("connect");
    one_more.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let mut nothing = [0; 1];
    let closed = match one_more.read(&mut nothing) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    assert!(closed, "it is still there");
    node.cli(&["status"]).expect(0);
    drop(idle);
    node.cli_with_input(&["send"], b"room again\n").expect(0);
}

#[tokio::test]
async fn a_stream_too_many_waits_for_one_to_end() {
    let node = node_with("streams_per_connection = 2");
    let mut client = connect(&node).await;
    let mut streams =
        vec![Stream::bound(&mut client, 1).await, Stream::bound(&mut client, 2).await];
    // The client library holds the call back: the node has told it the limit.
    let third = tokio::time::timeout(Duration::from_millis(500), open(&mut client, 3)).await;
    assert!(third.is_err(), "{third:?}");
    drop(streams.pop());
    let third = tokio::time::timeout(Duration::from_secs(10), open(&mut client, 3)).await;
    assert_eq!(third.expect("there is room").0, Code::Ok);
}

#[tokio::test]
async fn an_idle_stream_ends_with_the_reason() {
    let node = node_with("idle_stream = \"500ms\"");
    let mut client = connect(&node).await;
    let mut stream = Stream::bound(&mut client, 1).await;
    let status = tokio::time::timeout(Duration::from_secs(10), stream.answer()).await;
    let status = status.expect("it ends").expect_err("with a status");
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::DeadlineExceeded, "the stream was idle")
    );
}

#[tokio::test]
async fn a_producer_too_many_is_refused_with_a_delay() {
    let node = node_with("producers_per_shard = 3");
    let mut client = connect(&node).await;
    for producer in 1..=3 {
        assert_eq!(open(&mut client, producer).await, (Code::Ok, 0));
    }
    let (code, retry_after_ms) = open(&mut client, 4).await;
    assert_eq!(code, Code::ResourceExhausted);
    assert!(retry_after_ms > 0, "nobody is idle for an hour yet");
    assert_eq!(open(&mut client, 2).await.0, Code::Ok, "who is known stays");
}

#[tokio::test]
async fn what_is_in_flight_above_a_sessions_limit_waits_and_arrives() {
    let node = node_with("session_in_flight = \"64KiB\"");
    let mut client = connect(&node).await;
    let mut stream = Stream::bound(&mut client, 1).await;
    let body = vec![b'x'; 60 << 10];
    for sequence in 0..50 {
        let mut builder = BlockBuilder::new(ProducerId([1; 16]), 1, sequence);
        builder.push(Some(1), [], &body).expect("it fits");
        stream.send(builder.finish(Codec::None).bytes().clone()).await;
    }
    for _ in 0..50 {
        assert_eq!(stream.answer().await.expect("an answer").code(), Code::Ok);
    }
}

#[test]
fn a_path_that_is_too_long_is_a_dead_letter_and_too_deep_a_mistake() {
    let config = |path: &str| {
        format!(
            r#"
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "${{env:COLLECTOR_DATA_DIR:-/data/x}}/files/default/{path}"
roll_interval = "1s"
"#
        )
    };
    let options =
        NodeOptions { config: Some(config("%{a}/%{b}/%{c}/%{d}/%{e}")), ..NodeOptions::default() };
    let mut node = Node::new(options);
    node.start();
    let long = |length: usize| -> Vec<String> {
        let value = |key| format!("{key}={}", "v".repeat(length));
        ["a", "b", "c", "d", "e"]
            .iter()
            .flat_map(|key| ["--header".to_owned(), value(key)])
            .collect()
    };
    for (length, body) in
        [(250, "too long a path\n"), (256, "too long a component\n"), (20, "well\n")]
    {
        let headers = long(length);
        let mut arguments = vec!["send"];
        arguments.extend(headers.iter().map(String::as_str));
        node.cli_with_input(&arguments, body.as_bytes()).expect(0);
    }
    let audit = node.drained(Duration::from_secs(60));
    assert_eq!(
        (&audit["flows"][0]["in_files"], &audit["flows"][0]["dead_lettered"]),
        (&1.into(), &2.into())
    );
    let letters = node.cli(&["--output", "json", "dead-letters", "list"]).expect(0).json();
    let mut said = String::new();
    for file in letters["files"].as_array().expect("files") {
        let path = file["path"].as_str().expect("a path");
        said.push_str(&node.cli(&["dead-letters", "show", path]).expect(0).stdout);
    }
    assert!(said.contains("1024") && said.contains("255"), "each with its reason: {said}");
    let deep = node.folder().join("deep.toml");
    std::fs::write(&deep, config(&"deeper/".repeat(20))).expect("write");
    let checked = run("collector-server", &["check".as_ref(), deep.as_os_str()]).expect(1);
    assert!(checked.stdout.contains("at most 16"), "{checked:?}");
}

#[test]
fn directories_above_so_many_a_minute_wait() {
    let config = r#"
[flow.default]
shards = 1
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "${env:COLLECTOR_DATA_DIR}/files/default/%{app}"
roll_interval = "1s"
new_directories_per_minute = 60
max_open_files = 8
"#;
    let mut node =
        Node::new(NodeOptions { config: Some(config.to_owned()), ..NodeOptions::default() });
    node.start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut client = connect(&node).await;
        let event = |number: u32| PlainEvent {
            body: "x".into(),
            headers: BTreeMap::from([("app".to_owned(), format!("app{number}"))]),
            ..PlainEvent::default()
        };
        let events = (0..75).map(event).collect();
        client.send(SendRequest { events, ..SendRequest::default() }).await.expect("stored");
    });
    let lines = || Tree::read(&node.files()).lines();
    let first = eventually("as many as may be", Duration::from_secs(30), || {
        let lines = lines();
        if lines >= 50 { Ok(lines) } else { Err(lines) }
    });
    assert!(first < 75, "all at once");
    let audit = node.drained(Duration::from_secs(90));
    assert_eq!(audit["flows"][0]["in_files"], 75);
    assert_eq!(lines(), 75);
}
