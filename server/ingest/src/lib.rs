//! The ingest face of a node: gRPC in, acknowledgements out.
//!
//! ```text
//! socket ─▶ HTTP/2 ─▶ layers ─┬─▶ Append stream ─▶┐
//!  counts     tonic   limits  └─▶ Send lane ─────▶┴─▶ ShardHandle::put ─▶ answer
//!  bytes                          builds blocks        (the node's)
//! ```
//!
//! [`serve`] runs it on a listener, over a [`Router`] that finds the shard of a producer; what it
//! finds is a [`SourceShard`], unless a test has something else in mind. Every
//! answer says at which level a block is stored and where; everything that can grow has a limit in
//! [`limits`], and at the limit callers are told when to come back.

mod health;
pub mod limits;
mod router;
mod server;
mod shard;

mod append;
mod body;
mod connection;
mod layers;
mod levels;
mod memory;
mod metrics;
mod refusal;
mod send;
mod service;
mod status;
mod wire;

pub use health::Health;
pub use metrics::{CodeLabel, Metrics};
pub use router::{CommitError, Gap, OpenSession, RouteError, Router, Session, ShardHandle};
pub use server::{Options, ServeError, serve};
pub use shard::{Committed, SourceShard};
