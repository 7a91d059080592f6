//! The end of the process, as a thing that is handed in.

use std::sync::Mutex;

/// The exit codes that every program of ours uses.
pub mod code {
    /// Done and well.
    pub const OK: u8 = 0;
    /// The answer is bad: degraded, unbalanced, not acknowledged, invalid.
    pub const BAD: u8 = 1;
    /// Nobody answered.
    pub const UNREACHABLE: u8 = 2;
    /// Called wrongly.
    pub const USAGE: u8 = 64;
    /// A log is dead: a write or an fsync failed.
    pub const LOG_DEAD: u8 = 70;
    /// The data directory belongs to another process.
    pub const LOCKED: u8 = 75;
}

/// How a library ends the process when going on would be wrong.
///
/// [`ProcessExit`] does not return; a simulation's does, after it has marked
/// the process as dead. So a caller stops its own work after the call.
pub trait Exit: Send + Sync + 'static {
    /// Ends the process with `code`; `reason` is a sentence for its operator.
    fn exit(&self, code: u8, reason: &str);
}

/// Ends the real process.
#[derive(Debug, Default, Clone, Copy)]
pub struct ProcessExit;

impl Exit for ProcessExit {
    fn exit(&self, code: u8, reason: &str) {
        tracing::error!(code, reason, "process ends");
        #[expect(clippy::disallowed_methods, reason = "this is the seam")]
        std::process::exit(i32::from(code));
    }
}

/// Remembers the first exit and lets the caller go on. For tests.
#[derive(Debug, Default)]
pub struct RecordedExit {
    first: Mutex<Option<(u8, String)>>,
}

impl RecordedExit {
    /// The code and reason of the first exit, if there was one.
    pub fn first(&self) -> Option<(u8, String)> {
        self.first.lock().expect("no panic while the lock is held").clone()
    }
}

impl Exit for RecordedExit {
    fn exit(&self, code: u8, reason: &str) {
        let mut first = self.first.lock().expect("no panic while the lock is held");
        first.get_or_insert_with(|| (code, reason.to_owned()));
    }
}
