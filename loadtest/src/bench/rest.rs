//! A disk that has come to rest before a server is measured on it.
//!
//! The row before has left gigabytes to be deleted, and the file system gives their room back to the disk for a
//! while: right after another run the p99 of a node at 360,000/s was 390 to 440 ms, and 5 to 7 ms on a disk at rest.
//! It does not help against a disk that stalls for other reasons: compare with the raw loop's row.

use anyhow::{Context, Result};
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A write of 64 KiB and its `fdatasync` take less than this on a disk at rest,
const CALM: Duration = Duration::from_millis(10);
/// each, for as long as this.
const FOR: Duration = Duration::from_secs(8);
const EVERY: Duration = Duration::from_millis(50);
/// After this a row begins anyway, and stderr says so.
const AT_MOST: Duration = Duration::from_secs(120);

/// Waits until small writes to the disk of `folder` have been quick for a while.
pub(super) fn wait(folder: &Path) -> Result<()> {
    let mut probe = tempfile::tempfile_in(folder).context("make a file to probe the disk with")?;
    let begun = Instant::now();
    let mut calm_since = begun;
    let mut slowest = Duration::ZERO;
    while calm_since.elapsed() < FOR {
        let asked = Instant::now();
        probe.rewind()?;
        probe.write_all(&[0x5a; 64 << 10])?;
        probe.sync_data().context("probe the disk")?;
        let took = asked.elapsed();
        if took > CALM {
            calm_since = Instant::now();
            slowest = slowest.max(took);
        }
        if begun.elapsed() > AT_MOST {
            // Whoever closed our output does not want to hear it.
            drop(writeln!(
                std::io::stderr(),
                "the disk did not come to rest within {} s: a write of 64 KiB took up to {} ms",
                AT_MOST.as_secs(),
                slowest.as_millis()
            ));
            break;
        }
        std::thread::sleep(EVERY);
    }
    Ok(())
}
