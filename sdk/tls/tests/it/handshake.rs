//! Who gets through, and what the others are told.

use std::path::Path;
use std::sync::Arc;

use http::{Request, Response};
use sdk_config::{ClientCertificate, TlsSettings};
use sdk_flow::Tasks;
use sdk_tls::{Client, ClientFiles, Link, Peer, Protocols, ServerTls, incoming};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::transport::{Endpoint, Server};
use tower::{Service as _, ServiceExt as _};

use crate::certificates::{Ca, file};

/// A server that answers every call with the names of who asks.
struct Served {
    folder: TempDir,
    ca: Ca,
    tls: Arc<ServerTls>,
    port: u16,
    tasks: Tasks,
}

#[derive(Clone)]
struct Names;

impl tonic::server::NamedService for Names {
    const NAME: &'static str = "names";
}

impl tower::Service<Request<Body>> for Names {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Option<Arc<Peer>>>().cloned().flatten();
        let names = peer.map_or_else(|| "nobody".to_owned(), |peer| peer.to_string());
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert("names", names.parse().expect("a header"));
        std::future::ready(Ok(response))
    }
}

impl Served {
    async fn with(asked: Option<ClientCertificate>) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new("test CA");
        let (certificate, key) = ca.sign(&["node.test"], false);
        file(folder.path(), "ca.pem", &ca.pem());
        let settings = TlsSettings {
            certificate: text(&file(folder.path(), "node.pem", &certificate)),
            key: text(&file(folder.path(), "node.key", &key)),
            client_ca: asked.map(|_| text(&folder.path().join("ca.pem"))),
            client_certificate: asked.unwrap_or_default(),
            ..TlsSettings::default()
        };
        let tls = Arc::new(ServerTls::load(&settings, "node.tls").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tasks = Tasks::new();
        let incoming = incoming(listener, Some(Arc::clone(&tls)), Protocols::Both, 16, &tasks);
        tasks.start("server", |_| {
            Server::builder().accept_http1(true).add_service(Names).serve_with_incoming(incoming)
        });
        Served { folder, ca, tls, port, tasks }
    }

    fn files(&self) -> ClientFiles {
        ClientFiles {
            ca: Some(self.folder.path().join("ca.pem")),
            server_name: Some("node.test".to_owned()),
            prefix: "--".to_owned(),
            ..ClientFiles::default()
        }
    }

    fn files_with(&self, ca: &Ca, names: &[&str], expired: bool) -> ClientFiles {
        let (certificate, key) = ca.sign(names, expired);
        ClientFiles {
            certificate: Some(file(self.folder.path(), "client.pem", &certificate)),
            key: Some(file(self.folder.path(), "client.key", &key)),
            ..self.files()
        }
    }

    /// What a call is answered, or why there is no answer.
    async fn call(&self, files: ClientFiles) -> String {
        let client = Client::new(files).unwrap();
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", self.port)).unwrap();
        match client.connect(&endpoint).await {
            Ok(link) => call(link).await,
            Err(reason) => reason,
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.shutdown().cancel();
    }
}

async fn call(mut link: Link) -> String {
    let request = Request::builder().uri("http://node/names/ask").body(Body::empty()).unwrap();
    let answer = match link.ready().await {
        Ok(link) => link.call(request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(response) => response.headers()["names"].to_str().unwrap().to_owned(),
        Err(error) => match error.downcast::<tonic::Status>() {
            Ok(status) => status.message().to_owned(),
            Err(error) => format!("unexplained: {error:?}"),
        },
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_server_is_who_its_certificate_says() {
    let served = Served::with(None).await;
    assert_eq!(served.call(served.files()).await, "nobody");
    let other_host = ClientFiles { server_name: None, ..served.files() };
    let said = served.call(other_host).await;
    assert!(
        said.starts_with("the certificate of `127.0.0.1` is not for `127.0.0.1`: it is for"),
        "{said}"
    );
    assert!(said.contains("node.test"), "{said}");
    let other = file(served.folder.path(), "other.pem", &Ca::new("other CA").pem());
    let said = served.call(ClientFiles { ca: Some(other), ..served.files() }).await;
    assert_eq!(said, "the certificate of `node.test` is signed by none of the CAs in `--ca`");
}

#[tokio::test]
async fn an_expired_server_is_told_from_others() {
    let served = Served::with(None).await;
    let (certificate, key) = served.ca.sign(&["node.test"], true);
    file(served.folder.path(), "node.pem", &certificate);
    file(served.folder.path(), "node.key", &key);
    served.tls.refresh();
    let said = served.call(served.files()).await;
    assert!(
        said.starts_with("the certificate of `node.test` has expired, on 2021-02-03"),
        "{said}"
    );
}

#[tokio::test]
async fn a_client_is_told_why_its_certificate_is_refused() {
    let served = Served::with(Some(ClientCertificate::Required)).await;
    let good = served.files_with(&served.ca, &["shop.test", "uri:spiffe://test/shop"], false);
    assert_eq!(served.call(good).await, "shop.test, spiffe://test/shop");
    let by_common_name = served.files_with(&served.ca, &["cn=shop"], false);
    assert_eq!(served.call(by_common_name).await, "shop");
    // Many times each: what the server says races with what the client sends.
    for _ in 0..50 {
        let said = served.call(served.files()).await;
        let none =
            "it asks for a client certificate and none was shown: give `--certificate` and `--key`";
        assert_eq!(said, none);
        let expired = served.files_with(&served.ca, &["shop.test"], true);
        let said = served.call(expired).await;
        let expected = "it refuses our certificate (`--certificate`, valid until 2021-02-03";
        assert!(said.starts_with(expected) && said.ends_with("it has expired"), "{said}");
        let said = served.call(served.files_with(&Ca::new("other"), &["shop.test"], false)).await;
        assert!(said.ends_with("none of its CAs (`client_ca` there) has signed it"), "{said}");
    }
}

#[tokio::test]
async fn an_optional_certificate_may_be_left_out_and_must_be_good() {
    let served = Served::with(Some(ClientCertificate::Optional)).await;
    assert_eq!(served.call(served.files()).await, "nobody");
    let good = served.files_with(&served.ca, &["shop.test"], false);
    assert_eq!(served.call(good).await, "shop.test");
    let said = served.call(served.files_with(&served.ca, &["shop.test"], true)).await;
    assert!(said.ends_with("it has expired"), "{said}");
}

#[tokio::test]
async fn new_files_are_taken_up_and_bad_ones_are_not() {
    let served = Served::with(Some(ClientCertificate::Required)).await;
    let files = served.files_with(&served.ca, &["shop.test"], false);
    let client = Client::new(files.clone()).unwrap();
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", served.port)).unwrap();
    let old = client.connect(&endpoint).await.unwrap();
    assert_eq!(call(old.clone()).await, "shop.test");

    // Half of a pair: the old stays in force.
    let new_ca = Ca::new("new CA");
    let (certificate, key) = new_ca.sign(&["node.test"], false);
    file(served.folder.path(), "node.pem", &certificate);
    served.tls.refresh();
    assert_eq!(served.call(files.clone()).await, "shop.test");

    // Both, and both CAs: connections that are open go on, new ones see the new certificate.
    file(served.folder.path(), "node.key", &key);
    let both = format!("{}{}", served.ca.pem(), new_ca.pem());
    file(served.folder.path(), "ca.pem", &both);
    served.tls.refresh();
    assert_eq!(call(old).await, "shop.test");
    let new = client.connect(&endpoint).await.unwrap();
    assert_eq!(call(new).await, "shop.test", "the client has taken up the new CA");
    let client_of_new_ca = served.files_with(&new_ca, &["other.test"], false);
    assert_eq!(served.call(client_of_new_ca).await, "other.test");
}

#[tokio::test]
async fn a_port_without_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = Tasks::new();
    let plain = incoming(listener, None, Protocols::Both, 16, &tasks);
    tasks.start("server", |_| {
        Server::builder().accept_http1(true).add_service(Names).serve_with_incoming(plain)
    });
    let folder = tempfile::tempdir().unwrap();
    let ca = Some(file(folder.path(), "ca.pem", &Ca::new("CA").pem()));
    let client = Client::new(ClientFiles { ca, ..ClientFiles::default() }).unwrap();
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
    let said = client.connect(&endpoint).await.unwrap_err();
    assert_eq!(said, "it does not speak TLS on this port: write `http://`");
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    assert_eq!(call(client.connect(&endpoint).await.unwrap()).await, "nobody");
    tasks.shutdown().cancel();
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let mut arriving = Box::pin(incoming(listener, None, Protocols::Both, 1, &tasks));
    let _first = TcpStream::connect(address).await.unwrap();
    let held = arriving.next().await.unwrap().unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
    drop(held);
    let _third = TcpStream::connect(address).await.unwrap();
    arriving.next().await.unwrap().unwrap();
    tasks.shutdown().cancel();
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let mut arriving = Box::pin(incoming(listener, None, Protocols::Both, 1, &tasks));
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut held = arriving.next().await.unwrap().unwrap();
    let error = held.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    tasks.shutdown().cancel();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let served = Served::with(None).await;
    let mut silent = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}
