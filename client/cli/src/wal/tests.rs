//! The log of a spool, looked at while it is open.

use super::dump::write;
use super::{Checked, EVENTS, check, logs};
use crate::arguments::{DumpArguments, WalArguments};
use sdk_channel::{Capacity, ChannelKind, Spool, SpoolChannelOptions, SpoolOptions};
use sdk_event::{BlockBuilder, Codec, ProducerId};
use sdk_flow::{Channel as _, ChannelSet, Dropped, Part, Positions, Put, SystemClock};
use sdk_wal::{Log, LogOptions};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const PRODUCER: ProducerId = ProducerId([7; 16]);

/// Three events, the second of which a rule dropped.
fn put() -> Put {
    let mut builder = BlockBuilder::new(PRODUCER, 1, 10);
    builder.shared_header("app", "shop").unwrap();
    for body in ["one", "two", "three"] {
        builder.push(Some(5), [], body.as_bytes()).unwrap();
    }
    let accepted = builder.finish(Codec::None);
    let kept: Arc<[u32]> = Arc::from([0, 2]);
    let part = Part {
        channels: ChannelSet::of(0),
        optional: ChannelSet::EMPTY,
        positions: Positions::Some(Arc::clone(&kept)),
        block: accepted.thin(&kept).remove(0),
    };
    Put {
        producer: PRODUCER,
        generation: 1,
        first_sequence: 10,
        count: 3,
        block_crc: accepted.header().crc,
        parts: [part].into_iter().collect(),
        dropped: vec![Dropped {
            rule: "interceptor:thin".into(),
            channels: ChannelSet::of(0),
            events: 1,
        }],
        source_position: None,
    }
}

async fn spool(data_dir: &Path) -> (Log, Spool) {
    let options = LogOptions {
        quota_bytes: Some(16 << 20),
        segment_bytes: 1 << 20,
        free_bytes_floor: 0,
        reserve_bytes: 1 << 16,
        ..LogOptions::new(data_dir.join(EVENTS))
    };
    let (log, _) = Log::open(options).unwrap();
    let mut options = SpoolOptions::new(log.clone(), 1, "default", Arc::new(SystemClock::new()));
    options.channels = vec![SpoolChannelOptions {
        kind: ChannelKind::Durable,
        capacity: Capacity::new("spool", u64::MAX, u64::MAX),
        groups: vec!["tier".to_owned()],
    }];
    let (spool, _) = Spool::open(options).await.unwrap();
    (log, spool)
}

fn verified(data_dir: &Path) -> Checked {
    let log = logs(data_dir).unwrap().remove(0);
    let segments = log.inspector.segments().unwrap();
    check(log.name, &segments, log.inspector.verify().unwrap())
}

fn dumped(data_dir: &Path, bodies: bool) -> Vec<Value> {
    let wal = WalArguments { data_dir: data_dir.to_owned() };
    let arguments = DumpArguments { wal, lineage: None, raft: false, bodies };
    let mut out = Vec::new();
    write(&arguments, &logs(data_dir).unwrap().remove(0).inspector, &mut out).unwrap();
    let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_listed_verified_and_dumped_while_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let (log, spool) = spool(folder.path()).await;
    let producer = spool.shard();
    let open =
        sdk_channel::OpenSession { producer: PRODUCER, generation: 1, lowest: 10, sent: false };
    producer.open_session(open).await.unwrap();
    spool.channel("spool").unwrap().put(put()).await.unwrap();

    let checked = verified(folder.path());
    assert!(checked.good && checked.records >= 2, "{}", serde_json::to_string(&checked).unwrap());

    let records = dumped(folder.path(), false);
    let registration = records.iter().find(|record| record["kind"] == "registration").unwrap();
    assert_eq!(registration["next_sequence"], 10);
    let put = records.iter().find(|record| record["kind"] == "put").unwrap();
    assert_eq!(put["id"], format!("{PRODUCER}-1-10"));
    assert_eq!((&put["count"], &put["parts"][0]["events"]), (&3.into(), &2.into()));
    assert_eq!(put["dropped"][0]["rule"], "interceptor:thin");
    assert!(!put.to_string().contains("three"), "no event content unless asked: {put}");

    let records = dumped(folder.path(), true);
    let put = records.iter().find(|record| record["kind"] == "put").unwrap();
    let events = put["events"].as_array().unwrap();
    let first = put["first_offset"].as_u64().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["offset"], first + 2, "the offset counts what was dropped: {put}");
    assert_eq!(
        (&events[1]["body"], &events[1]["headers"]["app"]),
        (&"three".into(), &"shop".into())
    );
    log.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (log, spool) = spool(folder.path()).await;
    let open =
        sdk_channel::OpenSession { producer: PRODUCER, generation: 1, lowest: 10, sent: false };
    spool.shard().open_session(open).await.unwrap();
    spool.channel("spool").unwrap().put(put()).await.unwrap();
    drop(spool);
    log.stop();
    let put =
        dumped(folder.path(), false).into_iter().find(|record| record["kind"] == "put").unwrap();
    let segment = std::fs::read_dir(folder.path().join(EVENTS))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| std::fs::read(path).unwrap().windows(5).any(|bytes| bytes == b"three"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|bytes| bytes == b"three").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let checked = verified(folder.path());
    assert!(!checked.good);
    let bad = &checked.bad_records[0];
    assert_eq!((&bad["id"], &bad["first_offset"]), (&put["id"], &put["first_offset"]), "{bad}");
    let dump = dumped(folder.path(), false);
    assert!(dump.iter().any(|record| record["readable"] == false), "{dump:?}");
}

#[test]
fn a_directory_without_a_log_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = logs(folder.path()).err().unwrap().to_string();
    assert!(error.contains("neither log/ nor raft/log/"), "{error}");
}
