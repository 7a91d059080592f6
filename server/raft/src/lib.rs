//! Drives the replicated state of `server-cluster` with raft-rs.
//!
//! ```text
//!   propose ──▶ ┌────────────────────────── thread "raft" ───────────────────────────┐
//!   peers   ──▶ │ wait ▶ apply the event ▶ on_ready:  journal ▷ … ▷ persisted        │──▶ peers
//!   tick    ──▶ │                                     committed ▶ State ▶ answers     │──▶ readers
//!               └──────────────┬─────────────────────────────────────┬───────────────┘
//!                              ▼                                     ▼
//!                 log of its own (sdk-wal): entries     snapshot files: state, conf state,
//!                 and hard state as one record,         hard state and applied index in one;
//!                 fsynced before any message that       the newest two are kept, the log is cut
//!                 depends on them leaves                behind the older
//! ```
//!
//! One thread owns the Raft node: it waits for something to happen, applies it, then hands on what
//! Raft has ready. It never waits for a disk: the log has its own threads and wakes it when a record
//! is durable, snapshots are written by another, so that ticks and heartbeats go on while a disk
//! stalls. Everybody else has a [`RaftHandle`].
//!
//! A cluster of one takes the same path: it elects itself, and a proposal is answered when its record
//! is durable and applied.
//!
//! raft-rs panics when an invariant of its own is broken. Then the thread ends, every handle says
//! [`ProposeError::Dead`], and the task that [`Raft::start`] has started ends with a [`Fatal`], so that
//! the process can end.

mod changes;
mod driver;
mod entries;
mod error;
mod handle;
mod journal;
mod limits;
mod logger;
mod node;
mod options;
mod shared;
mod snapshots;
mod start;
mod status;
mod transport;

pub use changes::Changes;
pub use driver::Driver;
pub use error::{Fatal, OpenError, ProposeError};
pub use handle::{Proposed, RaftHandle};
pub use limits::PROPOSAL_BYTES_MAX;
pub use node::MemberChange;
pub use options::RaftOptions;
pub use start::Raft;
pub use status::{Role, Status};
pub use transport::{NoPeers, Transport};
