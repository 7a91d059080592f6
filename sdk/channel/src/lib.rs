//! Channels: what stands between receiving and delivering.
//!
//! ```text
//!  put ─▶ Shard ─────────────▶ Log ──▶ SealedLineage ─┐
//!         │ admission table     ▲                     ├─▶ ChannelReader, one for each channel
//!         │ running totals      └── checkpoints       │
//!         └─ watermark ───────────────────────────────┘
//! ```
//!
//! A [`Shard`] owns one lineage. It takes each producer's blocks once and in
//! order, gives every event an offset, writes one record for all of a flow's
//! durable channels, and acknowledges when that is durable. A channel is a view of
//! the lineage: its reader hands out the parts that name it and never passes the
//! watermark. After a restart the lineage is a [`SealedLineage`], and what the
//! shard remembered is rebuilt from checkpoints and records.
//!
//! Flume's transactions map like this. A put is a put transaction: committed when
//! it returns, rolled back when it is refused. A batch from a reader is a take: it
//! is committed at the sink group's cursor, and one that is dropped is read again,
//! in the same order. Room is taken by a put and given back when the cursor passes.
//!
//! FORMAT.md has the bytes of the records.

pub mod conformance;
pub mod record;

mod admission;
mod backlog;
mod calendar;
mod capacity;
mod channel;
mod facts;
mod memory;
mod metrics;
mod reader;
mod recent;
mod recover;
mod sealed;
mod shard;
mod sled_view;
mod spool;
mod totals;
mod watermark;

pub use admission::{
    AdmissionTable, BlockId, CLOSED_KEPT, Entry, IDLE_EVICTABLE, IDLE_KEPT, LastBlock, OpenSession,
    PRODUCERS_MAX, Span,
};
pub use capacity::Capacity;
pub use channel::{DurableChannel, MemoryChannel};
pub use facts::{FACTS_MAX, Facts, NamedChannel};
pub use metrics::ChannelMetrics;
pub use recent::{RECENT_BYTES, RecentMemory};
pub use recover::{
    Rebuilt, RecoverError, first_put_time, lost_events, rebuild, sequences_behind, stop_lineage,
    totals_below,
};
pub use sealed::SealedLineage;
pub use shard::{
    CHECKPOINT_BYTES, ChannelKind, ChannelOptions, Remembered, SessionAnswer, Shard, ShardError,
    ShardOptions,
};
pub use sled_view::{SledView, SledViewError};
pub use spool::{
    Recovered, Spool, SpoolChannel, SpoolChannelOptions, SpoolError, SpoolOptions, Undelivered,
};
pub use totals::{CHANNEL_FULL, ChannelTotals, Totals};
pub use watermark::Watermark;
