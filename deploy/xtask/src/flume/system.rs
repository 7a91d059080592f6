//! What the benchmark needs of whoever is measured.

use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file is rolled after so long, by both.
pub(super) const ROLL_SECONDS: u64 = 5;

/// A file is rolled at this size, by both.
pub(super) const ROLL_BYTES: u64 = 128 << 20;

pub(super) const BODY_BYTES: u64 = 500;

pub(super) const BATCH_EVENTS: u64 = 500;

/// Batches that wait for their answer, of both.
pub(super) const IN_FLIGHT: u64 = 8;

/// A batch without an answer is sent again for so long.
pub(super) const TIMEOUT_SECONDS: u64 = 900;

/// What is sent.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Events a second, whatever the answers do; none: as many as are answered.
    pub(super) rate: Option<u64>,
    pub(super) seconds: u64,
}

/// A server, its client, and where its files go.
pub(super) trait System {
    fn name(&self) -> &'static str;

    /// Where everything of it lies.
    fn folder(&self) -> &Path;

    /// The server. Without `delivers`, all that it takes in waits.
    fn server(&self, delivers: bool) -> Result<Command>;

    /// Whether it takes events now.
    fn accepts(&self) -> bool;

    /// Events that it has taken in and not yet delivered.
    fn pending(&self) -> Result<u64>;

    /// What puts a load on it, keeps a ledger and prints a report.
    fn client(&self, load: Load, ledger: &Path) -> Command;

    /// Whether the client ends early when it is interrupted; otherwise when its input ends.
    fn client_ends_by_signal(&self) -> bool;

    /// Whether a file is one that it has not finished.
    fn is_unfinished(&self, file: &Path) -> bool;

    /// Below it are the files that it delivers.
    fn files(&self) -> PathBuf {
        self.folder().join("files")
    }
}

/// A text with its `@words@` filled in.
pub(super) fn fill(text: &str, words: &[(&str, &dyn std::fmt::Display)]) -> String {
    words.iter().fold(text.to_owned(), |text, (word, value)| {
        text.replace(&format!("@{word}@"), &value.to_string())
    })
}
