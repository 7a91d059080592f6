//! A twin of a node's ingest: takes each block once, in order, and answers badly when told to.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use proto::v1::append_request::Kind;
use proto::v1::ingest_server::{Ingest, IngestServer};
use proto::v1::{
    AppendRequest, AppendResponse, Bind, CloseSessionRequest, CloseSessionResponse, Code,
    Coordinates, Gap, Level, OpenSessionRequest, OpenSessionResponse, SendRequest, SendResponse,
};
use sdk_event::Block;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// A node's ingest. What it has stored outlives its restarts.
pub(crate) struct Twin {
    port: u16,
    shard: Arc<Mutex<Shard>>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shard {
    producers: HashMap<Vec<u8>, Entry>,
    bodies: Vec<String>,
    blocks: u64,
    /// Every so many blocks the connection breaks after the block was stored.
    cut_every: Option<u64>,
    refused: Option<String>,
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u64,
    next: u64,
}

impl Twin {
    pub(crate) fn start() -> Twin {
        let mut twin = Twin { port: 0, shard: Arc::default(), runtime: None };
        twin.restart();
        twin
    }

    /// Ends it and its connections, and starts it at the same port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let address = ("127.0.0.1", self.port);
        // A client that tries while nobody listens may have got this very port as its own, for a moment.
        let bind = || runtime.block_on(TcpListener::bind(address));
        let listener = crate::agent::eventually("the port is free", bind);
        self.port = listener.local_addr().unwrap().port();
        let service =
            IngestServer::new(Service(Arc::clone(&self.shard))).max_decoding_message_size(8 << 20);
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        self.runtime = Some(runtime);
    }

    pub(crate) fn stop(&mut self) {
        drop(self.runtime.take());
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn len(&self) -> usize {
        self.shard().bodies.len()
    }

    /// What it has stored, in its order.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.shard().bodies.clone()
    }

    pub(crate) fn cut_every(&self, blocks: u64) {
        self.shard().cut_every = Some(blocks);
    }

    /// Forgets every producer. What is stored stays.
    pub(crate) fn forget(&self) {
        self.shard().producers.clear();
    }

    /// Refuses a block with this body in it, for good.
    pub(crate) fn refuse(&self, body: &str) {
        self.shard().refused = Some(body.to_owned());
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        self.shard.lock().unwrap()
    }
}

struct Service(Arc<Mutex<Shard>>);

type Answers = Pin<Box<dyn Stream<Item = Result<AppendResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Ingest for Service {
    type AppendStream = Answers;

    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let open = request.into_inner();
        assert_eq!(open.flow, "web");
        Ok(Response::new(self.0.lock().unwrap().open(&open)))
    }

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let mut messages = request.into_inner();
        let shard = Arc::clone(&self.0);
        let (answers, stream) = tokio::sync::mpsc::channel(64);
        #[expect(clippy::disallowed_methods, reason = "it ends with its connection")]
        tokio::spawn(async move {
            let mut session = Session::default();
            while let Some(Ok(AppendRequest { kind: Some(kind) })) = messages.next().await {
                let answer = session.answer(&mut shard.lock().unwrap(), kind);
                let goes_on = answer.is_some();
                let answer = answer.ok_or_else(|| Status::unavailable("cut"));
                if answers.send(answer).await.is_err() || !goes_on {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn send(&self, _: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        Err(Status::unimplemented("agents send blocks"))
    }

    async fn close_session(
        &self,
        _: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionResponse>, Status> {
        let code = Code::Ok.into();
        Ok(Response::new(CloseSessionResponse { code, ..CloseSessionResponse::default() }))
    }
}

impl Shard {
    fn open(&mut self, open: &OpenSessionRequest) -> OpenSessionResponse {
        let known = self.producers.get(open.producer.as_ref()).copied();
        let code = match known {
            Some(entry) if open.generation < entry.generation => Code::Generation,
            Some(entry) if open.generation == entry.generation => Code::Ok,
            _ if open.sent => Code::ProducerExpired,
            _ => Code::Ok,
        };
        let mut answer = OpenSessionResponse {
            code: code.into(),
            level: Level::Local.into(),
            flow_id: 1,
            epoch: 1,
            in_flight_bytes_max: 8 << 20,
            block_bytes_max: 4 << 20,
            ..OpenSessionResponse::default()
        };
        if code == Code::Ok {
            let same = known.filter(|entry| entry.generation == open.generation);
            let next =
                same.map_or(open.lowest_sequence, |entry| entry.next.max(open.lowest_sequence));
            let entry = Entry { generation: open.generation, next };
            self.producers.insert(open.producer.to_vec(), entry);
            answer.expected_sequence = next;
        }
        answer
    }
}

/// One stream.
#[derive(Default)]
struct Session {
    producer: Vec<u8>,
    generation: u64,
    number: u64,
    /// A block was rejected; those behind it are too, until the next bind.
    broken: bool,
}

impl Session {
    /// The answer to a message, or `None` when the connection breaks instead.
    fn answer(&mut self, shard: &mut Shard, kind: Kind) -> Option<AppendResponse> {
        let number = self.number;
        self.number += 1;
        let mut answer = match kind {
            Kind::Bind(bind) => self.bind(shard, bind),
            _ if self.broken => say(Code::BehindRejected),
            Kind::Gap(gap) => self.gap(shard, &gap),
            Kind::Block(bytes) => {
                shard.blocks += 1;
                let answer = self.block(shard, Block::decode(bytes).expect("a block"));
                if shard.cut_every.is_some_and(|every| shard.blocks.is_multiple_of(every)) {
                    return None;
                }
                answer
            }
        };
        self.broken |= answer.code() != Code::Ok;
        answer.number = number;
        Some(answer)
    }

    fn bind(&mut self, shard: &Shard, bind: Bind) -> AppendResponse {
        (self.producer, self.generation) = (bind.producer.to_vec(), bind.generation);
        self.broken = false;
        match shard.producers.get(&self.producer) {
            Some(entry) if entry.generation == bind.generation => say(Code::Ok),
            _ => say(Code::ProducerExpired),
        }
    }

    fn gap(&self, shard: &mut Shard, gap: &Gap) -> AppendResponse {
        let Some(entry) = shard.producers.get_mut(&self.producer) else {
            return say(Code::ProducerExpired);
        };
        if gap.next_sequence > entry.next && gap.first_sequence != entry.next {
            return expecting(entry.next);
        }
        entry.next = entry.next.max(gap.next_sequence);
        say(Code::Ok)
    }

    fn block(&self, shard: &mut Shard, block: Block) -> AppendResponse {
        let header = *block.header();
        assert_eq!(
            (header.producer.0.to_vec(), header.generation),
            (self.producer.clone(), self.generation)
        );
        let Some(entry) = shard.producers.get(&self.producer).copied() else {
            return say(Code::ProducerExpired);
        };
        if entry.generation != self.generation {
            return say(Code::Generation);
        }
        let end = header.end_sequence();
        let duplicate = end <= entry.next;
        if !duplicate && header.first_sequence != entry.next {
            return expecting(entry.next);
        }
        if !duplicate {
            let bodies =
                block.events().map(|event| String::from_utf8_lossy(event.body()).into_owned());
            let bodies: Vec<String> = bodies.collect();
            if bodies.iter().any(|body| Some(body) == shard.refused.as_ref()) {
                return say(Code::Invalid);
            }
            shard.bodies.extend(bodies);
            let entry = Entry { generation: self.generation, next: end };
            shard.producers.insert(self.producer.clone(), entry);
        }
        AppendResponse {
            duplicate,
            level: Level::Local.into(),
            coordinates: Some(Coordinates {
                flow: 1,
                shard: 0,
                epoch: 1,
                first_offset: header.first_sequence,
                count: header.count,
            }),
            ..say(Code::Ok)
        }
    }
}

fn say(code: Code) -> AppendResponse {
    let reason = format!("{code:?}");
    AppendResponse { code: code.into(), reason, ..AppendResponse::default() }
}

fn expecting(expected_sequence: u64) -> AppendResponse {
    AppendResponse { expected_sequence, ..say(Code::Sequence) }
}
