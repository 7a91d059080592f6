//! Follows a lineage.
use crate::entry::LogRecord;
use crate::error::LogReadError;
use sdk_event::Lineage;

/// Follows a lineage, from memory while it is near the end, from the disk otherwise.
pub struct LogReader {}

impl LogReader {
    /// The next record that is durable; `None` at the end of the lineage (wait on [`crate::Log::watch`]).
    ///
    /// The first record may begin before the offset asked for. May read the disk, and so block: from
    /// async code call [`next_cached`](Self::next_cached) first. After an error the reader stands where it stood.
    #[expect(clippy::should_implement_trait, reason = "an iterator has no errors")]
    pub fn next(&mut self) -> Result<Option<LogRecord>, LogReadError> {
        unimplemented!()
    }

    /// The next record, if memory has it. Never reads the disk.
    pub fn next_cached(&mut self) -> Option<LogRecord> {
        unimplemented!()
    }

    /// Whether the reader stands at the end of what is durable.
    pub fn at_end(&self) -> bool {
        unimplemented!()
    }

    /// The lineage.
    pub fn lineage(&self) -> Lineage {
        unimplemented!()
    }

    /// The offset after the last record returned, or the one asked for.
    pub fn cursor(&self) -> u64 {
        unimplemented!()
    }

    /// Goes to another offset.
    pub fn seek(&mut self, _offset: u64) {
        unimplemented!()
    }
}
