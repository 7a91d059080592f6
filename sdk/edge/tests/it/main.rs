//! Edges through their public face: real files in, a twin of the tier out.

// Clippy knows tests by `#[test]`; their helpers are tests too.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod bounds;
mod crash;
mod directory;
mod letters;
mod outage;
mod shapes;
mod support;
