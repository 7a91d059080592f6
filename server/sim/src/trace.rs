//! What happened, in lines that a person can read.

use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A list of lines, or nothing at all: most seeds pass, and nobody reads theirs.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    lines: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Trace {
    /// One that is kept.
    pub(crate) fn kept() -> Self {
        Self { lines: Some(Arc::default()) }
    }

    /// Adds a line.
    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let mut lines = lines.lock().expect("no panic while the lock is held");
            lines.extend_from_slice(line().as_bytes());
            lines.push(b'\n');
        }
    }

    /// Adds what the node itself logs, for as long as the guard lives.
    pub(crate) fn listen(&self) -> Option<tracing::subscriber::DefaultGuard> {
        self.lines.as_ref()?;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("info"))
            .with_ansi(false)
            .without_time()
            .with_writer(self.clone())
            .finish();
        Some(tracing::subscriber::set_default(subscriber))
    }

    /// Everything.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.as_ref().map(|lines| {
            let lines = lines.lock().expect("no panic while the lock is held");
            String::from_utf8_lossy(&lines).into_owned()
        });
        lines.unwrap_or_default()
    }
}

impl io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(lines) = &self.lines {
            lines.lock().expect("no panic while the lock is held").extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Trace {
    type Writer = Trace;

    fn make_writer(&'a self) -> Trace {
        self.clone()
    }
}
