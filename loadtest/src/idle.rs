//! `idle`: connections that say nothing.

use crate::arguments::{Global, IdleArguments};
use crate::print::say;
use anyhow::{Context, Result};
use tokio::net::TcpStream;

/// Opens them, says so, and keeps them until interrupted. What the server closes is not reopened.
pub(crate) async fn run(global: &Global, arguments: &IdleArguments) -> Result<bool> {
    raise_file_limit(u64::from(arguments.connections) + 64)?;
    let endpoint = global.endpoint.first().context("no endpoint")?;
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let mut connections = Vec::new();
    let mut refused = 0;
    for _ in 0..arguments.connections {
        match TcpStream::connect(address).await {
            Ok(connection) => connections.push(connection),
            Err(_) => refused += 1,
        }
    }
    say(&format!("{} connections open, {refused} refused", connections.len()));
    tokio::signal::ctrl_c().await?;
    Ok(true)
}

fn raise_file_limit(files: u64) -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        limit.current = limit.maximum.map_or(Some(files), |maximum| Some(files.min(maximum)));
        setrlimit(Resource::Nofile, limit).context("raise the limit of open files")?;
    }
    Ok(())
}
