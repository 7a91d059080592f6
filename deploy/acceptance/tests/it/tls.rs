//! TLS, client certificates and tokens on the real programs: who gets in, what the others are told, what
//! becomes of connections while certificates are replaced.

use deploy_acceptance::{
    Finished, Node, NodeOptions, Running, eventually, program, run_with_input,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const TOKEN_A: &str = "acceptance-token-of-flow-a-0123456789";
const TOKEN_OPERATOR: &str = "acceptance-token-of-operator-0123456789";

/// A CA and the files that it signed.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        let folder = tempfile::tempdir().expect("a folder");
        // Each has a name of its own: by it an issuer is looked up.
        let name = format!("acceptance CA {}", folder.path().display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a CA");
        let ca = Self { issuer, folder };
        ca.file("ca.pem", &ca.issuer.pem());
        ca
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Written aside and renamed, as whoever replaces certificates should.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let aside = self.path(&format!("{name}.new"));
        std::fs::write(&aside, text).expect("write");
        std::fs::rename(aside, self.path(name)).expect("rename");
        self.path(name)
    }

    /// `NAME.pem` and `NAME.key` for one DNS name; the key is returned.
    fn sign(&self, name: &str, host: &str, expired: bool) -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.subject_alt_names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().expect("a name")),
        });
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 2, 3);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.file(&format!("{name}.pem"), &certificate.pem());
        self.file(&format!("{name}.key"), &key.serialize_pem());
        key.serialize_pem()
    }

    /// The flags of a client that shows `NAME`; nothing if that is empty.
    fn flags(&self, name: &str) -> Vec<String> {
        let mut flags = vec!["--ca".to_owned(), self.path("ca.pem").display().to_string()];
        for (flag, end) in [("--certificate", "pem"), ("--key", "key")] {
            if !name.is_empty() {
                flags.push(flag.to_owned());
                flags.push(self.path(&format!("{name}.{end}")).display().to_string());
            }
        }
        flags
    }

    fn token(&self, name: &str) -> Vec<String> {
        let mut flags = self.flags("");
        flags.extend(["--token-file".to_owned(), self.path(name).display().to_string()]);
        flags
    }
}

/// A node with two flows, and tables of its own.
struct Served {
    /// Goes before the folder that it writes to.
    node: Node,
    ca: Ca,
}

impl Served {
    fn start(ca: Ca, tls: &str, access: &str) -> Self {
        ca.sign("node", "127.0.0.1", false);
        let at = |name: &str| ca.path(name).display().to_string();
        let folder = ca.path("files").display().to_string();
        let flow = |name: &str| {
            format!(
                "[flow.{name}.sources.ingest]\ntype = \"collector\"\nchannels = [\"main\"]\n\
                 [flow.{name}.channels.main]\ntype = \"durable\"\n\
                 [flow.{name}.sinks.files]\ntype = \"files\"\nchannel = \"main\"\n\
                 path = \"{folder}/{name}/%Y-%m-%d/\"\nroll_interval = \"1s\"\n"
            )
        };
        let config = format!(
            "[node.tls]\ncertificate = \"{}\"\nkey = \"{}\"\nreload = \"100ms\"\n{tls}\n{access}\n{}{}",
            at("node.pem"),
            at("node.key"),
            flow("a"),
            flow("b")
        );
        let mut node = Node::new(NodeOptions { config: Some(config), ..NodeOptions::default() });
        node.spawn();
        let mut served = Self { ca, node };
        eventually("the node accepts", Duration::from_secs(30), || {
            let ended = served.node.process().ended();
            assert!(ended.is_none(), "the node ended: {}", served.node.log());
            if served.node.log().contains("the node accepts") { Ok(()) } else { Err("not yet") }
        });
        served
    }

    fn cli(&self, flags: &[String], arguments: &[&str], input: &str) -> Finished {
        let mut all = vec!["--endpoint".to_owned(), https(&self.node.admin())];
        all.extend_from_slice(flags);
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        run_with_input("collector-cli", &all, input.as_bytes())
    }

    fn send(&self, flags: &[String], flow: &str, input: &str) -> Finished {
        let ingest = https(&self.node.ingest());
        let arguments = ["send", "--flow", flow, "--ingest", &ingest, "--timeout", "20s"];
        self.cli(flags, &arguments, input)
    }
}

impl Served {
    /// A page of the admin port.
    fn page(&self, path: &str, token: &str) -> String {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(self.ca.path("ca.pem")).expect("the CA") {
            roots.add(ca.expect("a certificate")).expect("a CA");
        }
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = self.node.admin().replace("http://", "");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let answer = runtime.block_on(async {
            let connection = TcpStream::connect(&address).await.expect("connect");
            let host = "127.0.0.1".try_into().expect("an address");
            let connector = TlsConnector::from(Arc::new(config));
            let mut connection = connector.connect(host, connection).await.expect("TLS");
            connection.write_all(request.as_bytes()).await.expect("ask");
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).await.expect("read the answer");
            String::from_utf8_lossy(&answer).into_owned()
        });
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        answer
    }
}

fn https(url: &str) -> String {
    url.replace("http://", "https://")
}

#[track_caller]
fn said(finished: Finished, code: i32, text: &str) {
    let finished = finished.expect(code);
    assert!(finished.stderr.contains(text), "not `{text}` in {finished:#?}");
}

#[test]
fn a_client_that_is_refused_is_told_why() {
    let ca = Ca::new();
    let client_ca = format!("client_ca = \"{}\"", ca.path("ca.pem").display());
    let access = "[node.access.shop]\ncertificates = [\"shop.test\"]\nsend = [\"a\"]\n\
                  [node.access.operator]\ncertificates = [\"operator.test\"]\nsend = [\"*\"]\nadmin = \"full\"\n";
    let served = Served::start(ca, &client_ca, access);
    let ca = &served.ca;
    for (name, host) in
        [("shop", "shop.test"), ("operator", "operator.test"), ("other", "other.test")]
    {
        ca.sign(name, host, false);
    }
    ca.sign("expired", "operator.test", true);
    let stranger = Ca::new();
    stranger.sign("operator", "operator.test", false);

    served.cli(&ca.flags("operator"), &["flows", "list"], "").expect(0);
    said(
        served.cli(&ca.flags(""), &["status"], ""),
        2,
        "it asks for a client certificate and none was shown: give `--certificate` and `--key`",
    );
    said(served.cli(&ca.flags("expired"), &["status"], ""), 2, "it has expired");
    let mut wrong_ca = stranger.flags("operator");
    wrong_ca[1] = ca.path("ca.pem").display().to_string();
    said(served.cli(&wrong_ca, &["status"], ""), 2, "none of its CAs");
    said(
        served.cli(&stranger.flags("operator"), &["status"], ""),
        2,
        "the certificate of `127.0.0.1` is signed by none of the CAs in `--ca`",
    );
    let mut wrong_host = ca.flags("operator");
    wrong_host.extend(["--server-name".to_owned(), "node.test".to_owned()]);
    said(served.cli(&wrong_host, &["status"], ""), 2, "is not for `node.test`: it is for");
    let not_allowed = "the certificate for other.test is not allowed here";
    said(served.cli(&ca.flags("other"), &["status"], ""), 1, not_allowed);
    said(served.send(&ca.flags("other"), "a", "x\n"), 1, not_allowed);
    let clear = served.node.admin();
    let plain = run_with_input("collector-cli", &["--endpoint", &clear, "status"], b"");
    assert_ne!(plain.code(), 0, "{plain:#?}");

    served.send(&ca.flags("shop"), "a", "to a\n").expect(0);
    said(served.send(&ca.flags("shop"), "b", "to b\n"), 1, "`shop` may not send to flow `b`");
    said(served.cli(&ca.flags("shop"), &["status"], ""), 1, "`shop` may not look at this node");
    served.send(&ca.flags("operator"), "b", "to b\n").expect(0);
}

#[test]
fn a_token_is_for_its_flows_and_shows_nowhere() {
    let ca = Ca::new();
    let a = ca.file("a.token", &format!("{TOKEN_A}\n"));
    let operator = ca.file("operator.token", TOKEN_OPERATOR);
    let wrong = "acceptance-token-nobody-knows-0123456789";
    ca.file("wrong.token", wrong);
    let access = format!(
        "ports = [\"ingest\", \"admin\"]\n[node.access.a]\ntoken_file = \"{}\"\nsend = [\"a\"]\n\
         [node.access.operator]\ntoken_file = \"{}\"\nsend = [\"*\"]\nadmin = \"full\"\n",
        a.display(),
        operator.display()
    );
    let mut served = Served::start(ca, "", &access);
    let ca = &served.ca;
    let mut outputs = Vec::new();
    let mut expect = |finished: Finished, code: i32, text: &str| {
        outputs.push(format!("{}{}", finished.stdout, finished.stderr));
        said(finished, code, text);
    };
    expect(served.send(&ca.token("a.token"), "a", "to a\n"), 0, "");
    let denied = "`a` may not send to flow `b`";
    expect(served.send(&ca.token("a.token"), "b", "to b\n"), 1, denied);
    expect(served.cli(&ca.token("a.token"), &["penalties", "clear"], ""), 1, "`a` may not do this");
    expect(served.cli(&ca.token("a.token"), &["tap", "a"], ""), 1, "`a` may not do this");
    expect(
        served.cli(&ca.token("wrong.token"), &["status"], ""),
        1,
        "this token is not known here",
    );
    expect(served.send(&ca.token("wrong.token"), "a", "x\n"), 1, "this token is not known here");
    expect(served.cli(&ca.flags(""), &["status"], ""), 1, "it is not known who asks");
    expect(served.cli(&ca.token("operator.token"), &["penalties", "clear"], ""), 0, "");
    expect(served.cli(&ca.token("operator.token"), &["--output", "json", "status"], ""), 0, "");
    // In clear it is not even sent.
    let mut clear = ca.token("a.token");
    clear.extend(["--endpoint".to_owned(), "http://192.0.2.1:7402".to_owned()]);
    clear.push("status".to_owned());
    expect(
        run_with_input("collector-cli", &clear, b""),
        2,
        "the token would go over the network unencrypted",
    );

    // Taken back while the node runs.
    ca.file("a.token", "acceptance-token-of-flow-a-renewed\n");
    let old = ca.file("old.token", TOKEN_A);
    eventually("the token is taken back", Duration::from_secs(20), || {
        let finished = served.send(&ca.token("old.token"), "a", "x\n");
        if finished.code() == 1 { Ok(()) } else { Err(finished) }
    });
    assert!(old.is_file());
    served.send(&ca.token("a.token"), "a", "to a again\n").expect(0);

    for path in ["/", "/metrics", "/api/v1/status"] {
        outputs.push(served.page(path, TOKEN_OPERATOR));
    }
    let stopped = served.node.stop();
    outputs.push(format!("{}{}{}", stopped.stdout, stopped.stderr, served.node.log()));
    let key = std::fs::read_to_string(served.ca.path("node.key")).expect("the key");
    let secrets = [TOKEN_A, TOKEN_OPERATOR, wrong].into_iter();
    for secret in secrets.chain(key.lines().filter(|line| !line.starts_with("---"))) {
        for output in &outputs {
            assert!(!output.contains(secret), "a secret is in: {output}");
        }
    }
}

#[test]
fn certificates_replaced_under_load_lose_no_request() {
    let ca = Ca::new();
    let client_ca = format!("client_ca = \"{}\"", ca.path("ca.pem").display());
    let served = Served::start(ca, &client_ca, "");
    let ca = Arc::new(served.ca);
    ca.sign("client", "client.test", false);
    let ledger = ca.path("ledger");
    let flags = ca.flags("client");
    let load = Running::start(
        Command::new(program("collector-loadtest"))
            .args(["run", "--seconds", "10", "--rate", "5000", "--flow", "a", "--output", "json"])
            .args(["--endpoint", &https(&served.node.ingest()), "--ledger"])
            .arg(&ledger)
            .args(&flags),
    );
    let done = Arc::new(AtomicBool::new(false));
    let replacing = std::thread::spawn({
        let (ca, done) = (Arc::clone(&ca), Arc::clone(&done));
        move || {
            let mut times = 0;
            while !done.load(Ordering::Relaxed) {
                // The node's and the clients', which take theirs up when they connect.
                ca.sign("node", "127.0.0.1", false);
                ca.sign("fresh", "client.test", false);
                times += 1;
                deploy_acceptance::pause(Duration::from_millis(200));
            }
            times
        }
    });
    // New connections all the while.
    let mut sent = 0;
    for number in 0..20 {
        let ingest = https(&served.node.ingest());
        let mut all = flags.clone();
        all.extend(["send", "--flow", "b", "--ingest", &ingest].map(str::to_owned));
        run_with_input("collector-cli", &all, format!("line {number}\n").as_bytes()).expect(0);
        sent += 1;
    }
    let report = load.finish(Duration::from_secs(120)).expect(0).json();
    done.store(true, Ordering::Relaxed);
    let times = replacing.join().expect("replace");
    assert!(times >= 5 && sent == 20, "{times} certificates, {sent} lines");
    assert_eq!(report["rejected"], 0, "{report}");
    assert_eq!(report["unknown"], 0, "{report}");
    assert_eq!(report["retried_blocks"].as_u64().unwrap_or(0), 0, "{report}");
    assert!(report["acked_events"].as_u64() > Some(0), "{report}");
    assert!(served.node.log().contains("certificate replaced"), "{}", served.node.log());
}

#[test]
fn an_agent_delivers_with_its_certificate() {
    let ca = Ca::new();
    let client_ca = format!("client_ca = \"{}\"", ca.path("ca.pem").display());
    let access = "[node.access.agents]\ncertificates = [\"*.agents.test\"]\nsend = [\"a\"]\n";
    let served = Served::start(ca, &client_ca, access);
    let ca = &served.ca;
    ca.sign("agent", "web-1.agents.test", false);
    let at = |name: &str| ca.path(name).display().to_string();
    std::fs::write(ca.path("access.log"), "one\ntwo\nthree\n").expect("write");
    let config = format!(
        "[agent]\ndata_dir = \"{}\"\nadmin = \"127.0.0.1:0\"\n\
         [flow.a.sources.log]\ntype = \"taildir\"\nchannels = [\"spool\"]\nfilegroups = {{ log = \"{}\" }}\n\
         [flow.a.channels.spool]\ntype = \"durable\"\n\
         [flow.a.sinks.nodes]\ntype = \"collector\"\nchannel = \"spool\"\nendpoints = [\"{}\"]\n\
         ca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        at("agent-data"),
        at("access.log"),
        https(&served.node.ingest()),
        at("ca.pem"),
        at("agent.pem"),
        at("agent.key")
    );
    let file = ca.file("agent.toml", &config);
    let _agent = Running::start(Command::new(program("collector-agent")).arg("--config").arg(file));
    eventually("the lines are in a file", Duration::from_secs(60), || {
        let lines: usize = deploy_acceptance::final_files(&ca.path("files").join("a"))
            .iter()
            .map(|file| lines_of(file))
            .sum();
        if lines == 3 { Ok(()) } else { Err(format!("{lines} lines; {}", served.node.log())) }
    });
}

fn lines_of(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn off_loopback_a_node_is_encrypted_or_told_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let arguments = ["--data-dir", &data, "--ingest", "0.0.0.0:0"];
    let finished = run_with_input("collector-server", &arguments, b"");
    said(finished, 1, "write a table [node.tls], or say --insecure if that is meant");
}
