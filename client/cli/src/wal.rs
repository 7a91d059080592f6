//! `wal`: the logs of a data directory, read-only, offline, also beside a running node.

mod dump;

use crate::Verdict;
use crate::arguments::{Global, Output, Wal, WalArguments};
use crate::print::{bytes, count, grouped, in_bytes, json, line, state, table, text};
use anyhow::{Context, Result, bail};
use sdk_wal::inspect::{Inspector, RunReport, SegmentReport, SegmentState, VerifyReport};
use sdk_wal::{Quarantined, RealStorage};
use serde::Serialize;
use serde_json::{Value, json as object};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a data directory has logs: that of the events (an agent's spool likewise), that of Raft.
const EVENTS: &str = "log";
const RAFT: &str = "raft/log";

/// Ranges of a segment that the table shows.
const RUNS_SHOWN_MAX: usize = 4;

pub(crate) fn run(global: &Global, command: &Wal) -> Result<Verdict> {
    match command {
        Wal::Ls(arguments) => list(global, arguments),
        Wal::Verify(arguments) => verify(global, arguments),
        Wal::Dump(arguments) => dump::run(arguments),
    }
}

/// A log of a data directory.
struct Found {
    name: &'static str,
    path: PathBuf,
    inspector: Inspector,
}

/// The logs that are there.
fn logs(data_dir: &Path) -> Result<Vec<Found>> {
    let logs: Vec<Found> =
        [EVENTS, RAFT].into_iter().filter_map(|name| log(data_dir, name)).collect();
    if logs.is_empty() {
        bail!("{} is no data directory: it has neither {EVENTS}/ nor {RAFT}/", data_dir.display());
    }
    Ok(logs)
}

fn log(data_dir: &Path, name: &'static str) -> Option<Found> {
    let path = data_dir.join(name);
    let inspector = Inspector::new(Arc::new(RealStorage), &path);
    path.is_dir().then_some(Found { name, path, inspector })
}

fn list(global: &Global, arguments: &WalArguments) -> Result<Verdict> {
    let mut listed = Vec::new();
    for Found { name, path, inspector } in logs(&arguments.data_dir)? {
        let segments = inspector.segments().with_context(|| format!("read {}", path.display()))?;
        listed.push((name, segments));
    }
    if global.output == Output::Json {
        let logs: Vec<Value> = listed
            .iter()
            .map(|(name, segments)| {
                let segments: Vec<Value> = segments.iter().map(segment).collect();
                object!({ "log": name, "segments": segments })
            })
            .collect();
        json(&object!({ "logs": logs }))?;
        return Ok(Verdict::Well);
    }
    let rows = listed.iter().flat_map(|(name, segments)| {
        segments.iter().map(move |segment| {
            [
                text(name),
                count(segment.number),
                state(state_name(segment.state), is_readable(segment.state)),
                bytes(segment.used_bytes),
                bytes(segment.bytes),
                text(flushes(segment)),
                text(if segment.footer { "yes" } else { "" }),
                text(runs(&segment.runs)),
            ]
        })
    });
    table(
        ["LOG", "SEGMENT", "STATE", "USED", "BYTES", "FLUSHES", "FOOTER", "LINEAGE OFFSETS"],
        rows,
    );
    Ok(Verdict::Well)
}

fn flushes(segment: &SegmentReport) -> String {
    match segment.last_flush {
        0 => String::new(),
        last => format!("{}–{last}", segment.first_flush),
    }
}

fn runs(runs: &[RunReport]) -> String {
    let mut shown: Vec<String> = runs
        .iter()
        .take(RUNS_SHOWN_MAX)
        .map(|run| format!("{} {}–{}", run.lineage, run.first, run.end.saturating_sub(1)))
        .collect();
    if runs.len() > RUNS_SHOWN_MAX {
        shown.push(format!("and {} more", runs.len() - RUNS_SHOWN_MAX));
    }
    shown.join(", ")
}

fn state_name(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Used => "used",
        SegmentState::Empty => "empty",
        SegmentState::Spare => "spare",
        SegmentState::Newer => "newer",
        SegmentState::Unreadable => "unreadable",
    }
}

fn is_readable(state: SegmentState) -> bool {
    !matches!(state, SegmentState::Newer | SegmentState::Unreadable)
}

fn segment(segment: &SegmentReport) -> Value {
    let runs = segment.runs.iter().map(|run| {
        object!({
            "lineage": run.lineage.to_string(),
            "first_offset": run.first,
            "last_offset": run.end.saturating_sub(1),
            "bytes": run.bytes,
            "copied": run.copied,
        })
    });
    object!({
        "segment": segment.number,
        "state": state_name(segment.state),
        "life": segment.life.map(|life| format!("{life:016x}")),
        "bytes": segment.bytes,
        "used_bytes": segment.used_bytes,
        "footer": segment.footer,
        "first_flush": segment.first_flush,
        "last_flush": segment.last_flush,
        "runs": runs.collect::<Vec<_>>(),
    })
}

/// What checking one log found. The names are the fields of the JSON.
#[derive(Serialize)]
struct Checked {
    log: &'static str,
    good: bool,
    segments: u64,
    flushes: u64,
    records: u64,
    bytes: u64,
    /// Records of the last flush that are not finished: they never counted.
    unfinished: u64,
    bad_records: Vec<Value>,
    lost_flushes: Vec<Value>,
    /// Segments that a later release wrote, or that say nothing.
    unreadable_segments: Vec<u64>,
}

fn verify(global: &Global, arguments: &WalArguments) -> Result<Verdict> {
    let mut checked = Vec::new();
    for Found { name, path, inspector } in logs(&arguments.data_dir)? {
        let context = || format!("read {}", path.display());
        let segments = inspector.segments().with_context(context)?;
        let report = inspector.verify().with_context(context)?;
        checked.push(check(name, &segments, report));
    }
    let good = checked.iter().all(|log| log.good);
    if global.output == Output::Json {
        json(&object!({ "good": good, "logs": checked }))?;
    } else {
        checked.iter().for_each(show);
    }
    Ok(if good { Verdict::Well } else { Verdict::Bad })
}

fn check(log: &'static str, segments: &[SegmentReport], report: VerifyReport) -> Checked {
    let unreadable = segments.iter().filter(|segment| !is_readable(segment.state));
    let unreadable_segments: Vec<u64> = unreadable.map(|segment| segment.number).collect();
    let lost_flushes = report.lost_flushes.iter().map(
        |(segment, from, to)| object!({ "segment": segment, "from_byte": from, "to_byte": to }),
    );
    Checked {
        log,
        good: report.bad.is_empty()
            && report.lost_flushes.is_empty()
            && unreadable_segments.is_empty(),
        segments: report.segments,
        flushes: report.flushes,
        records: report.records,
        bytes: report.bytes,
        unfinished: report.unfinished,
        bad_records: report.bad.iter().map(bad_record).collect(),
        lost_flushes: lost_flushes.collect(),
        unreadable_segments,
    }
}

fn bad_record(bad: &Quarantined) -> Value {
    object!({
        "segment": bad.segment,
        "lineage": bad.lineage.to_string(),
        "first_offset": bad.from,
        "last_offset": bad.to.saturating_sub(1),
        "kind": bad.kind.map(dump::kind_name),
        "id": bad.identity.map(|id| id.to_string()),
        "reason": &*bad.reason,
    })
}

fn show(checked: &Checked) {
    line(&format!(
        "{}: {} records in {} flushes and {} segments, {}; {}",
        checked.log,
        grouped(checked.records),
        grouped(checked.flushes),
        grouped(checked.segments),
        in_bytes(checked.bytes),
        if checked.good { "all good" } else { "NOT good" }
    ));
    for bad in &checked.bad_records {
        line(&format!("  - bad record: {bad}"));
    }
    for lost in &checked.lost_flushes {
        line(&format!("  - flushes that cannot be identified: {lost}"));
    }
    for segment in &checked.unreadable_segments {
        line(&format!("  - segment {segment} cannot be read"));
    }
    if checked.unfinished > 0 {
        line(&format!("  ({} records of the last flush are not finished)", checked.unfinished));
    }
}

#[cfg(test)]
mod tests;
