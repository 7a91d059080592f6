//! The bounds of the replicated state, by name.

/// Bytes of state at which commands that make it grow are refused.
pub const STATE_BYTES_MAX: u64 = 64 << 20;
/// Room above [`STATE_BYTES_MAX`] for the commands that make it smaller in the end: Commit, Floor,
/// Seal, Acquire.
pub const STATE_RESERVE_BYTES: u64 = 8 << 20;

/// Intents or Commits in one proposal.
pub const FILES_PER_BATCH_MAX: usize = 256;
/// Bytes at which a holder closes a batch of Intents or Commits, though fewer than
/// [`FILES_PER_BATCH_MAX`].
pub const BATCH_BYTES: usize = 64 << 10;
/// Answers kept per token: a holder has at most this many proposals unanswered.
pub const ANSWERS_KEPT: usize = 8;
/// Builds remembered per final name.
pub const ATTEMPTS_MAX: usize = 16;
/// Open Intents, committed ranges and holes of one bucket, each.
pub const RANGES_PER_BUCKET_MAX: usize = 4_096;
/// Staging directories of earlier tokens that one ledger remembers.
pub const EARLIER_MAX: usize = 4_096;
/// Names of rules in one count of drops; what comes after them counts as [`OTHER_RULES`].
pub const DROP_RULES_MAX: usize = 256;
/// The name that gathers the rules beyond [`DROP_RULES_MAX`].
pub const OTHER_RULES: &str = "other";

/// Nodes of a cluster.
pub const NODES_MAX: usize = 256;
/// Addresses of one node.
pub const ADDRESSES_MAX: usize = 16;
/// Flows of a cluster.
pub const FLOWS_MAX: usize = 1_024;
/// Shards of a flow.
pub const SHARDS_MAX: u32 = 4_096;
/// Replicas of a lineage.
pub const REPLICAS_MAX: usize = 7;
/// Channels of a flow: sets of them are 64-bit maps.
pub const CHANNELS_MAX: usize = 64;
/// Sinks of a flow, and groups.
pub const SINKS_MAX: usize = 256;
/// Bytes of one version of a flow's spec.
pub const SPEC_BYTES_MAX: usize = 1 << 20;
/// Lost ranges listed per lineage.
pub const LOST_RANGES_MAX: usize = 65_536;
/// Roots with a recorded id.
pub const ROOTS_MAX: usize = 4_096;
/// Seals in one proposal.
pub const SEALS_PER_BATCH_MAX: usize = 4_096;

/// Bytes of a name: of a node, a flow, a channel, a sink, a group, a rule.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a final file's name.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bytes of a directory or root: a rendered path and what stands before it.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Bytes of an address.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Bytes of a reason; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 512;

/// The first penalty is twice this, and each further one doubles.
pub const PENALTY_BASE_MS: u64 = 1_000;
/// By how much jitter may shorten a penalty, in thousandths.
pub const PENALTY_JITTER_PERMILLE_MAX: u16 = 250;

/// The highest feature level this build knows.
pub const FEATURE_LEVEL: u32 = 1;
/// The numbered function that renders paths under feature level 1.
pub const RENDERING: u32 = 1;
