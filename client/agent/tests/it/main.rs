//! The program: what it prints, how it ends, and that every line arrives once.

// Clippy knows tests by `#[test]`; their helpers are tests too.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod agent;
mod command;
mod once;
mod pages;
mod twin;
