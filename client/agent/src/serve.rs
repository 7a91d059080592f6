//! Serves the admin port.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use sdk_config::{AdminAccess, Port};
use sdk_flow::Tasks;
use sdk_tls::{Connection, Denied, Gate, Peer, Protocols};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at once; more wait until one ends.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever it does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// Before the next try when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves `pages` until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    pages: Router,
    gate: Gate,
    tasks: Tasks,
    stop: CancellationToken,
) {
    let pages = pages.layer(from_fn_with_state(gate.clone(), guard));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit.expect("the semaphore is never closed"), listener.accept().await)
        };
        match stop.run_until_cancelled(accepted).await {
            None => return,
            Some((permit, Ok((stream, _)))) => {
                let (pages, gate) = (pages.clone(), gate.clone());
                tasks.start("admin connection", |stop| async move {
                    let _permit = permit;
                    stop.run_until_cancelled(connection(stream, pages, gate)).await;
                });
            }
            Some((_, Err(error))) => {
                warn!(%error, "cannot accept a connection");
                stop.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, pages: Router, gate: Gate) {
    let stream = match gate.tls(Port::Admin) {
        None => Connection::plain(stream),
        Some(tls) => match tls.accept(stream, Protocols::Http1).await {
            Ok(stream) => stream,
            Err(error) => return debug!(%error, "connection refused"),
        },
    };
    let pages = pages.layer(axum::Extension(stream.peer().cloned()));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, served).await {
        debug!(error, "a connection ended badly");
    }
}

/// Lets a request through, or says why not: `/health` is for everybody.
async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Option<Arc<Peer>>>().cloned().flatten();
    let needed = match request.uri().path().starts_with("/health/") {
        true => AdminAccess::None,
        false => AdminAccess::View,
    };
    match gate.admit(request.headers(), peer.as_deref(), needed) {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            let said = (denied.http_status(), format!("{denied}\n"));
            match denied {
                Denied::Unknown(_) => {
                    ([(header::WWW_AUTHENTICATE, "Bearer")], said).into_response()
                }
                Denied::Forbidden(_) => said.into_response(),
            }
        }
    }
}
