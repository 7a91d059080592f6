//! A whole node in one thread, with faults and a seed.
//!
//! ```text
//!  producers ─▶ admission ─▶ shard ─▶ log ─▶ drain ─▶ finals
//!                                      │        │
//!                     Raft of one ◀────┼────────┘        all of it real, on
//!                                      ▼
//!                  faulty disk     faulty disk        faulty file system
//! ```
//!
//! A [`World`] is one seed: a disk, a file system, some producers, and a few lives of a node on them, each
//! of which ends somewhere in the middle of something. What is checked is what the node promises, by what
//! stands in final files in the end: everything acknowledged is there, once, in order, and the books agree.
//! Time is virtual and passes only when nothing else can happen.

mod clock;
mod finals;
mod life;
mod outage;
mod panics;
mod producer;
mod pump;
mod runner;
mod trace;
mod world;

pub use outage::Outage;
pub use runner::{Outcome, run, run_all, run_outage};
pub use world::{Sums, World};
