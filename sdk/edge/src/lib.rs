//! Flows that run by themselves on one machine: the agent's, and the demo's.
//!
//! An [`Edge`] builds what a [`FlowSpec`](sdk_config::FlowSpec) says from the parts
//! of `sdk` (sources, interceptors, selector, channels, sinks in their groups), runs
//! it, and stops it in order. There is no cluster: the durable channels of all its
//! flows are views of one log in its data directory, each flow's positions and
//! cursors are records in that log, and penalties are its own.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use sdk_edge::{Edge, EdgeOptions};
//!
//! let text = std::fs::read_to_string("agent.toml")?;
//! let config = sdk_config::parse_agent(&text, "agent.toml", &sdk_config::process_env)?.value;
//! let edge = Edge::start(EdgeOptions::new(config.agent.data_dir, config.flows)).await?;
//! println!("{:?}", edge.status());
//! edge.stop(Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is bounded
//!
//! The disk by the log's quota and each channel's capacity: at the limit sources
//! wait, and taildir's files are the buffer. Dead letters by
//! [`DEAD_LETTERS_BYTES_MAX`]: at it, sources and sinks wait too. Memory by the
//! log's cache, what may be in flight to it (16 MiB), and a batch of 4 MiB for each
//! sink group.

mod edge;
mod error;
mod options;

mod data_dir;
mod dead_letters;
mod flow;
mod group;
mod intake;
mod metrics;
mod sinks;
mod source;
mod status;
mod watch;

pub use dead_letters::{DEAD_LETTERS_BYTES_MAX, DeadLetterBox};
pub use edge::{Edge, EdgeStopped};
pub use error::{EdgeError, EdgeFailure};
pub use options::EdgeOptions;
pub use sinks::{SinkBuilder, StandardSinks};
pub use status::{
    ChannelStatus, DeadLetterStatus, EdgeStatus, FileStatus, FlowStatus, GroupStatus, OrphanStatus,
    SinkState, SinkStatus, SourceState, SourceStatus, SpoolStatus,
};
