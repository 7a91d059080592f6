//! The agent on a real web server's log.

use crate::send::quick_roll;
use deploy_acceptance::{Node, Running, Tree, full, need, pause, program, rounds, wait_for};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A real nginx on loopback that logs one line for each request.
struct Nginx {
    folder: PathBuf,
    port: u16,
    running: Running,
}

impl Drop for Nginx {
    /// Its workers outlive a master that is killed.
    fn drop(&mut self) {
        if std::thread::panicking() || self.running.ended().is_some() {
            return;
        }
        self.running.signal("TERM");
        wait_for("nginx ends", Duration::from_secs(10), || self.running.ended().is_some());
    }
}

impl Nginx {
    fn start(binary: &Path, folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let folder = folder.join("nginx");
        std::fs::create_dir_all(folder.join("logs")).expect("make");
        let config = format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {f}/nginx.pid;\nerror_log {f}/logs/error.log;\nevents {{}}\nhttp {{\n access_log {f}/logs/access.log;\n client_body_temp_path {f}/t1; proxy_temp_path {f}/t2; fastcgi_temp_path {f}/t3; uwsgi_temp_path {f}/t4; scgi_temp_path {f}/t5;\n server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }}\n}}\n",
            f = folder.display()
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("write");
        let running = Running::start(
            Command::new(binary).arg("-c").arg(folder.join("nginx.conf")).arg("-p").arg(&folder),
        );
        wait_for("nginx answers", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { folder, port, running }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("logs").join("access.log")
    }

    /// One request whose line in the log carries the number.
    fn request(port: u16, stream: &mut Option<TcpStream>, number: u64) -> bool {
        let connection = stream.take().or_else(|| TcpStream::connect(("127.0.0.1", port)).ok());
        let Some(mut connection) = connection else { return false };
        // In one piece: several small ones would each wait for the answer to the one before.
        let request = format!("GET /{number:09} HTTP/1.1\r\nHost: x\r\n\r\n");
        let sent = connection.write_all(request.as_bytes()).is_ok();
        let mut answer = [0; 1024];
        let answered = sent && connection.read(&mut answer).is_ok_and(|read| read > 0);
        if answered {
            *stream = Some(connection);
        }
        answered
    }
}

/// Requests in the background until told to stop.
struct Clients {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Clients {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                let mut stream = None;
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed) + 1;
                    if Nginx::request(port, &mut stream, number) {
                        sent.store(number, Ordering::Relaxed);
                    }
                    if number % 20 == 0 {
                        // About two thousand requests a second, not as many as the machine can.
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            }
        });
        Self { stop, sent, thread: Some(thread) }
    }

    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("a thread").join().expect("the clients");
        self.sent.load(Ordering::Relaxed)
    }
}

struct Agent {
    folder: PathBuf,
    running: Option<Running>,
}

impl Agent {
    /// `files` are the paths it follows.
    fn new(node: &Node, files: &str, folder: &Path) -> Self {
        let folder = folder.join("agent");
        std::fs::create_dir_all(&folder).expect("make");
        let config = format!(
            r#"
[agent]
data_dir = "{f}/data"
admin = "127.0.0.1:0"
[flow.default.sources.log]
type = "taildir"
channels = ["spool"]
filegroups = {{ access = "{files}" }}
[flow.default.channels.spool]
type = "durable"
capacity = "1GiB"
[flow.default.sinks.tier]
type = "collector"
channel = "spool"
endpoints = ["{endpoint}"]
"#,
            f = folder.display(),
            endpoint = node.ingest()
        );
        std::fs::write(folder.join("agent.toml"), config).expect("write");
        Self { folder, running: None }
    }

    fn start(&mut self) {
        let mut command = Command::new(program("collector-agent"));
        command.arg("--config").arg(self.folder.join("agent.toml"));
        self.running = Some(Running::start_logged(&mut command, &self.folder.join("agent.log")));
    }

    fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }
}

/// The numbers in the order in which they stand in the files.
fn numbers(node: &Node) -> Vec<u64> {
    in_order(&Tree::read(&node.files()).concatenated())
}

/// Every logged line exactly once and in order, once everything has arrived.
fn all_there(node: &Node, log: &Path, sent: u64) {
    wait_for("every line has arrived", Duration::from_secs(180), || {
        numbers(node).len() as u64 >= sent
    });
    node.drained(Duration::from_secs(60));
    let found = numbers(node);
    // A request without an answer was sent again under its number, and may stand in the log twice.
    let logged = logged(log);
    if found != logged {
        let at = found.iter().zip(&logged).position(|(found, logged)| found != logged);
        let at = at.unwrap_or(found.len().min(logged.len()));
        let around = |numbers: &[u64]| {
            numbers[at.saturating_sub(3).min(numbers.len())..(at + 5).min(numbers.len())].to_vec()
        };
        panic!(
            "{} lines found, {} logged; they part at {at}: found {:?}, logged {:?}",
            found.len(),
            logged.len(),
            around(&found),
            around(&logged)
        );
    }
}

/// The numbers in the log and those it was rotated to, the oldest first.
fn logged(log: &Path) -> Vec<u64> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    let name = log.file_name().expect("a name").to_string_lossy().into_owned();
    for entry in log.parent().expect("a folder").read_dir().expect("list the logs").flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = file.strip_prefix(&name) else { continue };
        // access.log, then access.log.1, …: the higher the number, the older.
        let age = rest.strip_prefix('.').and_then(|number| number.parse().ok()).unwrap_or(0);
        files.push((age, entry.path()));
    }
    files.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
    let text = files.iter().map(|(_, path)| std::fs::read(path).expect("read a log"));
    in_order(&text.collect::<Vec<_>>().concat())
}

fn in_order(bytes: &[u8]) -> Vec<u64> {
    String::from_utf8_lossy(bytes)
        .lines()
        .filter_map(|line| line.split("GET /").nth(1)?.get(..9)?.parse().ok())
        .collect()
}

fn rotate(logrotate: &Path, nginx: &Nginx, folder: &Path, copytruncate: bool) {
    let how = if copytruncate {
        "copytruncate".to_owned()
    } else {
        format!("create\n postrotate\n  kill -USR1 {}\n endscript", nginx.running.pid())
    };
    let config = folder.join("logrotate.conf");
    std::fs::write(
        &config,
        format!("{} {{\n su root root\n rotate 50\n {how}\n}}\n", nginx.log().display()),
    )
    .expect("write");
    let status = Command::new(logrotate)
        .args(["--force", "--state"])
        .arg(folder.join("logrotate.state"))
        .arg(&config)
        .status()
        .expect("run logrotate");
    assert!(status.success());
}

#[test]
fn every_line_of_nginx_arrives_once_through_kills_and_rotations() {
    let Some(binary) = need("nginx", "apt-get install nginx-light") else { return };
    let Some(logrotate) = need("logrotate", "apt-get install logrotate") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::new(quick_roll());
    node.start();
    let nginx = Nginx::start(&binary, folder.path());
    let mut agent = Agent::new(&node, &format!("{}*", nginx.log().display()), folder.path());
    agent.start();
    let clients = Clients::start(nginx.port);
    for round in rounds(6, 40) {
        pause(Duration::from_millis(700 + round * 131 % 900));
        match round % 3 {
            0 => {
                node.kill();
                node.start();
            }
            1 => {
                agent.kill();
                agent.start();
            }
            _ => rotate(&logrotate, &nginx, folder.path(), false),
        }
    }
    let sent = clients.end();
    all_there(&node, &nginx.log(), sent);
}

#[test]
fn copytruncate_while_nothing_is_written_repeats_and_loses_nothing() {
    let Some(binary) = need("nginx", "apt-get install nginx-light") else { return };
    let Some(logrotate) = need("logrotate", "apt-get install logrotate") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::new(quick_roll());
    node.start();
    let nginx = Nginx::start(&binary, folder.path());
    // The log alone: a copy of it is another file with the same lines.
    let mut agent = Agent::new(&node, &nginx.log().display().to_string(), folder.path());
    agent.start();
    let mut stream = None;
    let mut sent = 0;
    for round in 1..=3 {
        while sent < round * 500 {
            // A connection that nginx has closed is opened anew by the next try.
            sent += u64::from(Nginx::request(nginx.port, &mut stream, sent + 1));
        }
        all_there(&node, &nginx.log(), sent);
        rotate(&logrotate, &nginx, folder.path(), true);
    }
}

#[test]
fn an_outage_of_the_node_loses_nothing() {
    let Some(binary) = need("nginx", "apt-get install nginx-light") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::new(quick_roll());
    node.start();
    let nginx = Nginx::start(&binary, folder.path());
    let mut agent = Agent::new(&node, &format!("{}*", nginx.log().display()), folder.path());
    agent.start();
    let clients = Clients::start(nginx.port);
    pause(Duration::from_secs(2));
    node.kill();
    pause(Duration::from_secs(if full() { 600 } else { 45 }));
    let pid = agent.running.as_ref().expect("a running agent").pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let resident: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .expect("its memory");
    assert!(resident < 256 << 10, "{resident} KiB");
    node.start();
    let sent = clients.end();
    all_there(&node, &nginx.log(), sent);
}
