//! The bounds of the Raft node, by name.

/// Bytes of one command.
pub const PROPOSAL_BYTES_MAX: usize = 3 << 20;
/// Proposals that wait for their answer; further ones wait for room.
pub(crate) const PROPOSALS_MAX: usize = 4_096;
/// Bytes of proposals that are not committed yet; further ones are refused as busy.
pub(crate) const UNCOMMITTED_BYTES_MAX: u64 = 32 << 20;
/// Messages from peers that wait for the node; further ones are dropped, as a network may.
pub(crate) const MESSAGES_MAX: usize = 4_096;
/// Events applied before Raft is asked what is ready.
pub(crate) const EVENTS_PER_TURN: usize = 1_024;
/// Bytes of entries in one message to a peer.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Messages with entries on their way to one peer.
pub(crate) const MESSAGES_IN_FLIGHT_MAX: usize = 256;
/// Bytes of committed entries applied in one step.
pub(crate) const APPLY_BYTES_MAX: u64 = 4 << 20;
/// Bytes of entries in one record of the log, where one entry alone is not longer.
pub(crate) const RECORD_BYTES_MAX: usize = 2 << 20;
/// Entries kept in memory behind a snapshot, so that a peer that is a little late needs none.
pub(crate) const ENTRIES_KEPT: usize = 2_000;
/// Bytes of them.
pub(crate) const ENTRIES_KEPT_BYTES: usize = 4 << 20;
/// Ticks between tries of a snapshot for which there was no room on the disk.
pub(crate) const SNAPSHOT_RETRY_TICKS: u64 = 100;
/// Ticks after which a snapshot that was sent counts as lost, unless the transport has said before.
pub(crate) const SNAPSHOT_SENT_TICKS: u64 = 150;
