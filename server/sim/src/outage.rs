//! A life in which the file system is away for long, while events keep coming.

use crate::world::World;
use sdk_files::fs::FsErrorKind;
use sdk_wal::Log;
use server_node::works::Works;
use std::time::Duration;
use tokio::time::sleep;

/// Where the sink of every world has its files.
const FILES: &str = "/data/web";
/// Before, everything is well.
const BEFORE: Duration = Duration::from_secs(60);
/// In each of these something is acknowledged.
const MINUTE: u64 = 60;
/// What the drains may have in memory meanwhile.
const BUFFERS_MAX: usize = 256 << 10;

/// What an outage came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outage {
    /// Events acknowledged while the file system was away.
    pub acked: u64,
    /// Bytes that the log had used at its end.
    pub log_bytes: u64,
    /// The most that the drains had in memory.
    pub buffer_bytes: usize,
    /// How long it took, with producers sending as before, until all that was acknowledged was final.
    pub drained_within: Duration,
}

/// Takes the file system away for so long, then gives it back and waits until what was acknowledged meanwhile is final;
/// after that producers make nothing more. It is an error if ingest stops for a minute, or if the backlog is in memory.
pub(crate) async fn sit_out(
    world: &World,
    works: &Works,
    log: &Log,
    lasts: Duration,
) -> Result<Outage, String> {
    sleep(BEFORE).await;
    let before = acked(world);
    world.disk.disk().refuse(FILES, FsErrorKind::Unavailable);
    let mut outage = Outage::default();
    let mut last_minute = before;
    for second in 1..=lasts.as_secs() {
        sleep(Duration::from_secs(1)).await;
        let buffers = works.drains().iter().map(|drain| drain.buffer_bytes).sum();
        outage.buffer_bytes = outage.buffer_bytes.max(buffers);
        if second % MINUTE == 0 {
            let now = acked(world);
            if now == last_minute {
                return Err(format!("nothing was acknowledged in the minute before {second} s"));
            }
            last_minute = now;
        }
    }
    let until = acked(world);
    outage.acked = until - before;
    outage.log_bytes = log.usage().used_bytes;
    if final_events(works) > before {
        return Err(format!("{} events are final without a file system", final_events(works)));
    }
    if outage.buffer_bytes > BUFFERS_MAX || outage.log_bytes < 4 * BUFFERS_MAX as u64 {
        return Err(format!("the backlog is in memory: {outage:?}"));
    }
    world.disk.disk().accept(FILES);
    while final_events(works) < until {
        if outage.drained_within >= lasts / 2 {
            let (books, drains) = (works.audit(), works.drains());
            return Err(format!(
                "slower than twice what came in: {outage:?} {books:#?} {drains:#?}"
            ));
        }
        sleep(Duration::from_secs(1)).await;
        outage.drained_within += Duration::from_secs(1);
    }
    world.producers.iter().for_each(|producer| producer.state().ends = true);
    Ok(outage)
}

fn acked(world: &World) -> u64 {
    world.producers.iter().map(|producer| producer.state().acked.len() as u64).sum()
}

fn final_events(works: &Works) -> u64 {
    let books = works.audit();
    books.iter().map(|row| row.total()).map(|book| book.in_files + book.dead_lettered).sum()
}
