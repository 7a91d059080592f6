//! Ports on 127.0.0.1, and what answers there.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Ports that nobody listens on at the moment.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()
        .context("find free ports")?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect::<std::io::Result<_>>().context("find free ports")
}

/// Whether something listens there.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&address(port), Duration::from_millis(500)).is_ok()
}

/// The body of a page.
pub(crate) fn get(port: u16, path: &str) -> Result<String> {
    let (_, body) = ask(port, path)?;
    Ok(body)
}

/// Whether a page is there and says that all is well.
pub(crate) fn is_well(port: u16, path: &str) -> bool {
    ask(port, path).is_ok_and(|(head, _)| head.split(' ').nth(1) == Some("200"))
}

fn ask(port: u16, path: &str) -> Result<(String, String)> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address(port), limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    Ok((head.to_owned(), body.to_owned()))
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
