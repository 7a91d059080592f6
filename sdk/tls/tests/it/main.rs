//! What the crate promises, on sockets and with certificates made here.

// Clippy knows tests by `#[test]`; their helpers are tests too, and write the files they need.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod access;
mod certificates;
mod handshake;
mod loading;
