//! One HDFS, and the connection to it.

use crate::configuration::Configuration;
use crate::deadlines::Deadlines;
use crate::error::failed;
use crate::metrics::Metrics;
use crate::mounts::HdfsOptions;
use crate::outage::{Outage, Part};
use futures::FutureExt as _;
use hdfs_native::{Client, ClientBuilder, HdfsError};
use sdk_files::fs::{FsError, FsErrorKind};
use std::error::Error as _;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tracing::warn;

/// Threads that do a connection's work on the network.
const THREADS: usize = 2;

/// What all sinks on one HDFS share.
pub(crate) struct Mount {
    /// `NAMESERVICE` or `HOST:PORT`.
    authority: String,
    options: HdfsOptions,
    connection: Mutex<Option<Arc<Connection>>>,
    names: Outage,
    bytes: Outage,
    metrics: Metrics,
}

/// A client with a runtime of its own. Writers keep theirs to their end; what then still hangs in it,
/// such as a write to a DataNode that never answers, ends with the runtime.
pub(crate) struct Connection {
    client: Client,
    configuration: Configuration,
    runtime: Option<Runtime>,
}

impl Connection {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Hadoop's files as they were when it was made.
    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Mount {
    pub(crate) fn new(authority: &str, options: HdfsOptions, metrics: Metrics) -> Mount {
        let outage =
            |part| Outage::new(authority, part, metrics.clone(), Arc::clone(&options.clock));
        Mount {
            names: outage(Part::Names),
            bytes: outage(Part::Bytes),
            authority: authority.to_owned(),
            options,
            connection: Mutex::default(),
            metrics,
        }
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.options.deadlines
    }

    /// The connection, made if there is none.
    pub(crate) fn connection(
        &self,
        operation: &'static str,
        path: &str,
    ) -> Result<Arc<Connection>, FsError> {
        let made = {
            let mut connection = self.connection.lock().expect("no panic while the lock is held");
            match &*connection {
                Some(connection) => return Ok(Arc::clone(connection)),
                None => self
                    .connect(operation, path)
                    .inspect(|made| *connection = Some(Arc::clone(made))),
            }
        };
        if made.is_err() {
            self.names.note(&made);
        }
        made
    }

    /// Reads Hadoop's files, so that whoever has put them right need not restart anything.
    fn configuration(&self, operation: &'static str, path: &str) -> Result<Configuration, FsError> {
        let configuration = Configuration::load(self.options.configuration.as_deref())
            .map_err(|error| FsError::new(FsErrorKind::Other, operation, path).caused_by(error))?;
        let name = self.authority.as_str();
        if !name.contains(':') && !configuration.knows_nameservice(name) {
            let place = match configuration.directory() {
                Some(directory) => format!("hdfs-site.xml in {}", directory.display()),
                None => "any hdfs-site.xml: HADOOP_CONF_DIR is not set".to_owned(),
            };
            let why = format!("`{name}` has no port and is no nameservice of {place}");
            return Err(FsError::new(FsErrorKind::InvalidPath, operation, path).caused_by(why));
        }
        Ok(configuration)
    }

    fn connect(&self, operation: &'static str, path: &str) -> Result<Arc<Connection>, FsError> {
        let configuration = self.configuration(operation, path)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("hdfs")
            .enable_all()
            .build()
            .map_err(|error| FsError::from_io(operation, path, error))?;
        let mut builder = ClientBuilder::new()
            .with_url(format!("hdfs://{}", self.authority))
            .with_config(configuration.overrides())
            .with_io_runtime(runtime.handle().clone());
        if let Some(directory) = configuration.directory() {
            builder = builder.with_config_dir(directory.display().to_string());
        }
        if let Some(user) = &self.options.user {
            builder = builder.with_user(user);
        }
        // Credentials are looked at only where they are asked for.
        if configuration.is_secure() {
            if let Some(principal) = &self.options.kerberos_principal {
                builder = builder.with_kerberos_principal(principal);
            }
            if let Some(keytab) = &self.options.kerberos_keytab {
                builder = builder.with_kerberos_keytab(keytab);
            }
        }
        // It looks at the ticket cache, and the library below may panic on what it finds.
        let built = std::panic::catch_unwind(AssertUnwindSafe(|| builder.build()));
        let client = match built {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                runtime.shutdown_background();
                return Err(failed(operation, path, &error));
            }
            Err(_) => {
                runtime.shutdown_background();
                return Err(panicked(operation, path));
            }
        };
        self.metrics.connected(&self.authority);
        if let Some(reason) = configuration.slow_encryption() {
            warn!(mount = self.authority, reason, "hdfs will be very slow");
        }
        Ok(Arc::new(Connection { client, configuration, runtime: Some(runtime) }))
    }

    /// Leaves a connection that does not answer; the next call makes another.
    fn abandon(&self, abandoned: &Arc<Connection>) {
        let mut connection = self.connection.lock().expect("no panic while the lock is held");
        if connection.as_ref().is_some_and(|it| Arc::ptr_eq(it, abandoned)) {
            *connection = None;
        }
    }

    /// Waits for a call to a NameNode.
    pub(crate) async fn name<T>(
        &self,
        connection: &Arc<Connection>,
        operation: &'static str,
        path: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, HdfsError>> + Send,
    ) -> Result<T, Trouble> {
        let called = self.guarded(&self.names, connection, operation, path, limit, call).await;
        called.map_err(|trouble| match trouble.error.kind() {
            // The client has asked every NameNode again and again: that is no answer in time, and
            // weighs more than a DataNode that one file has met.
            FsErrorKind::Unavailable if !trouble.plain_io => {
                let said = trouble.error.source().map(ToString::to_string).unwrap_or_default();
                let error = FsError::new(FsErrorKind::Timeout, operation, path);
                Trouble::from(error.caused_by(said))
            }
            _ => trouble,
        })
    }

    /// Waits for a call that moves bytes.
    pub(crate) async fn bytes<T>(
        &self,
        connection: &Arc<Connection>,
        operation: &'static str,
        path: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, HdfsError>> + Send,
    ) -> Result<T, FsError> {
        let called = self.guarded(&self.bytes, connection, operation, path, limit, call).await;
        called.map_err(Trouble::into_error)
    }

    async fn guarded<T>(
        &self,
        outage: &Outage,
        connection: &Arc<Connection>,
        operation: &'static str,
        path: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, HdfsError>> + Send,
    ) -> Result<T, Trouble> {
        // The client panics in places (a pipeline that loses two nodes at once): one more way in
        // which a call can fail.
        let call = AssertUnwindSafe(call).catch_unwind();
        let result = match timeout(limit, call).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(Trouble {
                error: failed(operation, path, &error),
                plain_io: crate::error::is_plain_io(&error),
            }),
            Ok(Err(_)) => Err(Trouble::from(panicked(operation, path))),
            Err(_) => {
                self.abandon(connection);
                Err(Trouble::from(FsError::new(FsErrorKind::Timeout, operation, path)))
            }
        };
        match &result {
            Ok(_) => outage.note(&Ok(())),
            Err(trouble) => outage.note(&Err::<(), _>(trouble.error.clone())),
        }
        result
    }
}

/// A failed call, and what only this crate wants to know of it.
pub(crate) struct Trouble {
    pub(crate) error: FsError,
    /// The exception that may mean anything.
    pub(crate) plain_io: bool,
}

impl Trouble {
    pub(crate) fn into_error(self) -> FsError {
        self.error
    }
}

impl From<FsError> for Trouble {
    fn from(error: FsError) -> Trouble {
        Trouble { error, plain_io: false }
    }
}

impl From<Trouble> for FsError {
    fn from(trouble: Trouble) -> FsError {
        trouble.error
    }
}

fn panicked(operation: &'static str, path: &str) -> FsError {
    FsError::new(FsErrorKind::Unavailable, operation, path).caused_by("the client panicked")
}
