//! Serves the admin port.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use sdk_flow::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    tasks: Tasks,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit.expect("the semaphore is never closed"), listener.accept().await)
        };
        match stop.run_until_cancelled(accepted).await {
            None => return,
            Some((permit, Ok((stream, _)))) => {
                let pages = pages.clone();
                tasks.start("admin connection", |stop| connection(stream, pages, permit, stop));
            }
            Some((_, Err(error))) => {
                warn!(%error, "cannot accept a connection");
                stop.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    pages: Router,
    _permit: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    let ended = stop.run_until_cancelled(timeout(CONNECTION_TIMEOUT, served)).await;
    if let Some(Ok(Err(error))) = ended {
        debug!(error, "a connection ended badly");
    }
}
