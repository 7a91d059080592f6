//! A run against servers in this process, by its report and its ledger.

use super::{
    BlockStream, CancellationToken, Drive, Duration, Generator, Instant, Outcome, Schedule, Tally,
    Tasks, measure, options, random_id,
};
use crate::arguments::{RateArgument, RunArguments};
use crate::ledger::{Bitmap, acknowledged};
use crate::{Usage, raw};
use proto::v1::ingest_server::{Ingest, IngestServer};
use proto::v1::{
    AppendRequest, AppendResponse, CloseSessionRequest, CloseSessionResponse, Code,
    OpenSessionRequest, OpenSessionResponse, SendRequest, SendResponse,
};
use sdk_producer::Client;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

pub(super) fn arguments() -> RunArguments {
    RunArguments {
        seconds: 1,
        rate: RateArgument::PerSecond(20_000),
        body_bytes: 100,
        batch_events: 100,
        ack: None,
        flow: String::new(),
        producers: 1,
        in_flight: 8,
        ledger: None,
        timeout: 30,
    }
}

async fn run(at: SocketAddr, arguments: &RunArguments) -> Outcome {
    measure(&[format!("http://{at}")], Client::default(), arguments).await.expect("a run")
}

fn acked(ledger: &Path) -> Vec<Bitmap> {
    acknowledged(ledger).expect("a ledger").into_values().collect()
}

async fn raw_server(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("its address");
    let log = raw::RawLog::create(folder, 16 << 20).expect("a file");
    tokio::spawn(raw::serve(listener, log));
    at
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_is_acknowledged_and_stands_in_the_ledger() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = raw_server(folder.path()).await;
    let ledger = folder.path().join("ledger");
    let arguments = RunArguments { producers: 2, ledger: Some(ledger.clone()), ..arguments() };
    let Outcome { report, stopped } = run(at, &arguments).await;
    assert_eq!(
        (report.acked_events, report.rejected, report.unknown),
        (20_000, 0, 0),
        "{report:?}"
    );
    assert_eq!(stopped, None);
    assert!((report.offered_per_second - 20_000.0).abs() < 1.0, "{report:?}");
    assert!(report.ack_ms.max > 0.0 && report.ack_ms.p50 <= report.ack_ms.max, "{report:?}");
    for producer in acked(&ledger) {
        assert!(producer.iter().eq(0..10_000), "each producer numbers its own without gaps");
    }
    let again = measure(&[format!("http://{at}")], Client::default(), &arguments).await;
    assert!(again.is_err(), "a ledger is never written over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_waits_for_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = raw_server(folder.path()).await;
    let arguments = RunArguments { rate: RateArgument::Max, in_flight: 2, ..arguments() };
    let Outcome { report, .. } = run(at, &arguments).await;
    assert!(report.acked_events > 0 && report.unknown == 0, "{report:?}");
    assert_eq!(report.acked_events % 100, 0, "whole blocks");
}

/// Passes connections on, and cuts each after so many bytes.
async fn cutting(to: SocketAddr, bytes: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(to).await else { return };
                let (client_in, mut client_out) = client.into_split();
                let (mut server_in, mut server_out) = server.into_split();
                let mut limited = tokio::io::AsyncReadExt::take(client_in, bytes);
                tokio::select! {
                    _ = tokio::io::copy(&mut limited, &mut server_out) => (),
                    _ = tokio::io::copy(&mut server_in, &mut client_out) => (),
                }
            });
        }
    });
    at
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_leave_nothing_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = cutting(raw_server(folder.path()).await, 500_000).await;
    let ledger = folder.path().join("ledger");
    let arguments = RunArguments { ledger: Some(ledger.clone()), ..arguments() };
    let Outcome { report, .. } = run(at, &arguments).await;
    assert_eq!(
        (report.acked_events, report.rejected, report.unknown),
        (20_000, 0, 0),
        "{report:?}"
    );
    assert!(acked(&ledger)[0].iter().eq(0..20_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_run_that_is_interrupted_sends_what_was_due_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = raw_server(folder.path()).await;
    let (arguments, id, tasks) = (arguments(), random_id(), Tasks::new());
    let endpoints = [format!("http://{at}").parse().expect("an endpoint")];
    let options = options(id, &endpoints, &Client::default(), &arguments);
    let begun = Instant::now() - Duration::from_millis(500);
    let drive = Drive {
        generator: Generator::new(id, &arguments).expect("blocks of this shape"),
        schedule: Schedule::new(begun, 0, &arguments),
        stream: BlockStream::open(options, &tasks),
        in_flight_max: 8,
        timeout: Duration::from_secs(30),
        tally: Tally::new(id, begun, None).expect("a tally"),
    };
    let interrupted = CancellationToken::new();
    interrupted.cancel();
    let tally = drive.run(interrupted).await.expect("a run");
    assert!((10_000..20_000).contains(&tally.acked), "{}", tally.acked);
}

/// Answers every block alike, or not at all.
#[derive(Clone, Copy)]
struct Stubborn {
    session: Code,
    block: Option<Code>,
}

impl Stubborn {
    async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("its address");
        let server = tonic::transport::Server::builder().add_service(IngestServer::new(self));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        at
    }
}

#[tonic::async_trait]
impl Ingest for Stubborn {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        Ok(Response::new(OpenSessionResponse {
            code: self.session.into(),
            reason: "stubborn".to_owned(),
            expected_sequence: request.into_inner().lowest_sequence,
            epoch: 1,
            ..OpenSessionResponse::default()
        }))
    }

    type AppendStream = ReceiverStream<Result<AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let (answers, receiver) = mpsc::channel(64);
        let (mut messages, block) = (request.into_inner(), self.block);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok(Some(message)) = messages.message().await {
                let is_bind =
                    matches!(message.kind, Some(proto::v1::append_request::Kind::Bind(_)));
                let code = if is_bind { Some(Code::Ok) } else { block };
                let answer = code.map(|code| AppendResponse {
                    number,
                    code: code.into(),
                    retry_after_ms: 10,
                    ..AppendResponse::default()
                });
                number += 1;
                if let Some(answer) = answer
                    && answers.send(Ok(answer)).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn send(&self, _: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        Err(Status::unimplemented("stubborn"))
    }

    async fn close_session(
        &self,
        _: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionResponse>, Status> {
        Ok(Response::new(CloseSessionResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_until_its_time_is_over_is_rejected() {
    let at = Stubborn { session: Code::Ok, block: Some(Code::ResourceExhausted) }.serve().await;
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger");
    let arguments = RunArguments { timeout: 1, ledger: Some(ledger.clone()), ..arguments() };
    let outcome = run(at, &arguments).await;
    let report = &outcome.report;
    assert_eq!(report.acked_events, 0, "{report:?}");
    assert_eq!(report.rejected + report.unknown, 20_000, "every event has an end: {report:?}");
    // Only what was on its way just then may be stored, for all that is known.
    assert!(report.unknown <= 800, "{report:?}");
    assert!(!outcome.is_well());
    let text = std::fs::read_to_string(ledger).expect("a ledger");
    assert!(!text.contains("acked") && text.contains("rejected"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_answered_is_unknown_if_it_was_sent() {
    let at = Stubborn { session: Code::Ok, block: None }.serve().await;
    let arguments = RunArguments { timeout: 1, in_flight: 4, ..arguments() };
    let outcome = run(at, &arguments).await;
    let report = &outcome.report;
    assert_eq!(report.acked_events, 0, "{report:?}");
    assert!(report.unknown >= 400, "{report:?}");
    assert_eq!(report.unknown + report.rejected, 20_000, "every event has an end: {report:?}");
    assert!(!outcome.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_refused_for_what_it_is_stops() {
    let at = Stubborn { session: Code::Flow, block: None }.serve().await;
    let arguments = RunArguments { seconds: 600, ..arguments() };
    let outcome = run(at, &arguments).await;
    assert!(
        outcome.stopped.as_ref().is_some_and(|why| why.contains("stubborn")),
        "{:?}",
        outcome.stopped
    );
    assert!(!outcome.is_well());
}

#[tokio::test]
async fn nobody_there_and_nonsense_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let error =
        measure(&[nobody], Client::default(), &arguments()).await.err().expect("nobody is there");
    assert!(error.is::<crate::Unreachable>(), "{error:#}");
    let error = measure(&["ftp://x".to_owned()], Client::default(), &arguments())
        .await
        .err()
        .expect("nonsense");
    assert!(error.is::<Usage>(), "{error:#}");
}
