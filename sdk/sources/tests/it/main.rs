//! What the sources promise, on real files and an intake that can fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod seq;
mod spool;
mod taildir;
