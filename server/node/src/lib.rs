//! The aggregator node: control plane, log, shards, drains and faces wired together.
//!
//! ```text
//!  gRPC ─▶ server-ingest ─▶ shard (one lineage) ─▶ log ┄ durable ┄▶ acknowledgement
//!                             │                     │
//!                             ▼                     ▼
//!                          memory channels       drain (one for each sink group and lineage) ─▶ files
//!                                                   │ token, Intent, Commit, floor
//!                                                   ▼
//!                             Raft of one ─▶ replicated state ─▶ floors, spec versions, penalties
//! ```
//!
//! A start seals what the process before it has left open and opens the next lineage of each shard:
//! `lineages`. What is stored is delivered by the version of the spec under which it was stored:
//! `version`. Everything that is said about a node comes from `figures`.

pub mod arguments;

mod admin;
mod check;
mod cluster;
mod committed;
mod data_dir;
mod demo;
mod door;
mod drains;
mod figures;
mod file_systems;
mod flows;
mod http;
mod ledger;
mod letters;
mod lineages;
mod losses;
mod memory;
mod node;
mod off_thread;
mod penalties;
mod rate;
mod seed;
mod settings;
mod shard;
mod sources;
mod version;
pub mod works;

pub use check::check;
pub use demo::{DemoOutcome, demo};
pub use figures::Figures;
pub use node::{Addresses, Node, NodeOptions, RunError, run};
pub use settings::settings;
