//! The server's side of TLS, whose files may be replaced while it runs.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use sdk_config::{ClientCertificate, TlsSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::certificate::{Certificate, at};
use crate::connection::Connection;
use crate::explain;
use crate::files::{LoadError, Named, fingerprint};
use crate::provider::{VERSIONS, provider};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client that was refused may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// What such a client may send meanwhile.
const FAREWELL_BYTES_MAX: usize = 256 * 1024;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// gRPC.
    Http2,
    /// gRPC, and pages.
    Both,
    /// Pages.
    Http1,
}

impl Protocols {
    fn alpn(self) -> Vec<Vec<u8>> {
        let (h2, h1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Protocols::Http2 => vec![h2],
            Protocols::Both => vec![h2, h1],
            Protocols::Http1 => vec![h1],
        }
    }
}

/// Certificate, key and client CAs of a server. All ports of a process share one.
pub struct ServerTls {
    files: Files,
    current: ArcSwap<Loaded>,
    trouble: Mutex<Option<String>>,
    /// How often new files were taken up.
    reloads: AtomicU64,
    /// Handshakes that came to nothing.
    refused: AtomicU64,
}

/// Why a connection did not come about, in a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HandshakeError(pub String);

struct Files {
    certificate: Named,
    key: Named,
    client_ca: Option<Named>,
    client_certificate: ClientCertificate,
}

struct Loaded {
    fingerprint: [u8; 32],
    http2: Arc<ServerConfig>,
    both: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    names: Vec<String>,
    not_after_s: i64,
}

impl ServerTls {
    /// As `settings` say, which stand in the table `place`.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(settings: &TlsSettings, place: &str) -> Result<ServerTls, LoadError> {
        let named = |key: &str, file: &str| Named::new(format!("{place}.{key}"), Path::new(file));
        let files = Files {
            certificate: named("certificate", &settings.certificate),
            key: named("key", &settings.key),
            client_ca: settings.client_ca.as_deref().map(|file| named("client_ca", file)),
            client_certificate: settings.client_certificate,
        };
        if files.key.is_open_to_all() {
            warn!(key = %files.key.path().display(), "everybody on this machine can read the private key");
        }
        let loaded = files.load()?;
        info!(names = ?loaded.names, valid_until = at(loaded.not_after_s), "certificate loaded");
        Ok(ServerTls {
            files,
            current: ArcSwap::from_pointee(loaded),
            trouble: Mutex::default(),
            reloads: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Looks at the files and takes up what is new; what cannot be used leaves the old in force.
    pub fn refresh(&self) {
        let trouble = match self.files.read().and_then(|read| self.take_up(&read)) {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() && *known != trouble {
            warn!(error = trouble, "new TLS files cannot be used, the old stay in force");
        }
        *known = trouble;
    }

    fn take_up(&self, read: &Read) -> Result<(), LoadError> {
        if self.current.load().fingerprint == read.fingerprint() {
            return Ok(());
        }
        let loaded = self.files.build(read)?;
        info!(names = ?loaded.names, valid_until = at(loaded.not_after_s), "certificate replaced");
        self.current.store(Arc::new(loaded));
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Why the files as they are now cannot be used; `None` = they are in force.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The second until which the certificate is valid, since 1970.
    pub(crate) fn not_after_s(&self) -> i64 {
        self.current.load().not_after_s
    }

    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Shakes hands on a connection that was accepted. Dropping the future closes it.
    ///
    /// # Errors
    /// With the reason, for the log. The client has been told its own, as far as it listens.
    pub async fn accept(
        &self,
        stream: TcpStream,
        protocols: Protocols,
    ) -> Result<Connection, HandshakeError> {
        let accepted = self.handshake(stream, protocols).await;
        if accepted.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        protocols: Protocols,
    ) -> Result<Connection, HandshakeError> {
        let config = {
            let loaded = self.current.load();
            Arc::clone(match protocols {
                Protocols::Http2 => &loaded.http2,
                Protocols::Both => &loaded.both,
                Protocols::Http1 => &loaded.http1,
            })
        };
        let accept = TlsAcceptor::from(config).accept(stream).into_fallible();
        match timeout(HANDSHAKE_TIMEOUT, accept).await {
            Ok(Ok(stream)) => Ok(Connection::tls(stream)),
            Ok(Err((error, stream))) => {
                let reason = explain::of_client(&error);
                say_farewell(stream).await;
                Err(HandshakeError(reason))
            }
            Err(_) => Err(HandshakeError("the TLS handshake took too long".to_owned())),
        }
    }
}

/// The alert has been written. A close with unread bytes would reset the connection, and the client
/// might never see it.
async fn say_farewell(mut stream: TcpStream) {
    let farewell = async {
        stream.shutdown().await?;
        let (mut buffer, mut left) = (vec![0; 16 * 1024], FAREWELL_BYTES_MAX);
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    drop(timeout(FAREWELL, farewell).await);
}

/// What is in the files.
struct Read {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl Read {
    fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&[&self.certificate, &self.key, &self.client_ca])
    }
}

impl Files {
    fn load(&self) -> Result<Loaded, LoadError> {
        self.build(&self.read()?)
    }

    fn read(&self) -> Result<Read, LoadError> {
        let client_ca = self.client_ca.as_ref().map(Named::read).transpose()?.unwrap_or_default();
        Ok(Read { certificate: self.certificate.read()?, key: self.key.read()?, client_ca })
    }

    fn build(&self, read: &Read) -> Result<Loaded, LoadError> {
        let chain = self.certificate.certificates(&read.certificate)?;
        let key = self.key.key(&read.key)?;
        let unreadable =
            || self.certificate.wrong("cannot be read as a certificate", "make it anew");
        let own = Certificate::read(&chain[0]).ok_or_else(unreadable)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("the provider has them");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(client_ca) => {
                let roots = Arc::new(client_ca.roots(&read.client_ca)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match self.client_certificate {
                    ClientCertificate::Required => verifier,
                    ClientCertificate::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| {
                    client_ca
                        .wrong(format!("cannot be used: {error}"), "name the CAs' certificates")
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let same = "the two files belong together: replace both";
            self.key.wrong(format!("does not fit the certificate: {error}"), same)
        })?;
        // Each connection shows its certificate anew, to whatever CAs are in force then.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let with = |protocols: Protocols| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.alpn();
            Arc::new(config)
        };
        Ok(Loaded {
            fingerprint: read.fingerprint(),
            http2: with(Protocols::Http2),
            both: with(Protocols::Both),
            http1: with(Protocols::Http1),
            names: own.names,
            not_after_s: own.not_after_s,
        })
    }
}
