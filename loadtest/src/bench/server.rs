//! A server under measurement, as a process of its own.

use super::ACCEPTS_WITHIN;
use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ASK_EVERY: Duration = Duration::from_millis(10);

/// What a server used in its life.
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_max_bytes: u64,
}

pub(super) struct Server {
    folder: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
    ingest: SocketAddr,
    admin: Option<SocketAddr>,
    endpoint: String,
    /// Whom clients trust, where it speaks TLS.
    ca: Option<PathBuf>,
    child: Child,
}

impl Server {
    /// The raw loop, accepting.
    pub(super) fn raw(folder: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let ingest = free_address()?;
        let arguments = ["raw-server", "--listen", &ingest.to_string(), "--folder"]
            .map(str::to_owned)
            .into_iter()
            .chain([folder.path().display().to_string()])
            .collect();
        Self::start(folder, std::env::current_exe()?, arguments, ingest, None)
    }

    /// A node with default settings, accepting. Without `drains` its files have nowhere to go, and
    /// everything waits.
    pub(super) fn node(folder: &Path, drains: bool) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let program = node_program()?;
        let (ingest, peer, admin) = (free_address()?, free_address()?, free_address()?);
        let files = folder.path().join("files");
        if !drains {
            std::fs::write(&files, b"").context("block the files' directory")?;
        }
        let arguments = [
            ("--data-dir", folder.path().join("data").display().to_string()),
            ("--files-dir", files.display().to_string()),
            ("--ingest", ingest.to_string()),
            ("--peer", peer.to_string()),
            ("--admin", admin.to_string()),
            ("--log-level", "error".to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        Self::start(folder, program, arguments, ingest, Some(admin))
    }

    /// The same as a node that drains, with TLS on its ingest port and a certificate made here.
    pub(super) fn node_with_tls(folder: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let at = |name: &str| folder.path().join(name);
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let (certificate, key, config) = (at("node.pem"), at("node.key"), at("node.toml"));
        std::fs::write(&certificate, own.cert.pem())?;
        std::fs::write(&key, own.signing_key.serialize_pem())?;
        std::fs::write(
            &config,
            format!(
                r#"[node.tls]
certificate = "{}"
key = "{}"
ports = ["ingest"]
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "{}/default/%Y-%m-%d/%H%M/"
"#,
                certificate.display(),
                key.display(),
                at("files").display()
            ),
        )?;
        let (ingest, peer, admin) = (free_address()?, free_address()?, free_address()?);
        let arguments = [
            ("--config", config.display().to_string()),
            ("--data-dir", at("data").display().to_string()),
            ("--ingest", ingest.to_string()),
            ("--peer", peer.to_string()),
            ("--admin", admin.to_string()),
            ("--log-level", "error".to_owned()),
        ];
        let arguments =
            arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        let mut server = Self::start(folder, node_program()?, arguments, ingest, Some(admin))?;
        server.endpoint = format!("https://{ingest}");
        server.ca = Some(certificate);
        Ok(server)
    }

    fn start(
        folder: TempDir,
        program: PathBuf,
        arguments: Vec<String>,
        ingest: SocketAddr,
        admin: Option<SocketAddr>,
    ) -> Result<Self> {
        let child = spawn(&program, &arguments)?;
        let endpoint = format!("http://{ingest}");
        let ca = None;
        let mut server = Self { folder, program, arguments, ingest, admin, endpoint, ca, child };
        server.accepts()?;
        Ok(server)
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Where it writes.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `kill -9`, start again, and how long it took until it accepted.
    pub(super) fn restart(&mut self) -> Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let begun = Instant::now();
        self.child = spawn(&self.program, &self.arguments)?;
        self.accepts()?;
        Ok(begun.elapsed())
    }

    pub(super) fn resident_bytes(&self) -> Result<u64> {
        status_bytes(self.child.id(), "VmRSS:")
    }

    /// Ends it, and says what it used.
    pub(super) fn stop(&mut self) -> Result<Usage> {
        let usage = Usage {
            cpu_seconds: crate::cpu::of(&self.child.id().to_string())?,
            resident_max_bytes: status_bytes(self.child.id(), "VmHWM:")?,
        };
        self.child.kill()?;
        self.child.wait()?;
        self.clear()?;
        Ok(usage)
    }

    /// Removes what it wrote, for good: otherwise the file system would give the room back to the disk
    /// while the next server is measured.
    fn clear(&self) -> Result<()> {
        let folder = self.folder.path();
        std::fs::remove_dir_all(folder).context("remove what the server wrote")?;
        let parent = folder.parent().context("the folder stands in another")?;
        std::fs::File::open(parent)?.sync_all().context("sync the folder")
    }

    fn accepts(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} in {}",
                    self.program.display(),
                    self.folder.path().display()
                );
            }
            let ready = match self.admin {
                Some(admin) => is_ready(admin),
                None => TcpStream::connect(self.ingest).is_ok(),
            };
            if ready {
                return Ok(());
            }
            if begun.elapsed() > ACCEPTS_WITHIN {
                bail!("{} does not accept", self.program.display());
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn node_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("collector-server");
    if !program.is_file() {
        bail!("{} is missing: cargo build --release --workspace --bins", program.display());
    }
    Ok(program)
}

fn spawn(program: &Path, arguments: &[String]) -> Result<Child> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("start {}", program.display()))
}

fn is_ready(admin: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect(admin) else { return false };
    let asked =
        write!(stream, "GET /health/ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn status_bytes(pid: u32, key: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {key} in status"))?;
    Ok(kib << 10)
}
