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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::certificate::Peer;
use crate::connection::Connection;
use crate::server::{Protocols, ServerTls};

/// Pause after the system refused to accept, which is when it has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait for the server.
const ARRIVED_MAX: usize = 64;
/// Who connects and says nothing for so long is not waited for.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(10);

/// A connection whose requests know who sent them: among their extensions is an `Option<Arc<Peer>>`.
#[derive(Debug)]
pub struct Arrived {
    connection: Connection,
    /// Runs until the first bytes are there.
    silence: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// The connections of `listener`, until `tasks` stop, at most `connections_max` at once: one more is
/// closed as soon as it is there. One that fails ends nothing.
pub fn incoming(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    protocols: Protocols,
    connections_max: usize,
    tasks: &Tasks,
) -> impl Stream<Item = io::Result<Arrived>> + Send + 'static {
    let (arrived, stream) = mpsc::channel(ARRIVED_MAX);
    let of_handshakes = tasks.clone();
    tasks.start("acceptor", move |stop| async move {
        let room = Arc::new(Semaphore::new(connections_max));
        while let Some((stream, peer)) = stop.run_until_cancelled(accept(&listener)).await {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                debug!(%peer, "connection refused, there are as many as may be");
                continue;
            };
            let Some(tls) = tls.clone() else {
                let connection = Arrived::new(Connection::plain(stream), place);
                if arrived.send(Ok(connection)).await.is_err() {
                    return;
                }
                continue;
            };
            let arrived = arrived.clone();
            of_handshakes.start("TLS handshake", move |stop: CancellationToken| async move {
                match stop.run_until_cancelled(tls.accept(stream, protocols)).await {
                    Some(Ok(connection)) => {
                        drop(arrived.send(Ok(Arrived::new(connection, place))).await);
                    }
                    Some(Err(error)) => debug!(%peer, %error, "connection refused"),
                    None => {}
                }
            });
        }
    });
    ReceiverStream::new(stream)
}

/// The next connection.
async fn accept(listener: &TcpListener) -> (tokio::net::TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and waited for.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%peer, %error, "connection lost before it was used");
                    continue;
                }
                return (stream, peer);
            }
            Err(error) => {
                warn!(%error, "no connection can be accepted, will retry");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Arrived {
    fn new(connection: Connection, place: OwnedSemaphorePermit) -> Arrived {
        let silence = Some(Box::pin(tokio::time::sleep(FIRST_BYTES_MAX)));
        Arrived { connection, silence, _place: place }
    }
}

impl Connected for Arrived {
    type ConnectInfo = Option<Arc<Peer>>;

    fn connect_info(&self) -> Option<Arc<Peer>> {
        self.connection.peer().cloned()
    }
}

impl AsyncRead for Arrived {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.connection).poll_read(cx, buf);
        let Some(silence) = &mut self.silence else { return read };
        if read.is_ready() {
            self.silence = None;
            return read;
        }
        silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Arrived {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
