//! The log through its public face.

// Clippy knows tests by `#[test]`; their helpers are tests too.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod basics;
mod freeing;
mod model;
mod reads;
mod repair;
mod sectors;
mod slow_fill;
mod support;
mod threads;
mod unreadable;
