//! Every limit of the ingest face, in one place.

use std::time::Duration;

pub use sdk_event::limits::MESSAGE_BYTES_MAX;

/// Window of one HTTP/2 stream. The default of 64 KiB costs more than half of the rate.
pub const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Window of one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Largest HTTP/2 frame that is taken.
pub const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// Largest list of HTTP/2 headers that is taken.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Streams that a peer may have reset before they were looked at.
pub const PENDING_RESETS_MAX: usize = 64;

/// Answers that wait for a slow reader of one stream.
pub const ANSWERS_QUEUED_MAX: usize = 256;

/// Messages of one stream that have no answer yet, most of them stored and waiting to be committed.
pub const UNANSWERED_MAX: usize = 65_536;

/// Events of `Send` calls that go into one block, and of one call: its answer says of each where it is, which
/// comes to 1.1 MB, and clients take 4 MiB unless told otherwise.
pub const SEND_BLOCK_EVENTS_MAX: usize = 16_384;

/// Bytes of `Send` calls that go into one block, unless one call alone has more.
pub const SEND_BLOCK_BYTES_TARGET: usize = 1024 * 1024;

/// `Send` calls of one flow that wait for the block before theirs.
pub const SEND_QUEUED_MAX: usize = 16_384;

/// Flows that have a lane for `Send`.
pub const SEND_LANES_MAX: usize = 4_096;

/// How soon a block is tried again that found no memory to be decompressed in.
pub const UNPACK_RETRY: Duration = Duration::from_millis(20);

/// How long a peer is told to wait when nothing says how long it takes.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The limits that a node, or a test, may choose.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; one more is closed at once.
    pub connections_max: usize,
    /// Streams that one connection may have open; more are refused by HTTP/2 itself.
    pub streams_per_connection_max: u32,
    /// Unary calls under way on all connections; one more is answered `RESOURCE_EXHAUSTED`.
    pub calls_max: usize,
    /// Bytes of one session that are not stored yet, decompressed as well; at it the stream is not read.
    pub in_flight_bytes_max: usize,
    /// Bytes that are read and not stored, and what they unpack to, of all connections; at it no socket is
    /// read.
    pub memory_bytes_max: usize,
    /// How long memory may stand at its limit with nothing stored before the connection that
    /// holds the most unfinished bytes is cut.
    pub memory_stuck: Duration,
    /// How long a block waits for the log's own queue before it is refused.
    pub log_patience: Duration,
    /// How long a connection may take for its first bytes.
    pub first_bytes: Duration,
    /// How long a stream may be silent with nothing unanswered.
    pub idle_stream: Duration,
    /// How long a peer may leave its answers unread.
    pub unread_answers: Duration,
    /// The longest that a unary call may take, whatever deadline it came with.
    pub call_deadline: Duration,
    /// Silence after which a connection is probed.
    pub keepalive_interval: Duration,
    /// How long the probe may take.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 16_384,
            streams_per_connection_max: 64,
            calls_max: 16_384,
            in_flight_bytes_max: 8 * 1024 * 1024,
            memory_bytes_max: 256 * 1024 * 1024,
            memory_stuck: Duration::from_secs(5),
            log_patience: Duration::from_secs(5),
            first_bytes: Duration::from_secs(10),
            idle_stream: Duration::from_secs(60),
            unread_answers: Duration::from_secs(60),
            call_deadline: Duration::from_secs(120),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}
