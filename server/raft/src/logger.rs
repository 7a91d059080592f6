//! raft-rs speaks slog; we speak tracing.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record};

/// A logger for raft-rs whose lines come out as ours.
pub(crate) fn logger() -> Logger {
    Logger::root(Bridge, slog::o!())
}

struct Bridge;

impl Drain for Bridge {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        // Its "info" tells each step of an election, which is our "debug".
        let said = record.msg();
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(%said, "raft"),
            Level::Warning => tracing::warn!(%said, "raft"),
            Level::Info => tracing::debug!(%said, "raft"),
            Level::Debug | Level::Trace => tracing::trace!(%said, "raft"),
        }
        Ok(())
    }
}
