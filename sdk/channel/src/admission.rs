//! Who has put what: dense admission, by producer.
//!
//! A shard takes each producer's blocks in the order of their sequence numbers,
//! each number once. For that it remembers, for every producer, what it expects
//! next. The memory is exact: every change of it is a record in the log, and the
//! same function that applies a record when it is written applies it when it is
//! replayed. What is written down decides, never the clock at replay.

mod entry;
mod store;
mod table;

pub use entry::{Entry, LastBlock, Span};
pub use table::{
    AdmissionTable, BlockId, CLOSED_KEPT, IDLE_EVICTABLE, IDLE_KEPT, OpenSession, PRODUCERS_MAX,
};

pub(crate) use store::StoreError;
pub(crate) use table::{Refusal, Verdict};
