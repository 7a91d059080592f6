//! What the crate promises, on sockets and with certificates made here.

mod access;
mod certificates;
mod handshake;
mod loading;
