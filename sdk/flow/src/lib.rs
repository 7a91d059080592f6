//! How events move: the contracts between sources, channels and sinks, and
//! what stands between them.
//!
//! ```text
//! source ── Block ──▶ ChannelProcessor ── Put ──▶ Channel ── Batch ──▶ GroupRunner ──▶ Sink
//!                     interceptors, selector       (a log)   ChannelReader   │
//!                                                      ▲                     ▼
//!                                                      └───── floor ───── Cursor
//! ```
//!
//! A [`Put`] is one accepted block; it is stored whole or not at all, in every
//! channel at once. A [`ChannelReader`] follows a lineage and never passes its
//! watermark; a sink group's [`Cursor`] is where it stands. Flume's put
//! transaction is [`Channel::put`]; its take transaction is a [`Batch`] that is
//! either committed at the cursor or, dropped, read again.
//!
//! The other modules are the seams that simulation needs: time, randomness,
//! background tasks and the end of the process.

mod causes;
mod clock;
mod entropy;
mod exit;
mod tasks;

mod channel_set;
mod position;
mod positions;
mod put;
mod receipt;
mod stored;

mod channel;
mod cursor;
mod sink;
mod source;

mod channel_numbers;
mod interceptor;
mod processor;

mod group;
mod penalties;

pub use causes::with_causes;
pub use channel::{Channel, ChannelReader, ReadError};
pub use channel_numbers::ChannelNumbers;
pub use channel_set::ChannelSet;
pub use clock::{Clock, ManualClock, SystemClock};
pub use cursor::{Cursor, CursorError};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use exit::{Exit, ProcessExit, RecordedExit, code};
pub use group::{
    DeadLetters, Ended, GroupCounts, GroupError, GroupOptions, GroupRunner, GroupStats, Member,
    Order, Policy, SinkCounts, SinkFailure,
};
pub use interceptor::{Draft, HostNames, Interceptor, Scratch, SharedHeaders};
pub use penalties::{Admission, LocalPenalties, Penalised, Penalties, jittered, penalty};
pub use position::{FoldedPositions, PositionError, SourcePosition};
pub use positions::Positions;
pub use processor::{BuildError, ChannelProcessor, Environment};
pub use put::{Dropped, Part, Put};
pub use receipt::{Exhaustion, PutError, Receipt, Rejection};
pub use sink::{Sink, SinkError};
pub use source::{Intake, Source, SourceError, SourceStart};
pub use stored::{Batch, Stored, StoredEvents};
pub use tasks::{Outcome, Stopped, TaskError, Tasks};

/// Any error, where the caller can do nothing with it but pass it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
