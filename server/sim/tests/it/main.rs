//! Seeds.

// Clippy knows tests by `#[test]`; their helpers are tests too.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod seeds;
