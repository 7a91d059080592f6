//! The ingest face through its public face: a real server on port 0 over a shard in memory.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod append;
mod blocks;
mod harness;
mod health;
mod levels;
mod limits;
mod producer;
mod proxy;
mod real;
mod send;
mod sink;
mod speed;
mod twin;
