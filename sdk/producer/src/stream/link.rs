//! A connection to one node, with the session open and the stream bound.

use std::time::Duration;

use proto::v1::append_request::Kind;
use proto::v1::ingest_client::IngestClient;
use proto::v1::{
    AppendRequest, AppendResponse, Bind, CloseSessionRequest, Code, OpenSessionRequest,
    OpenSessionResponse,
};
use sdk_event::Level;
use sdk_tls::Client;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::debug;

use super::{Identity, wire};
use crate::endpoint::Endpoint;

/// How long a node may take for a call that is not about events.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages between the driver and HTTP/2. What waits for the network waits in the window.
const REQUESTS_QUEUED_MAX: usize = 4;

/// An answer may have a reason in it, never more.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a link needs to know to come about.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) flow: String,
    pub(super) identity: Identity,
    pub(super) lowest_sequence: u64,
    pub(super) sent: bool,
    pub(super) ack: Option<Level>,
    pub(super) epoch_seen: u64,
    pub(super) client: String,
}

/// An open link.
pub(super) struct Link {
    pub(super) requests: mpsc::Sender<AppendRequest>,
    pub(super) answers: Streaming<AppendResponse>,
    client: IngestClient<sdk_tls::Link>,
    hello: Hello,
}

/// Why there is no link.
#[derive(Debug)]
pub(super) enum LinkError {
    /// The node cannot be reached, or does not answer.
    Unreachable(String),
    /// The node does not want to.
    Refused(Box<OpenSessionResponse>),
}

/// Connects, opens the session, opens and binds the stream.
pub(super) async fn connect(
    endpoint: Endpoint,
    security: Client,
    hello: Hello,
) -> Result<(Link, OpenSessionResponse), LinkError> {
    let link = security.connect(endpoint.transport()).await.map_err(LinkError::Unreachable)?;
    let mut client = IngestClient::new(link.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let request = OpenSessionRequest {
        flow: hello.flow.clone(),
        producer: hello.identity.producer.0.to_vec().into(),
        generation: hello.identity.generation,
        lowest_sequence: hello.lowest_sequence,
        sent: hello.sent,
        ack: wire::from_level(hello.ack).into(),
        epoch_seen: hello.epoch_seen,
        client: hello.client.clone(),
    };
    let session = in_time(&link, client.open_session(request)).await?;
    if session.code() != Code::Ok {
        return Err(LinkError::Refused(Box::new(session)));
    }
    let hello = Hello { epoch_seen: session.epoch, ..hello };
    let (requests, queue) = mpsc::channel(REQUESTS_QUEUED_MAX);
    let bind = AppendRequest { kind: Some(Kind::Bind(hello.bind())) };
    requests.try_send(bind).expect("the queue is empty");
    let answers = in_time(&link, client.append(ReceiverStream::new(queue))).await?;
    Ok((Link { requests, answers, client, hello }, session))
}

impl Hello {
    fn bind(&self) -> Bind {
        Bind {
            flow: self.flow.clone(),
            producer: self.identity.producer.0.to_vec().into(),
            generation: self.identity.generation,
            ack: wire::from_level(self.ack).into(),
            epoch_seen: self.epoch_seen,
        }
    }
}

impl Link {
    /// What binds the stream again after a refusal.
    pub(super) fn bind(&self) -> AppendRequest {
        AppendRequest { kind: Some(Kind::Bind(self.hello.bind())) }
    }

    /// Says that the producer is done. Whether that is heard changes nothing for it.
    pub(super) async fn close(self) {
        close(self.client, &self.hello).await;
    }
}

/// The same without a link.
pub(super) async fn goodbye(endpoint: Endpoint, security: Client, hello: Hello) {
    match security.connect(endpoint.transport()).await {
        Ok(link) => close(IngestClient::new(link), &hello).await,
        Err(error) => debug!(error, "no node to say goodbye to"),
    }
}

async fn close(mut client: IngestClient<sdk_tls::Link>, hello: &Hello) {
    let request = CloseSessionRequest {
        flow: hello.flow.clone(),
        producer: hello.identity.producer.0.to_vec().into(),
        generation: hello.identity.generation,
    };
    let closed = timeout(CALL_TIMEOUT, client.close_session(request)).await;
    if !matches!(closed, Ok(Ok(_))) {
        debug!("the node did not hear that the producer is done");
    }
}

async fn in_time<T>(
    link: &sdk_tls::Link,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, LinkError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => match status.code() {
            tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => {
                let (code, reason) = (Code::Denied.into(), status.message().to_owned());
                let denied = OpenSessionResponse { code, reason, ..OpenSessionResponse::default() };
                Err(LinkError::Refused(Box::new(denied)))
            }
            _ => Err(LinkError::Unreachable(link.reason(&status))),
        },
        Err(_) => Err(LinkError::Unreachable("the node does not answer".to_owned())),
    }
}
