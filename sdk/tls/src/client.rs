//! The client's side: whom it trusts, what it shows, which token it sends.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;

use crate::certificate::Certificate;
use crate::explain::{Shown, of_server};
use crate::files::{LoadError, Named, fingerprint};
use crate::link::{Link, deepest};
use crate::provider::{VERSIONS, provider};
use crate::tokens::parse;

/// Where systems keep the CAs that they trust.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The files of a client. All may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CAs that servers' certificates are signed by; `None` = those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate to show.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The token to send.
    pub token_file: Option<PathBuf>,
    /// The name that servers' certificates are for; `None` = the host that is connected to.
    pub server_name: Option<String>,
    /// What stands before the names of these settings in errors: a table's name and a dot, or `--`.
    pub prefix: String,
}

/// Connects to servers, over TLS where their URL says `https`. Its files are looked at whenever it
/// connects, so that new ones are taken up; what cannot be used then leaves the old in force. Clones are
/// one.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    files: ClientFiles,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Clone)]
struct Loaded {
    fingerprint: [u8; 32],
    /// Absent until a server is to be reached over TLS.
    tls: Option<Arc<ClientConfig>>,
    token: Option<HeaderValue>,
    shown: Shown,
}

impl Default for Client {
    /// Trusts the system's CAs, shows no certificate, sends no token.
    fn default() -> Client {
        Client {
            inner: Arc::new(Inner { files: ClientFiles::default(), loaded: Mutex::default() }),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.inner.files).finish()
    }
}

impl Client {
    /// A client with these files.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(files: ClientFiles) -> Result<Client, LoadError> {
        let client = Client { inner: Arc::new(Inner { files, loaded: Mutex::default() }) };
        let files = &client.inner.files;
        let trusts_or_shows = files.ca.is_some() || files.certificate.is_some();
        client.inner.load(trusts_or_shows || files.key.is_some())?;
        Ok(client)
    }

    /// Connects as `endpoint` says, whose URL decides whether that is over TLS.
    ///
    /// # Errors
    /// In a sentence that says what to do, as far as that is known.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Link, String> {
        let uri = endpoint.uri().clone();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if uri.scheme_str() != Some("https") {
            let files = &self.inner.files;
            let token = match files.token_file {
                None => None,
                Some(_) if is_this_machine(&host) => {
                    self.inner.current(false).map_err(|error| error.to_string())?.token
                }
                Some(_) => {
                    let reason =
                        "the token would go over the network unencrypted: write `https://`";
                    return Err(reason.to_owned());
                }
            };
            let channel = endpoint.connect().await.map_err(|error| deepest(&error))?;
            return Ok(Link::plain(channel, token));
        }
        let loaded = self.inner.current(true).map_err(|error| error.to_string())?;
        let tls = loaded.tls.expect("it was asked for");
        let expected = self.inner.files.server_name.as_deref().unwrap_or(&host).to_owned();
        let name = ServerName::try_from(expected.clone())
            .map_err(|_| format!("`{expected}` is no name that a certificate could be for"))?;
        let trouble = Arc::new(OnceLock::new());
        let story = Story { trouble: Arc::clone(&trouble), host: expected, shown: loaded.shown };
        let connector = tower::service_fn(move |uri: Uri| {
            let (tls, name, story) = (Arc::clone(&tls), name.clone(), story.clone());
            async move { shake_hands(&uri, tls, name, story).await.map(TokioIo::new) }
        });
        match endpoint.connect_with_connector(connector).await {
            Ok(channel) => Ok(Link::secured(channel, loaded.token, trouble)),
            Err(error) => Err(trouble.get().cloned().unwrap_or_else(|| deepest(&error))),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn shake_hands(
    uri: &Uri,
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
    story: Story,
) -> io::Result<Told> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
    tcp.set_nodelay(true)?;
    match TlsConnector::from(tls).connect(name, tcp).await {
        Ok(stream) => Ok(Told { stream, story }),
        Err(error) => Err(story.tell(error)),
    }
}

impl Inner {
    /// What is in force: the files as they are now, else as they were.
    fn current(&self, tls: bool) -> Result<Loaded, LoadError> {
        self.load(tls).or_else(|error| {
            let loaded = self.lock().clone();
            loaded.filter(|loaded| !tls || loaded.tls.is_some()).ok_or(error)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self, key: &str, path: &Path) -> Named {
        let key = if self.files.prefix == "--" { key.replace('_', "-") } else { key.to_owned() };
        Named::new(format!("{}{key}", self.files.prefix), path)
    }

    fn load(&self, tls: bool) -> Result<Loaded, LoadError> {
        let files = &self.files;
        let read = |key: &str, path: &Option<PathBuf>| {
            let named = path.as_ref().map(|path| self.named(key, path));
            let content = named.as_ref().map(Named::read).transpose();
            content.map(|content| named.zip(content))
        };
        let ca = read("ca", &files.ca)?;
        let certificate = read("certificate", &files.certificate)?;
        let key = read("key", &files.key)?;
        let token = read("token_file", &files.token_file)?;
        let all = [&ca, &certificate, &key, &token];
        let all = all.map(|it| it.as_ref().map_or(&[][..], |(_, content)| content.as_slice()));
        let fingerprint = fingerprint(&all);
        if let Some(known) = self.lock().as_ref()
            && known.fingerprint == fingerprint
            && (known.tls.is_some() || !tls)
        {
            return Ok(known.clone());
        }
        let mut shown = Shown { prefix: files.prefix.clone(), not_after_s: None };
        let token = token.map(|(named, content)| header(&named, &content)).transpose()?;
        let tls = if tls {
            let roots = match ca {
                Some((named, content)) => named.roots(&content)?,
                None => self.system_roots()?,
            };
            let builder = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(VERSIONS)
                .expect("the provider has them")
                .with_root_certificates(roots);
            let mut config = match (certificate, key) {
                (Some((named, content)), Some((key_named, key))) => {
                    let chain = named.certificates(&content)?;
                    shown.not_after_s = Certificate::read(&chain[0]).map(|own| own.not_after_s);
                    let key = key_named.key(&key)?;
                    builder.with_client_auth_cert(chain, key).map_err(|error| {
                        let problem = format!("does not fit the certificate: {error}");
                        key_named.wrong(problem, "the two files belong together: replace both")
                    })?
                }
                (Some((named, _)), None) => {
                    return Err(named.wrong("is there without its key", "give `key` as well"));
                }
                (None, Some((named, _))) => {
                    return Err(named
                        .wrong("is there without its certificate", "give `certificate` as well"));
                }
                (None, None) => builder.with_no_client_auth(),
            };
            config.resumption = Resumption::disabled();
            config.alpn_protocols = vec![b"h2".to_vec()];
            Some(Arc::new(config))
        } else {
            None
        };
        let loaded = Loaded { fingerprint, tls, token, shown };
        *self.lock() = Some(loaded.clone());
        Ok(loaded)
    }

    fn system_roots(&self) -> Result<RootCertStore, LoadError> {
        let told = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let usual = SYSTEM_ROOTS.iter().map(PathBuf::from);
        let path = told.into_iter().chain(usual).find(|path| path.is_file());
        let nowhere = || {
            let missing = self.named("ca", Path::new(SYSTEM_ROOTS[0]));
            missing.wrong("this system has no list of CAs", "name the file with the CA to trust")
        };
        let named = self.named("ca", &path.ok_or_else(nowhere)?);
        let content = named.read()?;
        let mut roots = RootCertStore::empty();
        // A list of the whole world has some that cannot be read here.
        roots.add_parsable_certificates(named.certificates(&content)?);
        Ok(roots)
    }
}

/// `Bearer TOKEN`, with the first token of the file.
fn header(file: &Named, content: &[u8]) -> Result<HeaderValue, LoadError> {
    let tokens = parse(file, content)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", tokens[0]))
        .map_err(|_| file.wrong("is no token", "a token is visible ASCII without blanks"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Puts the reason into words where it is still known, and keeps it: the layers above forget it.
#[derive(Clone)]
struct Story {
    trouble: Arc<OnceLock<String>>,
    host: String,
    shown: Shown,
}

impl Story {
    fn tell(&self, error: io::Error) -> io::Error {
        match of_server(&error, &self.host, &self.shown) {
            None => error,
            Some(text) => {
                let _ = self.trouble.set(text.clone());
                io::Error::new(error.kind(), text)
            }
        }
    }
}

/// A stream that says why it broke. In TLS 1.3 a server judges a client after the client is done with
/// the handshake: it learns of a refusal when it first reads.
struct Told {
    stream: TlsStream<TcpStream>,
    story: Story,
}

impl Told {
    /// A write that failed may have failed because of something that is there to be read.
    fn tell_of_write(&mut self, error: io::Error, cx: &mut Context<'_>) -> io::Error {
        let mut bytes = [0; 1];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Err(cause)) => self.story.tell(cause),
            _ => self.story.tell(error),
        }
    }
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        Poll::Ready(read.map_err(|error| self.story.tell(error)))
    }
}

impl AsyncWrite for Told {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(written.map_err(|error| self.tell_of_write(error, cx)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(written.map_err(|error| self.tell_of_write(error, cx)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.tell_of_write(error, cx)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
