//! `wal dump`: the records of a log, one JSON object a line.

use super::{EVENTS, RAFT, log};
use crate::Verdict;
use crate::arguments::DumpArguments;
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use sdk_channel::record::{PutRecord, Record, Section, kind};
use sdk_event::{Block, EventId, EventRef};
use sdk_flow::SourcePosition;
use sdk_wal::LogRecord;
use sdk_wal::inspect::RecordReport;
use serde_json::{Map, Value, json};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

pub(super) fn run(arguments: &DumpArguments) -> Result<Verdict> {
    let name = if arguments.raft { RAFT } else { EVENTS };
    let data_dir = &arguments.wal.data_dir;
    let Some(found) = log(data_dir, name) else {
        bail!("{} has no {name}/", data_dir.display());
    };
    let out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    write(arguments, &found.inspector, out)
        .with_context(|| format!("read {}", found.path.display()))?;
    Ok(Verdict::Well)
}

/// Writes the records that were asked for.
pub(super) fn write(
    arguments: &DumpArguments,
    inspector: &sdk_wal::inspect::Inspector,
    mut out: impl Write,
) -> std::io::Result<()> {
    inspector.records(&mut |record| {
        if arguments.lineage.is_some_and(|lineage| lineage != record.lineage) {
            return ControlFlow::Continue(());
        }
        let value = Value::Object(describe(&record, arguments));
        // A closed pipe (`| head`) has seen enough.
        match writeln!(out, "{value}") {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    drop(out.flush());
    Ok(())
}

/// What a kind of record is called.
pub(super) fn kind_name(kind: u8) -> String {
    match kind {
        kind::PUT => "put",
        kind::REGISTRATION => "registration",
        kind::GAP => "gap",
        kind::CLOSE => "close",
        kind::CURSOR => "cursor",
        kind::POSITION => "position",
        kind::SOURCE => "source",
        kind::STOP => "stop",
        kind::LOST => "lost",
        kind::CHECKPOINT => "checkpoint",
        other => return format!("kind {other}"),
    }
    .to_owned()
}

fn describe(record: &RecordReport, arguments: &DumpArguments) -> Map<String, Value> {
    let mut map = Map::new();
    let mut set = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    set("lineage", record.lineage.to_string().into());
    set("first_offset", record.first_offset.into());
    set("count", record.count.into());
    let name = if arguments.raft { "raft".to_owned() } else { kind_name(record.kind) };
    set("kind", name.into());
    set("id", record.identity.map(|id| id.to_string()).into());
    set("segment", record.segment.into());
    set("at", record.at.into());
    set("flush", record.flush.into());
    set("copied", record.copied.into());
    let Some((put_time_ms, body)) = &record.content else {
        set("readable", false.into());
        // Whatever is wrong with the last flush was never acknowledged.
        set("unfinished", record.last_flush.into());
        return map;
    };
    let time = Timestamp::from_millisecond(*put_time_ms).map(|time| time.to_string());
    set("put_time", time.ok().into());
    set("bytes", body.len().into());
    if arguments.raft {
        return map;
    }
    match decode(record, *put_time_ms, body) {
        Ok(content) => contents(&content, record, arguments.bodies, &mut set),
        Err(error) => set("error", error.into()),
    }
    map
}

fn decode(record: &RecordReport, put_time_ms: i64, body: &Bytes) -> Result<Record, String> {
    let record = LogRecord {
        lineage: record.lineage,
        kind: record.kind,
        first_offset: record.first_offset,
        count: record.count,
        put_time_ms,
        body: body.clone().into(),
    };
    Record::decode(&record).map_err(|error| error.to_string())
}

fn contents(
    content: &Record,
    record: &RecordReport,
    bodies: bool,
    set: &mut impl FnMut(&str, Value),
) {
    match content {
        Record::Put(put) => contents_of_put(put, record.first_offset, bodies, set),
        Record::Registration(registration) => {
            set("producer", registration.producer.to_string().into());
            set("generation", registration.generation.into());
            set("next_sequence", registration.next.into());
            set("fresh", registration.fresh.into());
            set("forgotten", registration.forgotten.map(|id| id.to_string()).into());
        }
        Record::Gap(gap) => {
            set("producer", gap.producer.to_string().into());
            set("generation", gap.generation.into());
            set("from_sequence", gap.from.into());
            set("to_sequence", gap.to.into());
        }
        Record::Close(close) => {
            set("producer", close.producer.to_string().into());
            set("generation", close.generation.into());
        }
        Record::Cursor(cursor) => {
            set("channel", cursor.channel.into());
            set("group", cursor.group.as_str().into());
            set("drained_lineage", cursor.lineage.to_string().into());
            set("floor", cursor.floor.into());
        }
        Record::Position(position) => set("position", describe_position(position)),
        Record::Source(source) => {
            set("source", source.name.as_str().into());
            set("producer", source.producer.to_string().into());
        }
        Record::Stop => (),
        Record::Lost(loss) => {
            set("epoch", loss.epoch.into());
            set("from_offset", loss.from.into());
            set("to_offset", loss.to.into());
            set("producer", loss.ids.map(|ids| ids.producer.to_string()).into());
        }
        Record::Checkpoint(part) => {
            set("part", part.index.into());
            set("last_part", part.last.into());
            set(
                "section",
                if part.section == Section::Producers { "producers" } else { "facts" }.into(),
            );
            set("entries", part.entries.len().into());
        }
    }
}

fn contents_of_put(
    put: &PutRecord,
    first_offset: u64,
    bodies: bool,
    set: &mut impl FnMut(&str, Value),
) {
    set("producer", put.producer.to_string().into());
    set("generation", put.generation.into());
    set("first_sequence", put.first_sequence.into());
    let mut events = Vec::new();
    let mut parts = Vec::new();
    for part in &put.parts {
        let channels: Vec<u8> = part.channels.iter().collect();
        let block = Block::decode(part.block.clone());
        let count = block.as_ref().map(|block| block.header().count).ok();
        parts.push(json!({ "channels": channels, "events": count, "bytes": part.block.len() }));
        match &block {
            Ok(block) if bodies => events.extend(block.events().map(|event| {
                let offset = first_offset + u64::from(part.positions.at(event.index()));
                (offset, describe_event(offset, &event, &channels))
            })),
            Ok(_) => (),
            Err(error) => set("error", error.to_string().into()),
        }
    }
    set("parts", parts.into());
    let dropped = put.dropped.iter().map(|dropped| {
        let channels: Vec<u8> = dropped.channels.iter().collect();
        json!({ "rule": &*dropped.rule, "channels": channels, "events": dropped.events })
    });
    set("dropped", dropped.collect());
    if let Some(position) = &put.source_position {
        set("position", describe_position(position));
    }
    if bodies {
        events.sort_by_key(|(offset, _)| *offset);
        set("events", events.into_iter().map(|(_, event)| event).collect());
    }
}

fn describe_event(offset: u64, event: &EventRef<'_>, channels: &[u8]) -> Value {
    let headers: Map<String, Value> =
        event.headers().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let id: EventId = event.id();
    let mut value = json!({
        "offset": offset,
        "id": id.to_string(),
        "channels": channels,
        "timestamp": event.timestamp_ms(),
        "headers": headers,
    });
    match std::str::from_utf8(event.body()) {
        Ok(text) => value["body"] = text.into(),
        Err(_) => value["body_base64"] = STANDARD.encode(event.body()).into(),
    }
    value
}

/// Where a source stands: its name, and how many of its positions are told. What they say is known
/// to the source alone.
fn describe_position(bytes: &Bytes) -> Value {
    match SourcePosition::decode(bytes) {
        Ok(position) => json!({ "source": position.source, "entries": position.entries.len() }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}
