//! CPU seconds of this process.

use anyhow::{Context, Result};

/// Linux counts a process's time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time so far.
pub(crate) fn seconds() -> Result<f64> {
    of("self")
}

/// User and system time of a process so far.
pub(crate) fn of(pid: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program stands in brackets and may hold blanks.
    let rest = stat.rsplit_once(") ").context("no brackets in stat")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    Ok((ticks(11).context("no utime")? + ticks(12).context("no stime")?) / TICKS_PER_SECOND)
}
