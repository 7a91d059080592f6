//! Every open connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Connection;
use crate::memory::Memory;
use crate::metrics::Metrics;

/// The open connections, at most so many.
#[derive(Debug)]
pub(crate) struct Registry {
    connections_max: usize,
    memory: Arc<Memory>,
    metrics: Metrics,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

/// A place in the registry; dropping it leaves.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) connection: Arc<Connection>,
    registry: Arc<Registry>,
}

impl Registry {
    pub(crate) fn new(
        connections_max: usize,
        memory: Arc<Memory>,
        metrics: Metrics,
    ) -> Arc<Registry> {
        Arc::new(Registry { connections_max, memory, metrics, open: Mutex::default() })
    }

    /// A place for a new connection, if there is one left.
    pub(super) fn enter(self: &Arc<Registry>, peer: SocketAddr) -> Option<Place> {
        let mut open = self.lock();
        if open.connections.len() >= self.connections_max {
            self.metrics.connections_refused.inc();
            return None;
        }
        let id = open.next;
        open.next += 1;
        let connection = Connection::new(id, peer, Arc::clone(&self.memory));
        open.connections.insert(id, Arc::clone(&connection));
        self.metrics.connections.inc();
        Some(Place { connection, registry: Arc::clone(self) })
    }

    /// Ends every connection.
    pub(crate) fn cut_all(&self) {
        self.lock().connections.values().for_each(|connection| connection.cut());
    }

    /// Watches for memory that is full of unfinished messages, so that nothing in it can ever be
    /// stored: then the connection that holds the most of them is cut. Runs until `stop`.
    pub(crate) async fn guard(self: Arc<Registry>, stuck: Duration, stop: CancellationToken) {
        let mut seen = self.memory.releases();
        while stop.run_until_cancelled(tokio::time::sleep(stuck)).await.is_some() {
            let releases = self.memory.releases();
            if std::mem::replace(&mut seen, releases) != releases || !self.memory.is_full() {
                continue;
            }
            let worst = {
                let open = self.lock();
                open.connections.values().max_by_key(|each| each.unfinished()).cloned()
            };
            if let Some(connection) = worst.filter(|connection| connection.unfinished() > 0) {
                let bytes = connection.unfinished();
                warn!(peer = %connection.peer(), bytes, "memory is full of unfinished messages, connection cut");
                self.metrics.connections_cut.inc();
                connection.cut();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.release_unread();
        self.registry.lock().connections.remove(&self.connection.id);
        self.registry.metrics.connections.dec();
    }
}
