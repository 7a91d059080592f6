//! The client alone, for comparison: writes files with `hdfs-native` and nothing else, and says what
//! that took. `cargo xtask bench hdfs` runs it beside the server, with the same bytes.
//!
//! ```sh
//! cargo run --release -p server-hdfs --example plain -- hdfs://127.0.0.1:9000 /plain 1073741824 8
//! ```

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

/// As a sink writes.
const CHUNK_BYTES: usize = 1 << 20;

/// As a sink rolls.
const FILE_BYTES: u64 = 128 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, folder, bytes, at_once] = arguments.as_slice() else {
        return Err("usage: plain URL FOLDER BYTES FILES-AT-ONCE".into());
    };
    let (bytes, at_once): (u64, usize) = (bytes.parse()?, at_once.parse()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let clock = sdk_flow::SystemClock::new();
    let begun = sdk_flow::Clock::monotonic(&clock);
    runtime.block_on(write(url, folder, bytes, at_once))?;
    let seconds = (sdk_flow::Clock::monotonic(&clock) - begun).as_secs_f64();
    let cpu = cpu_time().as_secs_f64();
    writeln!(std::io::stdout(), "{{\"seconds\": {seconds:.3}, \"cpu_seconds\": {cpu:.3}}}")?;
    Ok(())
}

async fn write(url: &str, folder: &str, bytes: u64, at_once: usize) -> Result<(), HdfsError> {
    let client = ClientBuilder::new().with_url(url).build()?;
    client.mkdirs(&format!("{folder}/staging"), 0o755, true).await?;
    let lengths = (0..bytes.div_ceil(FILE_BYTES)).map(|number| {
        let begin = number * FILE_BYTES;
        (number, FILE_BYTES.min(bytes - begin))
    });
    let mut files = stream::iter(lengths)
        .map(|(number, length)| one_file(&client, folder, number, length))
        .buffer_unordered(at_once);
    while let Some(file) = files.next().await {
        file?;
    }
    Ok(())
}

async fn one_file(
    client: &Client,
    folder: &str,
    number: u64,
    length: u64,
) -> Result<(), HdfsError> {
    let chunk = Bytes::from(vec![b'x'; CHUNK_BYTES]);
    let options = WriteOptions::default().block_size(FILE_BYTES + CHUNK_BYTES as u64);
    let source = format!("{folder}/staging/{number}");
    let mut file = client.create(&source, options).await?;
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        file.write_bytes(chunk.slice(..part)).await?;
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
