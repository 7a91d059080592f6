//! The connections of a listener, each behind its handshake.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use sdk_flow::Tasks;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::certificate::Peer;
use crate::connection::Connection;
use crate::server::{Protocols, ServerTls};

/// Pause after the system refused to accept, which is when it has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Handshakes at once; further connections wait in the listener's queue.
const HANDSHAKES_MAX: usize = 1_024;
/// Connections that wait for the server.
const ARRIVED_MAX: usize = 64;

/// A connection whose requests know who sent them: among their extensions is an `Option<Arc<Peer>>`.
#[derive(Debug)]
pub struct Arrived(Connection);

/// The connections of `listener`, until `tasks` stop. One that fails ends nothing.
pub fn incoming(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    protocols: Protocols,
    tasks: &Tasks,
) -> impl Stream<Item = io::Result<Arrived>> + Send + 'static {
    let (arrived, stream) = mpsc::channel(ARRIVED_MAX);
    let of_handshakes = tasks.clone();
    tasks.start("acceptor", move |stop| async move {
        let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while let Some(Some((stream, peer))) = stop.run_until_cancelled(accept(&listener)).await {
            let Some(tls) = tls.clone() else {
                if arrived.send(Ok(Arrived(Connection::plain(stream)))).await.is_err() {
                    return;
                }
                continue;
            };
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let arrived = arrived.clone();
            of_handshakes.start("TLS handshake", move |stop: CancellationToken| async move {
                let _permit = permit;
                match stop.run_until_cancelled(tls.accept(stream, protocols)).await {
                    Some(Ok(connection)) => drop(arrived.send(Ok(Arrived(connection))).await),
                    Some(Err(error)) => debug!(%peer, %error, "connection refused"),
                    None => {}
                }
            });
        }
    });
    ReceiverStream::new(stream)
}

/// The next connection. `None` if this one came to nothing at once.
async fn accept(listener: &TcpListener) -> Option<(tokio::net::TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and waited for.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%peer, %error, "connection lost before it was used");
                    continue;
                }
                return Some((stream, peer));
            }
            Err(error) => {
                warn!(%error, "no connection can be accepted, will retry");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Connected for Arrived {
    type ConnectInfo = Option<Arc<Peer>>;

    fn connect_info(&self) -> Option<Arc<Peer>> {
        self.0.peer().cloned()
    }
}

impl AsyncRead for Arrived {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Arrived {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
