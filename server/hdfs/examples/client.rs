//! The client alone, for comparison: writes files with `hdfs-native` and nothing else, and says what that took.
//! `cargo xtask bench hdfs` runs it beside the sink and a node, with the bytes of a file that the node has written:
//! as an example of this crate, with the CRC that the product has too (`crc/`), and as a program of a workspace of its
//! own, with the CRC of the registry.
//!
//! ```sh
//! cargo run --release -p server-hdfs --example client -- hdfs://127.0.0.1:9000 /plain 1073741824 8 [/folder/with/a/file]
//! ```

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use std::error::Error;
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// As a sink writes.
const CHUNK_BYTES: usize = 1 << 20;

/// As a sink rolls.
const FILE_BYTES: u64 = 128 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, folder, bytes, at_once, source) = match arguments.as_slice() {
        [url, folder, bytes, at_once] => (url, folder, bytes, at_once, None),
        [url, folder, bytes, at_once, source] => (url, folder, bytes, at_once, Some(source)),
        _ => return Err("usage: client URL FOLDER BYTES FILES-AT-ONCE [SOURCE-FOLDER]".into()),
    };
    let (bytes, at_once): (u64, usize) = (bytes.parse()?, at_once.parse()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let client = ClientBuilder::new().with_url(url).build()?;
    let content = match source {
        Some(source) => runtime.block_on(largest_file(&client, source))?,
        None => Bytes::from(vec![b'x'; CHUNK_BYTES]),
    };
    let (begun, cpu) = (Instant::now(), cpu_time());
    runtime.block_on(write(&client, folder, bytes, at_once, &content))?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = (cpu_time() - cpu).as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{{\"seconds\": {seconds:.3}, \"cpu_seconds\": {cpu_seconds:.3}}}"
    )?;
    Ok(())
}

async fn largest_file(client: &Client, folder: &str) -> Result<Bytes, Box<dyn Error>> {
    let files = client.list_status(folder, true).await?;
    let largest = files.iter().filter(|file| !file.isdir).max_by_key(|file| file.length);
    let largest = largest.ok_or_else(|| format!("{folder} has no file"))?;
    let mut reader = client.read(&largest.path).await?;
    let content = reader.read_bytes(largest.length).await?;
    if content.len() < CHUNK_BYTES {
        return Err(format!("{} has less than {CHUNK_BYTES} bytes", largest.path).into());
    }
    Ok(content)
}

async fn write(
    client: &Client,
    folder: &str,
    bytes: u64,
    at_once: usize,
    content: &Bytes,
) -> Result<(), HdfsError> {
    client.mkdirs(&format!("{folder}/staging"), 0o755, true).await?;
    let lengths = (0..bytes.div_ceil(FILE_BYTES)).map(|number| {
        let begin = number * FILE_BYTES;
        (number, FILE_BYTES.min(bytes - begin))
    });
    let mut files = stream::iter(lengths)
        .map(|(number, length)| one_file(client, folder, number, length, content))
        .buffer_unordered(at_once);
    while let Some(file) = files.next().await {
        file?;
    }
    Ok(())
}

/// Writes the content over and over, each file from another chunk on.
async fn one_file(
    client: &Client,
    folder: &str,
    number: u64,
    length: u64,
    content: &Bytes,
) -> Result<(), HdfsError> {
    let options = WriteOptions::default().block_size(FILE_BYTES + CHUNK_BYTES as u64);
    let source = format!("{folder}/staging/{number}");
    let mut file = client.create(&source, options).await?;
    let chunks = content.len() / CHUNK_BYTES;
    let mut next = number as usize * 17;
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let at = next % chunks * CHUNK_BYTES;
        file.write_bytes(content.slice(at..at + part)).await?;
        next += 1;
        left -= part as u64;
    }
    file.hsync().await?;
    file.close().await?;
    client.rename(&source, &format!("{folder}/{number}"), false).await
}

/// What this process has taken so far.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(") ").next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok());
    // The kernel's unit for user space.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
