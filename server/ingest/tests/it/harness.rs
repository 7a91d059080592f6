//! A server, and a client that speaks the protocol by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::v1::append_request::Kind;
use proto::v1::ingest_client::IngestClient;
use proto::v1::{
    AppendRequest, AppendResponse, Bind, Code, Gap, Level, OpenSessionRequest, OpenSessionResponse,
};
use sdk_event::{Block, BlockBuilder, Codec, ProducerId};
use server_ingest::limits::Limits;
use server_ingest::{Health, Metrics, Options, Router, ServeError, serve};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::twin::{FLOW, Twin, TwinRouter};

/// Long enough that only a hang takes it.
const PATIENCE: Duration = Duration::from_secs(20);

pub const PRODUCER: ProducerId = ProducerId([9; 16]);

pub struct Node {
    pub address: SocketAddr,
    pub twin: Arc<Twin>,
    pub metrics: Metrics,
    pub health: Health,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Node {
    pub async fn start(level: sdk_event::Level) -> Node {
        Node::with(level, Limits::default()).await
    }

    pub async fn with(level: sdk_event::Level, limits: Limits) -> Node {
        let twin = Twin::new(level);
        let router = Arc::new(TwinRouter(Arc::clone(&twin)));
        Node::over(router, twin, limits).await
    }

    /// A server in front of `router`; `twin` may have nothing to do with it.
    pub async fn over(router: Arc<dyn Router>, twin: Arc<Twin>, limits: Limits) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let health = Health::new().await;
        let metrics = Metrics::default();
        let options = Options {
            limits,
            metrics: metrics.clone(),
            grace: Duration::from_secs(5),
            ..Options::new(health.clone())
        };
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the test waits for it in `stop`")]
        let serving = tokio::spawn(serve(listener, router, options, stop.clone()));
        Node { address, twin, metrics, health, stop, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url()).expect("url").connect().await.expect("connect")
    }

    pub async fn client(&self) -> IngestClient<Channel> {
        IngestClient::new(self.channel().await)
    }

    /// A stream of [`PRODUCER`] that is open and bound.
    pub async fn stream(&self, ack: Level) -> Stream {
        let mut client = self.client().await;
        assert_eq!(open(&mut client, ack).await.code(), Code::Ok);
        let mut stream = Stream::open(&mut client).await;
        stream.bind(ack).await;
        let answer = stream.answer().await;
        assert_eq!((answer.number, answer.code()), (0, Code::Ok), "{}", answer.reason);
        stream
    }

    pub fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    pub async fn stop(self) {
        self.stop.cancel();
        in_time(self.serving).await.expect("no panic").expect("served");
    }
}

pub async fn open(client: &mut IngestClient<Channel>, ack: Level) -> OpenSessionResponse {
    let request = OpenSessionRequest {
        flow: FLOW.to_owned(),
        producer: PRODUCER.0.to_vec().into(),
        generation: 1,
        ack: ack.into(),
        ..OpenSessionRequest::default()
    };
    client.open_session(request).await.expect("answered").into_inner()
}

/// One `Append` stream, message by message.
pub struct Stream {
    requests: mpsc::Sender<AppendRequest>,
    answers: Streaming<AppendResponse>,
}

impl Stream {
    pub async fn open(client: &mut IngestClient<Channel>) -> Stream {
        let (requests, receiver) = mpsc::channel(4);
        let answers = in_time(client.append(ReceiverStream::new(receiver))).await;
        Stream { requests, answers: answers.expect("a stream").into_inner() }
    }

    pub async fn send(&self, kind: Kind) {
        let request = AppendRequest { kind: Some(kind) };
        in_time(self.requests.send(request)).await.expect("the stream is open");
    }

    pub async fn bind(&self, ack: Level) {
        self.send(Kind::Bind(bind(ack))).await;
    }

    pub async fn block(&self, block: &Block) {
        self.send(Kind::Block(block.bytes().clone())).await;
    }

    pub async fn gap(&self, first_sequence: u64, next_sequence: u64) {
        self.send(Kind::Gap(Gap { first_sequence, next_sequence })).await;
    }

    pub async fn answer(&mut self) -> AppendResponse {
        self.end_or_answer().await.expect("an answer").expect("an answer")
    }

    /// The next answer as `number code`.
    pub async fn line(&mut self) -> String {
        let answer = self.answer().await;
        let code = answer.code().as_str_name().trim_start_matches("CODE_").to_lowercase();
        format!("{} {code}", answer.number)
    }

    pub async fn end_or_answer(&mut self) -> Result<Option<AppendResponse>, Status> {
        in_time(self.answers.message()).await
    }

    /// Half-closes and expects that nothing more comes.
    pub async fn finish(self) {
        let Stream { requests, mut answers } = self;
        drop(requests);
        assert_eq!(in_time(answers.message()).await.expect("a clean end"), None);
    }

    /// Keeps the stream open and reads no answer.
    pub fn into_parts(self) -> (mpsc::Sender<AppendRequest>, Streaming<AppendResponse>) {
        (self.requests, self.answers)
    }
}

pub fn bind(ack: Level) -> Bind {
    Bind {
        flow: FLOW.to_owned(),
        producer: PRODUCER.0.to_vec().into(),
        generation: 1,
        ack: ack.into(),
        epoch_seen: 0,
    }
}

/// A block of `bodies`, from `first` on.
pub fn block<'a>(first: u64, bodies: impl IntoIterator<Item = &'a str>) -> Block {
    let mut builder = BlockBuilder::new(PRODUCER, 1, first);
    for body in bodies {
        builder.push(None, [], body.as_bytes()).expect("fits");
    }
    builder.finish(Codec::None)
}

/// A block of one event with so many bytes.
pub fn large_block(first: u64, bytes: usize) -> Block {
    let mut builder = BlockBuilder::new(PRODUCER, 1, first);
    builder.push(None, [], &vec![b'x'; bytes]).expect("fits");
    builder.finish(Codec::None)
}

pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Waits until `condition` holds, looking every few milliseconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
