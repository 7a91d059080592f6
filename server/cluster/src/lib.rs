//! The replicated state of a cluster, pure.
//!
//! Every node applies the same [`Command`]s in the same order to a [`State`] and gets the same
//! state and the same [`Reply`], so nothing here reads a clock, a disk, the network or randomness,
//! and nothing iterates in an order of its own. Time arrives inside commands, as durations that the
//! leader counts on its own clock. `server/raft` decides the order; this crate decides what the
//! commands mean.
//!
//! - [`state`]: what is known, a file each: nodes, flows, shards and lineages, ledgers, penalties.
//! - [`command`]: what can happen, a file each.
//! - [`query`]: what a node asks of the state to know what it has to do.
//! - [`codec`]: the bytes of commands and snapshots.
//!
//! # How proposals are applied once
//!
//! A proposal whose answer was lost is proposed again. What the holder of a drain token proposes is
//! numbered under its token, applied in that order, and a repeat gets the first answer
//! ([`command::OnLedger`]). Every other command is compare-and-set or says the same thing twice
//! without harm; each file says which.

pub mod codec;
pub mod command;
pub mod id;
pub mod limits;
pub mod query;
pub mod state;

pub use command::{Command, Rejected, Reply};
pub use id::{ClusterId, DirectoryId, FlowId, GroupNumber, NodeId, StartId};
pub use state::State;
