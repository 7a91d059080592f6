//! Takes connections from a listener, as many as there may be.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use super::registry::Registry;
use super::socket::Socket;

/// Pause after the system refused to accept, which is when it has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of `listener`. Never ends, and an error ends nothing.
pub(crate) fn accept(
    listener: TcpListener,
    registry: Arc<Registry>,
    first_bytes: Duration,
) -> impl Stream<Item = io::Result<Socket<TcpStream>>> {
    futures::stream::unfold((listener, registry), move |(listener, registry)| async move {
        let socket = next(&listener, &registry, first_bytes).await;
        Some((Ok(socket), (listener, registry)))
    })
}

async fn next(
    listener: &TcpListener,
    registry: &Arc<Registry>,
    first_bytes: Duration,
) -> Socket<TcpStream> {
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
        return Socket::new(stream, place, first_bytes);
    }
}
