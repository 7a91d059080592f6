//! The crate from outside.

mod admission;
mod channels;
mod faults;
mod harness;
mod records;
mod restart;
mod shard;
mod spool;
mod views;
