//! Drives the programs as a user would: starts them, waits for what they print, kills them, reads
//! what they leave behind. The tests themselves are in `tests/it`, a file for each promise.
//!
//! Nothing here sleeps to wait for the product: [`eventually`] asks again until the answer is the
//! one expected, and fails with the last answer.

mod hadoop;
mod hdfs;
mod node;
mod program;
mod skip;
mod tree;
mod wait;

pub use hadoop::Hadoop;
pub use hdfs::Hdfs;
pub use node::{Node, NodeOptions};
pub use program::{Finished, Running, failpoints, program, run, run_with_input, signal, stopped};
pub use skip::{full, need, rounds, say, skip};
pub use tree::{Tree, final_files};
pub use wait::{eventually, pause, wait_for};
