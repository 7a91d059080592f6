//! The Raft node through its public face.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cluster;
mod damage;
mod faults;
mod full;
mod ledger;
mod single;
mod support;
mod threads;
mod votes;
