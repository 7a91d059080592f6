//! Serving: the listener, the HTTP/2 settings, the end.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::ingest_server::IngestServer;
use sdk_config::Port;
use sdk_flow::{BoxError, Entropy, SystemEntropy, Tasks};
use sdk_tls::Gate;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use crate::append::Context;
use crate::connection::{Registry, accept};
use crate::health::Health;
use crate::layers::layered;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX, Limits, MESSAGE_BYTES_MAX,
    PENDING_RESETS_MAX, STREAM_WINDOW_BYTES,
};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::router::Router;
use crate::send::Lanes;
use crate::service::Service;

/// How long tasks may take after every connection is gone.
const TASKS_GRACE: Duration = Duration::from_secs(5);

/// What a node may choose.
pub struct Options {
    /// What may grow how far.
    pub limits: Limits,
    /// Where ids of the node's own producers come from.
    pub entropy: Arc<dyn Entropy>,
    /// What is counted.
    pub metrics: Metrics,
    /// What the health service answers.
    pub health: Health,
    /// Who may connect, and what they may do. Its files are watched by whoever made it.
    pub gate: Gate,
    /// How long a stop waits for what is under way.
    pub grace: Duration,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new(health: Health) -> Options {
        Options {
            limits: Limits::default(),
            entropy: Arc::new(SystemEntropy),
            metrics: Metrics::default(),
            health,
            gate: Gate::default(),
            grace: Duration::from_secs(30),
        }
    }
}

/// Why serving ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors of the protocol are broken.
    #[error("reflection cannot be served")]
    Reflection(#[source] BoxError),
    /// The server did not run.
    #[error("gRPC cannot be served")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves ingest, health and reflection on `listener` until `stop`.
///
/// Then nothing new is taken, what is in flight is answered, and after [`Options::grace`] what is
/// left is cut. Returns when every connection is closed. Whether the node serves is for
/// [`Options::health`] to say; this does not change it.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    router: Arc<dyn Router>,
    options: Options,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let Options { limits, entropy, metrics, health, gate, grace } = options;
    let tasks = Tasks::new();
    let memory = Memory::new(limits.memory_bytes_max, metrics.memory_bytes.clone());
    let registry = Registry::new(limits.connections_max, memory, metrics.clone());
    let guard = Arc::clone(&registry).guard(limits.memory_stuck, tasks.shutdown().child_token());
    tasks.start("memory guard", |_| guard);

    let lanes = Lanes::new(Arc::clone(&router), entropy, tasks.clone(), metrics.clone());
    let tls = gate.tls(Port::Ingest);
    let context = Arc::new(Context { router, limits: limits.clone(), metrics, gate });
    let ingest = IngestServer::new(Service { context, lanes, tasks: tasks.clone() })
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let health = HealthServer::new(HealthService::from_health_reporter(health.reporter()));
    let routes = with_reflection(Routes::new(ingest).add_service(health))?;

    let incoming = accept(listener, tls, Arc::clone(&registry), limits.first_bytes, &tasks);
    let signal = {
        let (stop, tasks) = (stop.clone(), tasks.clone());
        async move {
            stop.cancelled().await;
            // Streams answer what they have and end, which lets their connections close.
            tasks.shutdown().cancel();
        }
    };
    let serving =
        http2(&limits).serve_with_incoming_shutdown(layered(routes, &limits), incoming, signal);
    let cutting = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
        registry.cut_all();
        std::future::pending().await
    };
    let result = tokio::select! {
        result = serving => result.map_err(ServeError::Transport),
        () = cutting => Ok(()),
    };
    tasks.stop(TASKS_GRACE).await;
    result
}

/// The transport, set for throughput and against hostile peers.
fn http2(limits: &Limits) -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
}

/// Both versions: most tools still ask for the older one.
fn with_reflection(routes: Routes) -> Result<Routes, ServeError> {
    let builder = |reflection: &str| {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The descriptors also have services that other ports serve.
            .with_service_name("collector.v1.Ingest")
            .with_service_name("grpc.health.v1.Health")
            .with_service_name(reflection)
    };
    let wrong = |error: tonic_reflection::server::Error| ServeError::Reflection(error.into());
    let v1 = builder("grpc.reflection.v1.ServerReflection").build_v1().map_err(wrong)?;
    let v1alpha =
        builder("grpc.reflection.v1alpha.ServerReflection").build_v1alpha().map_err(wrong)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}
