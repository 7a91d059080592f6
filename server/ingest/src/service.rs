//! The gRPC service: each call to the part that answers it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use proto::v1::ingest_server::Ingest;
use proto::v1::{
    AppendRequest, CloseSessionRequest, CloseSessionResponse, Code, OpenSessionRequest,
    OpenSessionResponse, SendRequest, SendResponse,
};
use sdk_event::limits::BLOCK_BYTES_MAX;
use sdk_flow::Tasks;
use sdk_tls::{Caller, Denied};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, error};

use crate::append::{Answers, Append, Context};
use crate::connection::{Charge, Connection};
use crate::levels::agree;
use crate::refusal::Refusal;
use crate::router::OpenSession;
use crate::send::Lanes;
use crate::wire;

/// What tonic calls.
pub(crate) struct Service {
    pub(crate) context: Arc<Context>,
    pub(crate) lanes: Lanes,
    pub(crate) tasks: Tasks,
}

#[tonic::async_trait]
impl Ingest for Service {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let caller = self.caller(&request)?;
        let answer = self.open(caller, request.into_inner()).await.unwrap_or_else(|refusal| {
            self.context.metrics.refuse(refusal.code);
            refusal.into_open_response()
        });
        Ok(Response::new(answer))
    }

    type AppendStream = Answers;

    async fn append(
        &self,
        mut request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let caller = self.caller(&request)?;
        let charge = request.extensions_mut().remove::<Arc<Charge>>();
        let context = Arc::clone(&self.context);
        let stop = self.tasks.shutdown().child_token();
        let (append, answers) = Append::new(context, request.into_inner(), charge, caller, stop);
        self.tasks.start("append stream", |_| async move {
            // One stream's defect is not the node's end.
            if AssertUnwindSafe(append.run()).catch_unwind().await.is_err() {
                error!("an append stream panicked");
            }
        });
        Ok(Response::new(answers))
    }

    async fn send(
        &self,
        mut request: Request<SendRequest>,
    ) -> Result<Response<SendResponse>, Status> {
        let caller = self.caller(&request)?;
        let admitted = self.context.admit(caller.as_ref(), &request.get_ref().flow);
        if let Err(refusal) = admitted {
            self.context.metrics.refuse(refusal.code);
            return Err(refusal.into_status());
        }
        let charge = request.extensions_mut().remove::<Arc<Charge>>();
        self.lanes.send(request.into_inner(), charge).await.map(Response::new)
    }

    async fn close_session(
        &self,
        request: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionResponse>, Status> {
        let caller = self.caller(&request)?;
        let (code, reason) = match self.close(caller, request.into_inner()).await {
            Ok(()) => (Code::Ok, String::new()),
            Err(refusal) => (refusal.code, refusal.reason.into_owned()),
        };
        Ok(Response::new(CloseSessionResponse { code: code.into(), reason }))
    }
}

impl Service {
    /// Who calls. `None` where nobody is told apart, which costs nothing.
    fn caller<T>(&self, request: &Request<T>) -> Result<Option<Caller>, Status> {
        let connection = request.extensions().get::<Arc<Connection>>();
        let certificate = connection.and_then(|connection| connection.certificate());
        let headers = request.metadata().as_ref();
        self.context.gate.caller(headers, certificate).map_err(Denied::into_status)
    }

    async fn open(
        &self,
        caller: Option<Caller>,
        request: OpenSessionRequest,
    ) -> Result<OpenSessionResponse, Refusal> {
        self.context.admit(caller.as_ref(), &request.flow)?;
        let producer = wire::producer(&request.producer)?;
        let asked = wire::to_level(request.ack)?;
        let shard = self.context.router.route(&request.flow, producer)?;
        let lineage = shard.lineage();
        if request.epoch_seen > lineage.epoch {
            return Err(Refusal::unavailable("this node does not know the shard's epoch yet"));
        }
        let level =
            agree(asked, shard.level()).map_err(|reason| Refusal::new(Code::Level, reason))?;
        let session = OpenSession {
            producer,
            generation: request.generation,
            lowest_sequence: request.lowest_sequence,
            sent: request.sent,
        };
        let session = shard.open_session(session).await?;
        debug!(%producer, client = request.client, %lineage, "session opened");
        Ok(OpenSessionResponse {
            code: Code::Ok.into(),
            expected_sequence: session.expected_sequence,
            level: wire::from_level(level).into(),
            flow_id: lineage.flow,
            shard: lineage.shard,
            epoch: lineage.epoch,
            in_flight_bytes_max: self.context.limits.in_flight_bytes_max as u64,
            block_bytes_max: BLOCK_BYTES_MAX as u64,
            ..OpenSessionResponse::default()
        })
    }

    async fn close(
        &self,
        caller: Option<Caller>,
        request: CloseSessionRequest,
    ) -> Result<(), Refusal> {
        self.context.admit(caller.as_ref(), &request.flow)?;
        let producer = wire::producer(&request.producer)?;
        let shard = self.context.router.route(&request.flow, producer)?;
        Ok(shard.close_session(producer, request.generation).await?)
    }
}
