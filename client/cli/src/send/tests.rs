//! Lines to a node that stands in this process.

use super::{Report, Sender, reachable, send_lines};
use crate::arguments::{Arguments, Command, SendArguments};
use bytes::Bytes;
use clap::Parser as _;
use proto::v1::append_request::Kind;
use proto::v1::ingest_server::{Ingest, IngestServer};
use proto::v1::{
    AppendRequest, AppendResponse, CloseSessionRequest, CloseSessionResponse, Code, Coordinates,
    Level, Node, OpenSessionRequest, OpenSessionResponse, SendRequest, SendResponse,
};
use sdk_event::{Block, Event};
use sdk_producer::Client;
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Keeps what it is sent, or refuses it.
#[derive(Clone, Default)]
struct Fake {
    refuses: Option<Code>,
    kept: Arc<Mutex<Vec<Event>>>,
}

impl Fake {
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(IngestServer::new(self.clone()).max_decoding_message_size(8 << 20));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        format!("http://{at}")
    }

    fn answer(&self, number: u64, block: Bytes) -> AppendResponse {
        let refusal = self.refuses.map(|code| AppendResponse {
            number,
            code: code.into(),
            reason: "not today".to_owned(),
            ..AppendResponse::default()
        });
        refusal.unwrap_or_else(|| {
            let block = Block::decode(block).unwrap();
            let count = block.header().count;
            self.kept.lock().unwrap().extend(block.events().map(|event| event.to_event()));
            AppendResponse {
                number,
                code: Code::Ok.into(),
                level: Level::Local.into(),
                coordinates: Some(Coordinates { count, ..Coordinates::default() }),
                ..AppendResponse::default()
            }
        })
    }
}

#[tonic::async_trait]
impl Ingest for Fake {
    async fn open_session(
        &self,
        _: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let code = Code::Ok.into();
        Ok(Response::new(OpenSessionResponse { code, epoch: 1, ..OpenSessionResponse::default() }))
    }

    type AppendStream = ReceiverStream<Result<AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let (answers, receiver) = mpsc::channel(64);
        let (mut messages, fake) = (request.into_inner(), self.clone());
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok(Some(message)) = messages.message().await {
                let answer = match message.kind {
                    Some(Kind::Block(block)) => fake.answer(number, block),
                    _ => AppendResponse { number, code: Code::Ok.into(), ..Default::default() },
                };
                number += 1;
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn send(&self, _: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn close_session(
        &self,
        _: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionResponse>, Status> {
        Ok(Response::new(CloseSessionResponse::default()))
    }
}

fn arguments(more: &[&str]) -> SendArguments {
    let line = ["collector-cli", "send"].iter().chain(more);
    match Arguments::try_parse_from(line).unwrap().command {
        Command::Send(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

async fn send(endpoint: String, more: &[&str], input: Vec<u8>) -> Report {
    let arguments = arguments(more);
    let sender =
        Sender::start(&[endpoint], Client::default(), &arguments, &arguments.headers).unwrap();
    send_lines(Cursor::new(input), sender).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_arrives_in_its_place_with_the_time_it_was_read() {
    let fake = Fake::default();
    let lines: Vec<String> = (1..=100_000).map(|number| number.to_string()).collect();
    let input = (lines.join("\n") + "\n").into_bytes();
    let report = send(fake.serve().await, &["--header", "app=shop"], input).await;
    let expected = Report {
        acked_events: 100_000,
        acked_level: Some("local".to_owned()),
        ..Report::default()
    };
    assert_eq!(report, expected);
    let kept = fake.kept.lock().unwrap();
    assert!(kept.iter().map(|event| &event.body[..]).eq(lines.iter().map(String::as_bytes)));
    assert!(kept.iter().all(|event| event.timestamp_ms > Some(1_600_000_000_000)));
    assert!(kept.iter().all(|event| event.headers.get("app") == Some("shop")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_long_fails_alone_and_is_named() {
    let fake = Fake::default();
    let long = vec![b'x'; (1 << 20) + 1];
    let input = [b"one\n", long.as_slice(), b"\nthree\n"].concat();
    let report = send(fake.serve().await, &[], input).await;
    assert_eq!((report.acked_events, report.failed_events, report.unknown_events), (2, 1, 0));
    assert_eq!(report.first_failed, Some(2));
    let error = report.error.unwrap();
    assert!(error.starts_with("line 2: ") && error.contains("1048577"), "{error}");
    assert_eq!(fake.kept.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_until_the_timeout_is_not_acknowledged_and_no_more_is_sent() {
    let fake = Fake { refuses: Some(Code::ResourceExhausted), ..Fake::default() };
    // More than the window holds: without giving up this would take many timeouts.
    let input = vec![b'\n'; 4 << 20];
    let report = send(fake.serve().await, &["--timeout", "1s"], input).await;
    assert_eq!((report.acked_events, report.acked_level.as_deref()), (0, None));
    assert!(report.failed_events > 0 && report.failed_events < 1 << 20, "{report:?}");
    assert_eq!((report.first_failed, report.unreachable), (Some(1), false));
    let error = report.error.unwrap();
    assert!(error.contains("not today"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let report = send(nobody, &["--timeout", "300ms"], b"x\n".to_vec()).await;
    assert_eq!((report.failed_events, report.unknown_events), (1, 0), "{report:?}");
    assert!(report.unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_sent_says_nothing_about_the_nodes() {
    let fake = Fake::default();
    let report = send(fake.serve().await, &[], vec![b'x'; (1 << 20) + 1]).await;
    assert_eq!((report.acked_events, report.failed_events, report.unknown_events), (0, 1, 0));
    assert!(!report.unreachable, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_is_nothing_out_and_well() {
    let fake = Fake::default();
    assert_eq!(send(fake.serve().await, &[], Vec::new()).await, Report::default());
}

#[test]
fn nodes_that_are_up_are_asked_under_the_name_that_we_know() {
    let node = |state: &str, ingest: &str| Node {
        state: state.to_owned(),
        ingest: ingest.to_owned(),
        ..Node::default()
    };
    let nodes = [
        node("up", "10.0.0.1:7400"),
        node("down", "10.0.0.2:7400"),
        node("up", ""),
        node("up", "0.0.0.0:7500"),
        node("up", "[::]:7600"),
        node("up", "http://node:7700"),
    ];
    let expected =
        ["http://10.0.0.1:7400", "http://front:7500", "http://front:7600", "http://node:7700"];
    assert_eq!(reachable(&nodes, "http://front:7402/"), expected);
    assert_eq!(reachable(&nodes[3..4], "http://[::1]:7402"), ["http://[::1]:7500"]);
}
