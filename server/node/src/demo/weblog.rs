//! A web server's access log, written as a web server writes it.

use sdk_flow::{Clock, Entropy};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often lines are written, so that the log grows steadily.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// The log is rotated by rename after so many bytes, as logrotate would.
const ROTATE_BYTES: u64 = 16 << 20;

const PATHS: [&str; 8] = [
    "/",
    "/index.html",
    "/cart",
    "/checkout",
    "/products/42",
    "/products/1337",
    "/api/v1/search?q=boots",
    "/favicon.ico",
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15",
    "curl/8.14.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

/// Writes lines in the combined log format at a steady rate.
pub(super) struct WebLog {
    path: PathBuf,
    rate: u64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    written: Arc<AtomicU64>,
}

impl WebLog {
    pub(super) fn new(
        folder: &Path,
        rate: u64,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { path: folder.join("access.log"), rate, clock, entropy, written: Arc::default() }
    }

    /// How many lines have been written.
    pub(super) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    /// Writes until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) -> std::io::Result<()> {
        let mut file = open(&self.path)?;
        let (mut bytes, mut rotations) = (0_u64, 0_u32);
        let begun = self.clock.monotonic();
        let mut every = tokio::time::interval(WRITE_EVERY);
        let mut lines = Vec::new();
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            let due = self.due(self.clock.monotonic().saturating_sub(begun));
            let time = self.time();
            lines.clear();
            for number in self.written.load(Ordering::Relaxed)..due {
                self.line(&mut lines, &time, number);
            }
            file.write_all(&lines)?;
            bytes += lines.len() as u64;
            self.written.store(due, Ordering::Relaxed);
            if bytes >= ROTATE_BYTES {
                rotations += 1;
                rotate(&self.path, rotations)?;
                file = open(&self.path)?;
                bytes = 0;
            }
        }
        Ok(())
    }

    /// How many lines there should be after so long.
    fn due(&self, elapsed: Duration) -> u64 {
        u64::try_from(elapsed.as_millis() * u128::from(self.rate) / 1_000).unwrap_or(u64::MAX)
    }

    fn time(&self) -> String {
        jiff::Timestamp::from_millisecond(self.clock.wall_ms())
            .map(|now| now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string())
            .unwrap_or_default()
    }

    fn line(&self, lines: &mut Vec<u8>, time: &str, number: u64) {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        let [a, b, c, d, e, f, g, _] = random;
        let path = PATHS[usize::from(e) % PATHS.len()];
        let agent = AGENTS[usize::from(f) % AGENTS.len()];
        let status = if g < 230 {
            200
        } else if g < 250 {
            404
        } else {
            500
        };
        let size = u32::from(a) * 97 + u32::from(b);
        // Writing to memory cannot fail.
        drop(writeln!(
            lines,
            "10.{b}.{c}.{d} - - [{time}] \"GET {path} HTTP/1.1\" {status} {size} \"-\" \"{agent}\" {number}"
        ));
    }
}

#[expect(clippy::disallowed_methods, reason = "plays a web server, which is no part of the node")]
fn open(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::create(path)
}

#[expect(clippy::disallowed_methods, reason = "plays logrotate, which is no part of the node")]
fn rotate(path: &Path, number: u32) -> std::io::Result<()> {
    std::fs::rename(path, path.with_extension(format!("log.{number}")))
}
