//! The file sink alone, for comparison: events that stand in memory, a ledger in memory, files on HDFS. Says what
//! that took. `cargo xtask bench hdfs` runs it beside a whole node and the client alone.
//!
//! ```sh
//! cargo run --release -p server-hdfs --example sink -- hdfs://127.0.0.1:9000/folder/events 1073741824 8
//! ```

use async_trait::async_trait;
use sdk_config::FilesSink;
use sdk_event::{Block, BlockBuilder, Codec, Lineage, ProducerId};
use sdk_files::ledger::{MemoryLedger, MemoryRoots};
use sdk_files::metrics::SinkMetrics;
use sdk_files::name::Names;
use sdk_files::{
    Drain, DrainLimits, DrainMemory, DrainOptions, FileSink, Preference, Readers, SinkIdentity,
};
use sdk_flow::{
    Batch, ChannelReader, Clock as _, Ended, Entropy as _, LocalPenalties, Positions, ReadError,
    SeededEntropy, Stored, SystemClock, SystemEntropy,
};
use server_hdfs::{Deadlines, HdfsFileSystems, HdfsOptions, Metrics};
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVENTS_PER_BLOCK: u32 = 500;
const BODY_BYTES: usize = 500;

/// More than processors' caches hold.
const BLOCKS: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, bytes, lineages] = arguments.as_slice() else {
        return Err("usage: sink PATH BYTES LINEAGES".into());
    };
    let (bytes, lineages): (u64, u32) = (bytes.parse()?, lineages.parse()?);
    let log = Log::new(bytes / u64::from(lineages))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let clock = SystemClock::new();
    let (begun, cpu) = (clock.monotonic(), cpu_time());
    runtime.block_on(drain(path, &log, lineages))?;
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    let cpu_seconds = (cpu_time() - cpu).as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{{\"seconds\": {seconds:.3}, \"cpu_seconds\": {cpu_seconds:.3}}}"
    )?;
    Ok(())
}

/// Drains so many lineages, each with all of `log`, into one sink: as many files at once.
async fn drain(path: &str, log: &Log, lineages: u32) -> Result<(), Box<dyn Error>> {
    let clock: Arc<SystemClock> = Arc::new(SystemClock::new());
    let entropy: Arc<SystemEntropy> = Arc::new(SystemEntropy);
    let options = HdfsOptions {
        configuration: None,
        user: None,
        kerberos_principal: None,
        kerberos_keytab: None,
        deadlines: Deadlines::default(),
        clock: clock.clone(),
    };
    let file_systems = Arc::new(HdfsFileSystems::new(options, Metrics::default()));
    let spec = FilesSink { path: path.to_owned(), ..FilesSink::default() };
    let identity = SinkIdentity { flow: "bench".into(), name: "files".into(), number: 1 };
    let sink = FileSink::new(&spec, identity, &*file_systems, SinkMetrics::default())?;
    let (sink, memory) = (Arc::new(sink), Arc::new(DrainMemory::default()));
    let roots = MemoryRoots::default();
    let mut cluster = [0; 16];
    cluster[..8].copy_from_slice(&entropy.next_u64().to_le_bytes());
    let mut drains = tokio::task::JoinSet::new();
    for shard in 0..lineages {
        let lineage = Lineage { flow: 1, shard, epoch: 1 };
        let ledger = MemoryLedger::new(roots.clone());
        ledger.seal(log.end());
        let penalties =
            LocalPenalties::new(clock.clone(), entropy.clone(), Duration::from_secs(30));
        let (drain, _) = Drain::new(DrainOptions {
            channel: "main".into(),
            group: "files".into(),
            names: Names { cluster, lineage },
            members: vec![Arc::clone(&sink)],
            preference: Preference::Order,
            ledger: Arc::new(ledger),
            readers: Arc::new(Lined { log: log.clone(), lineage }),
            file_systems: file_systems.clone(),
            penalties: Arc::new(penalties),
            archive: None,
            clock: clock.clone(),
            entropy: entropy.clone(),
            memory: Arc::clone(&memory),
            limits: DrainLimits::default(),
        });
        drains.spawn(drain.run(CancellationToken::new()));
    }
    while let Some(drained) = drains.join_next().await {
        match drained?? {
            Ended::Drained => (),
            ended => return Err(format!("a drain has ended early: {ended:?}").into()),
        }
    }
    Ok(())
}

/// The same blocks over and over, as long as there are puts.
#[derive(Clone)]
struct Log {
    blocks: Arc<[Block]>,
    puts: u64,
    put_time_ms: i64,
}

impl Log {
    fn new(bytes: u64) -> Result<Log, Box<dyn Error>> {
        let put_time_ms = SystemClock::new().wall_ms();
        let entropy = SeededEntropy::new(1);
        let mut blocks = Vec::with_capacity(BLOCKS);
        for number in 0..BLOCKS as u64 {
            let mut builder = BlockBuilder::new(ProducerId([7; 16]), 1, number << 32);
            let mut body = [0; BODY_BYTES];
            for _ in 0..EVENTS_PER_BLOCK {
                for part in body.chunks_mut(8) {
                    // No line ends.
                    let random = (entropy.next_u64() | 0x4040_4040_4040_4040).to_le_bytes();
                    part.copy_from_slice(&random[..part.len()]);
                }
                builder.push(Some(put_time_ms), std::iter::empty::<(&str, &str)>(), &body)?;
            }
            blocks.push(builder.finish(Codec::None));
        }
        // With the newline that the sink adds.
        let puts = bytes / (u64::from(EVENTS_PER_BLOCK) * (BODY_BYTES as u64 + 1));
        Ok(Log { blocks: blocks.into(), puts, put_time_ms })
    }

    fn end(&self) -> u64 {
        self.puts * u64::from(EVENTS_PER_BLOCK)
    }
}

/// The log as one lineage.
struct Lined {
    log: Log,
    lineage: Lineage,
}

impl Readers for Lined {
    fn reader(&self, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        Ok(Box::new(Reader { log: self.log.clone(), lineage: self.lineage, cursor: from }))
    }
}

struct Reader {
    log: Log,
    lineage: Lineage,
    cursor: u64,
}

#[async_trait]
impl ChannelReader for Reader {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        if self.cursor >= self.log.end() {
            return Ok(None);
        }
        let count = u64::from(EVENTS_PER_BLOCK);
        let (from, mut stored, mut bytes) = (self.cursor, Vec::new(), 0);
        while self.cursor < self.log.end() && bytes < bytes_max {
            let put = self.cursor / count;
            // Each lineage stands elsewhere.
            let at = put + 61 * u64::from(self.lineage.shard);
            let block = &self.log.blocks[(at % BLOCKS as u64) as usize];
            bytes += block.bytes().len();
            stored.push(Stored {
                first_offset: put * count,
                count: EVENTS_PER_BLOCK,
                put_time_ms: self.log.put_time_ms,
                parts: std::iter::once((Positions::All, block.clone())).collect(),
                dropped: Vec::new(),
            });
            self.cursor = (put + 1) * count;
        }
        Ok(Some(Batch { lineage: self.lineage, from, to: self.cursor, stored }))
    }

    fn cursor(&self) -> u64 {
        self.cursor
    }

    fn seek(&mut self, offset: u64) {
        self.cursor = offset;
    }
}

/// What this process has taken so far.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(") ").next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok());
    // The kernel's unit for user space.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
