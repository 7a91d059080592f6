//! How an edge is doing, as data. The names of fields stay once released.

use serde::{Deserialize, Serialize};

/// Everything about an edge at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeStatus {
    /// Whether its sources run and its spool takes what they read. A node that is
    /// away changes nothing here until the spool is full.
    pub ready: bool,
    /// Whether nothing is wrong at all.
    pub healthy: bool,
    /// What is wrong, in sentences.
    pub reasons: Vec<String>,
    /// The log that durable channels are kept in.
    pub spool: SpoolStatus,
    /// What could be neither put nor delivered.
    pub dead_letters: DeadLetterStatus,
    /// The flows, by name.
    pub flows: Vec<FlowStatus>,
}

/// The log that durable channels are kept in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Bytes of segments that hold something not yet delivered.
    pub used_bytes: u64,
    /// Bytes that the log may use.
    pub quota_bytes: u64,
    /// Bytes that the file system has free, if it said so.
    pub free_bytes: Option<u64>,
    /// `fine`, `warn`, `stop ingest` or `sinks only`.
    pub mark: String,
    /// Ranges of records that cannot be read: corruption.
    pub unreadable: usize,
    /// Why the log is dead, if it is.
    pub dead: Option<String>,
    /// What is kept for flows, channels and sink groups that are no longer there.
    pub orphans: Vec<OrphanStatus>,
}

/// Something kept for nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanStatus {
    /// The flow.
    pub flow: String,
    /// The channel; nothing if the whole flow is gone.
    pub channel: Option<String>,
    /// The sink group; nothing if the whole flow is gone.
    pub group: Option<String>,
    /// Events at most.
    pub events: u64,
}

/// What could be neither put nor delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterStatus {
    /// Events since the start.
    pub events: u64,
    /// Bytes of all their files.
    pub bytes: u64,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// Its name.
    pub name: String,
    /// Its sources, by name.
    pub sources: Vec<SourceStatus>,
    /// Its channels, by name.
    pub channels: Vec<ChannelStatus>,
    /// Its sink groups, by name.
    pub groups: Vec<GroupStatus>,
    /// Its sinks, by name.
    pub sinks: Vec<SinkStatus>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// The word after `type =`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is doing.
    pub state: SourceState,
    /// Why it waits, or why it failed last.
    pub reason: Option<String>,
    /// Events that are stored, since the start.
    pub events: u64,
    /// Blocks that are stored, since the start.
    pub blocks: u64,
    /// Events that a rule dropped before they were stored, since the start.
    pub dropped: u64,
    /// Events that went to the dead letters, since the start.
    pub dead_letters: u64,
    /// Bytes of files that are not stored yet.
    pub lag_bytes: u64,
    /// Files found shorter than what was read of them, since the source began.
    pub truncations: u64,
    /// Files and directories that could not be read, each time.
    pub read_errors: u64,
    /// The files that are followed, by path.
    pub files: Vec<FileStatus>,
}

/// What a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It has not begun yet.
    Starting,
    /// It receives.
    Running,
    /// The spool has no room for what it has received.
    Waiting,
    /// It failed, and is started again after a pause.
    Failed,
    /// It has come to its end.
    Ended,
}

/// One file that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Where it was last seen.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// How much of it is stored.
    pub stored: u64,
    /// The difference, an unfinished last line included.
    pub lag_bytes: u64,
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// The word after `type =`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes of blocks that are stored and not delivered.
    pub pending_bytes: u64,
    /// Events that are stored and not delivered by every sink group. What an
    /// earlier process left behind is counted by offsets: an upper bound.
    pub pending_events: u64,
    /// How many bytes may wait.
    pub capacity_bytes: u64,
}

/// One sink group. A sink outside any group is a group of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// The channel it reads.
    pub channel: String,
    /// Events that it has still to deliver; see [`ChannelStatus::pending_events`].
    pub pending_events: u64,
    /// Events that went to the dead letters, since the start.
    pub dead_lettered_events: u64,
    /// Offsets passed over because they cannot be read, since the start.
    pub lost_offsets: u64,
    /// Why it does not run at the moment.
    pub failure: Option<String>,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// The word after `type =`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its group.
    pub group: String,
    /// How it is.
    pub state: SinkState,
    /// What it said when it last refused, as long as that matters.
    pub reason: Option<String>,
    /// For how long it has not been working, in seconds.
    pub failing_seconds: Option<f64>,
    /// When a sink that is out is tried again, in seconds.
    pub retry_seconds: Option<f64>,
    /// Events it has taken, since the start.
    pub delivered_events: u64,
    /// Batches it has taken, since the start.
    pub delivered_batches: u64,
    /// Deliveries it refused, since the start.
    pub failed_deliveries: u64,
}

/// How a sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// There was nothing to deliver yet.
    Idle,
    /// It took what it was last given.
    Working,
    /// It could not be reached, and is tried again.
    Unavailable,
    /// It asked for a pause.
    Paused,
    /// It refused events for good; they are dead letters.
    Rejecting,
}
