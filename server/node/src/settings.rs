//! What a node is told: its file, with the command line's flags over it.

use crate::arguments::NodeArguments;
use anyhow::{Context, Result, anyhow};
use sdk_config::{Address, NodeConfig, Port, parse_node, process_env};
use std::path::Path;
use tracing::warn;

const DATA_DIR: &str = "./collector-data";

/// The configuration of a node started with these arguments. Every mistake is in the error.
pub fn settings(arguments: &NodeArguments) -> Result<NodeConfig> {
    let mut config = match &arguments.config {
        Some(path) => read(path)?,
        None => without_file(arguments)?,
    };
    resolve_paths(&mut config)?;
    let node = &mut config.node;
    if let Some(data_dir) = &arguments.data_dir {
        node.data_dir = text(data_dir)?;
    }
    if let Some(host) = &arguments.listen {
        for address in [&mut node.ingest, &mut node.peer, &mut node.admin] {
            *address = Address::new(host.clone(), address.port);
        }
    }
    let flags = [
        (&mut node.ingest, arguments.ingest),
        (&mut node.peer, arguments.peer),
        (&mut node.admin, arguments.admin),
    ];
    for (address, flag) in flags {
        if let Some(flag) = flag {
            *address = Address::new(flag.ip().to_string(), flag.port());
        }
    }
    node.insecure |= arguments.insecure;
    refuse_open_doors(&config)?;
    Ok(config)
}

fn read(path: &Path) -> Result<NodeConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let parsed = parse_node(&text, &path.display().to_string(), &process_env)
        .map_err(|diagnostics| anyhow!("{diagnostics}"))?;
    if !parsed.warnings.is_empty() {
        warn!("the configuration has warnings:\n{}", parsed.warnings);
    }
    Ok(parsed.value)
}

/// A sink's path is absolute: it must mean the same wherever the node is started from.
pub(crate) fn resolve_paths(config: &mut NodeConfig) -> Result<()> {
    let base = std::env::current_dir().context("find the working directory")?;
    let base = text(&base)?;
    config.flows.values_mut().for_each(|flow| flow.resolve_paths(&base));
    Ok(())
}

fn without_file(arguments: &NodeArguments) -> Result<NodeConfig> {
    let data_dir = arguments.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR));
    // A sink's path is absolute: it must mean the same wherever the node is started from.
    let data_dir = std::path::absolute(data_dir).context("find the data directory")?;
    let files = match &arguments.files_dir {
        Some(files) if files.contains("://") => files.clone(),
        Some(files) => text(&std::path::absolute(files).context("find the files' directory")?)?,
        None => text(&data_dir.join("files"))?,
    };
    Ok(NodeConfig::without_file(&text(&data_dir)?, &files))
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}

fn refuse_open_doors(config: &NodeConfig) -> Result<()> {
    let node = &config.node;
    let encrypted = |port| node.tls.as_ref().is_some_and(|tls| tls.covers(port));
    let ports = [
        ("ingest", Port::Ingest, &node.ingest),
        ("peer", Port::Peer, &node.peer),
        ("admin", Port::Admin, &node.admin),
    ];
    let open =
        ports.into_iter().find(|(_, port, address)| !address.is_loopback() && !encrypted(*port));
    match open {
        Some((name, _, address)) if !node.insecure => Err(anyhow!(
            "{name} = {address} is reachable from other machines and nothing is encrypted: \
             listen on loopback, write a table [node.tls], or say --insecure if that is meant"
        )),
        _ => Ok(()),
    }
}
