//! Our programs as processes.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// The program of that name from the build that this test belongs to.
///
/// # Panics
///
/// If it has not been built.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let path = own.ancestors().nth(2).expect("a build directory").join(name);
    assert!(
        path.is_file(),
        "{} is missing: cargo build --release --workspace --bins --examples",
        path.display()
    );
    path
}

/// Something of the build with fail points: `collector-server`, or the tests of a crate (`tests/sdk-wal`).
///
/// # Panics
///
/// If it has not been built.
pub fn failpoints(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let folder = own.ancestors().nth(3).expect("a build directory").join("failpoints");
    let folder = if name.contains('/') { folder } else { folder.join("release") };
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: cargo xtask failpoints", path.display());
    path
}

/// A program that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; −1 if a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// The last line of the standard output as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("no JSON in the last line: {error}\n{self:#?}"))
    }

    /// Fails the test unless the exit code is this one.
    ///
    /// # Panics
    ///
    /// If it is another.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self:#?}");
        self
    }
}

/// Runs one of our programs to its end.
pub fn run<S: AsRef<OsStr>>(name: &str, arguments: &[S]) -> Finished {
    run_with_input(name, arguments, b"")
}

/// The same with something on its standard input.
pub fn run_with_input<S: AsRef<OsStr>>(name: &str, arguments: &[S], input: &[u8]) -> Finished {
    let mut child = Command::new(program(name))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the program");
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_vec();
    // A program that ends before it has read everything closes the pipe: its status tells.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("wait for the program");
    feeder.join().expect("feed the program");
    Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program that goes on in the background. Dropping it ends it with `SIGKILL`.
#[derive(Debug)]
pub struct Running {
    child: Child,
    readers: Vec<JoinHandle<String>>,
}

impl Running {
    /// Starts a command; what it prints is kept for [`Running::finish`].
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let readers = vec![
            collect(child.stdout.take().expect("its output")),
            collect(child.stderr.take().expect("its errors")),
        ];
        Self { child, readers }
    }

    /// Starts one of our programs, its standard error going to a file.
    pub fn start_logged(command: &mut Command, log: &Path) -> Self {
        let file =
            std::fs::OpenOptions::new().create(true).append(true).open(log).expect("open a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("share a log"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self { child, readers: Vec::new() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask for its status")
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself in between; then there is nothing to kill.
        drop(self.child.kill());
        self.child.wait().expect("wait for the program");
    }

    /// As [`signal`].
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end and returns what it printed.
    pub fn finish(mut self, within: Duration) -> Finished {
        let status =
            crate::eventually("the program ends", within, || self.ended().ok_or("still running"));
        let mut printed =
            self.readers.drain(..).map(|reader| reader.join().expect("read its output"));
        Finished {
            status,
            stdout: printed.next().unwrap_or_default(),
            stderr: printed.next().unwrap_or_default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// Sends a signal by its name: `TERM`, `INT`, `STOP`, `CONT`.
///
/// # Panics
///
/// If there is no such signal or process.
pub fn signal(pid: u32, name: &str) {
    let signal = match name {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("no signal is called {other}"),
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(process, signal).unwrap_or_else(|error| panic!("kill -{name} {pid}: {error}"));
}

/// Whether all threads of a process have stopped, as by `SIGSTOP`: none is in the middle of a write then.
pub fn stopped(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // A thread that goes while it is looked at writes nothing any more.
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    // PID (NAME) STATE …, and a name may have a bracket.
    let mut states = stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next());
    states.next() == Some('T') && states.all(|state| state == 'T')
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
