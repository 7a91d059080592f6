//! Who is at the other end, and what it may do.
//!
//! ```text
//! files ─▶ ServerTls ─▶ accept ─▶ Connection ─▶ Peer ┐
//!   │                                                ├─▶ Access ─▶ Caller: may_send, may_view, …
//!   └────▶ Access (tokens)        authorization: ────┘
//!
//! files ─▶ Client ─▶ connect ─▶ Link (a tonic service that sends the token and says what went wrong)
//! ```
//!
//! A server's [`Gate`] is both of its halves, and watches their files: new certificates, CAs and tokens
//! are taken up while it runs, and what cannot be read leaves the old in force and is said. A
//! [`Client`] looks at its files whenever it connects.
//!
//! Secrets come from files and leave this crate only towards the peer: no error, log line or metric has
//! one in it. TLS is 1.3, by rustls with ring; sessions are not resumed, so that every connection shows
//! its certificate.

mod access;
mod certificate;
mod client;
mod connection;
mod der;
mod explain;
mod files;
mod gate;
mod incoming;
mod link;
mod provider;
mod server;
mod tokens;

pub use access::{Access, Caller, Denied};
pub use certificate::Peer;
pub use client::{Client, ClientFiles};
pub use connection::Connection;
pub use files::LoadError;
pub use gate::{Gate, GateError};
pub use incoming::{Arrived, incoming};
pub use link::{Answering, Link};
pub use server::{HandshakeError, Protocols, ServerTls};
