//! Takes connections from a listener, as many as there may be.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::Either;
use sdk_flow::Tasks;
use sdk_tls::{Connection, Protocols, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};

use super::registry::{Place, Registry};
use super::socket::Socket;

/// Pause after the system refused to accept, which is when it has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections behind their handshake that wait for the server.
const ARRIVED_MAX: usize = 64;

/// The connections of `listener`, each behind its handshake if there is `tls`. Ends with `tasks`, and an
/// error ends nothing.
pub(crate) fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    registry: Arc<Registry>,
    first_bytes: Duration,
    tasks: &Tasks,
) -> impl Stream<Item = io::Result<Socket<Connection>>> {
    match tls {
        None => Either::Left(plain(listener, registry, first_bytes)),
        Some(tls) => Either::Right(encrypted(listener, tls, registry, first_bytes, tasks)),
    }
}

fn plain(
    listener: TcpListener,
    registry: Arc<Registry>,
    first_bytes: Duration,
) -> impl Stream<Item = io::Result<Socket<Connection>>> {
    futures::stream::unfold((listener, registry), move |(listener, registry)| async move {
        let (stream, place) = next(&listener, &registry).await;
        let socket = Socket::new(Connection::plain(stream), place, first_bytes);
        Some((Ok(socket), (listener, registry)))
    })
}

/// A task for each handshake, so that a slow one delays nobody. There are as many as connections may be
/// open at most: their places are taken already.
fn encrypted(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    registry: Arc<Registry>,
    first_bytes: Duration,
    tasks: &Tasks,
) -> impl Stream<Item = io::Result<Socket<Connection>>> {
    let (arrived, stream) = mpsc::channel(ARRIVED_MAX);
    let handshakes = tasks.clone();
    tasks.start("ingest acceptor", move |stop| async move {
        while let Some((stream, place)) = stop.run_until_cancelled(next(&listener, &registry)).await
        {
            let (tls, arrived) = (Arc::clone(&tls), arrived.clone());
            handshakes.start("TLS handshake", move |stop| async move {
                let peer = place.connection.peer();
                match stop.run_until_cancelled(tls.accept(stream, Protocols::Http2)).await {
                    Some(Ok(connection)) => {
                        place.connection.shown(connection.peer());
                        let socket = Socket::new(connection, place, first_bytes);
                        drop(arrived.send(Ok(socket)).await);
                    }
                    Some(Err(error)) => debug!(%peer, %error, "connection refused"),
                    None => {}
                }
            });
        }
    });
    ReceiverStream::new(stream)
}

async fn next(listener: &TcpListener, registry: &Arc<Registry>) -> (TcpStream, Place) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "no connection can be accepted, will retry");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One too many is closed at once: a client that hears so can go elsewhere, one that is
        // left in the queue cannot.
        let Some(place) = registry.enter(peer) else {
            debug!(%peer, "connection refused, there are as many as may be");
            continue;
        };
        // Answers are small and waited for.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "connection lost before it was used");
            continue;
        }
        return (stream, place);
    }
}
