//! Why an event does not go into a block.

/// Why an event or a shared header was not taken. The builder is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Finish this block and push again: the event fits in an empty one.
    #[error("block is full: its {field} would be above {limit}")]
    Full {
        /// What ran out.
        field: &'static str,
        /// Its limit.
        limit: u64,
    },
    /// Will never fit: no block may hold such an event.
    #[error("{field} is {value}, the limit is {limit}")]
    Limit {
        /// What is too large.
        field: &'static str,
        /// How large it is.
        value: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A header without a key.
    #[error("header key is empty")]
    EmptyKey,
    /// One event with two own headers under one key.
    #[error("header key comes twice: {key:?}")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Sequences must ascend, and end below `u64::MAX`.
    #[error("sequence is {found}, the next must be at least {expected} and below {}", u64::MAX)]
    Sequence {
        /// The lowest that may come next.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Shared headers belong before the first event.
    #[error("block has events already, a shared header comes before them")]
    NotEmpty,
}
