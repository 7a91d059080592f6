//! Bodies of records: read back as written, and never a panic for anything else.

use bytes::Bytes;
use proptest::prelude::*;
use sdk_channel::record::{Loss, LostIds, Record, kind};
use sdk_wal::{Body, LogRecord};

use crate::harness::{LINEAGE, durable, open_log, open_shard, producer};
use sdk_channel::conformance::TestProducer;
use sdk_flow::{Dropped, Positions, SourcePosition};
use sdk_wal::FaultyStorage;
use std::sync::Arc;

fn record(kind: u8, body: Bytes) -> LogRecord {
    LogRecord {
        lineage: LINEAGE,
        kind,
        first_offset: 0,
        count: 1,
        put_time_ms: 0,
        body: Body::from(body),
    }
}

/// One record of each kind, as a shard writes it.
async fn written() -> Vec<LogRecord> {
    let log = open_log(&FaultyStorage::new(1));
    let shard = open_shard(&log, vec![durable(0, "main", 1 << 20)]).await;
    let mut words = producer(&shard, 1).await;
    let mut put = words.block("a b c d");
    let whole = put.parts[0].clone();
    put.parts.clear();
    for positions in [[0u32, 2], [1, 3]] {
        let mut part = whole.clone();
        part.block = whole.block.thin(&positions).remove(0);
        part.positions = Positions::Some(Arc::from(positions));
        put.parts.push(part);
    }
    put.dropped = vec![Dropped { rule: "test".into(), channels: whole.channels, events: 1 }];
    let entries = vec![(Bytes::from_static(b"file"), Some(Bytes::from_static(b"17")))];
    let position = SourcePosition { source: "tail".to_owned(), entries };
    put.source_position = Some(position.encode());
    shard.put(put).await.expect("put");
    let mut alone = TestProducer::continued(1, 0).block("x");
    (alone.count, alone.source_position) = (0, Some(position.encode()));
    alone.parts.clear();
    shard.put(alone).await.expect("position");
    shard.gap(words.gap(4, 9)).await.expect("gap");
    shard.close_session(words.id(), words.generation()).await.expect("close");
    shard.start_source("tail", &sdk_flow::SeededEntropy::new(1)).await.expect("source");
    let ids = LostIds { producer: words.id(), generation: 1, first: 0, end: 4 };
    let alone = Loss { epoch: 1, from: 2, to: 6, ids: Some(ids) };
    shard.lose(&[Loss { ids: None, ..alone.clone() }, alone]).await.expect("lost");
    let end = shard.seal();
    sdk_channel::stop_lineage(&log, LINEAGE, 0).await.expect("stop");
    let mut reader = log.reader(LINEAGE, 0);
    let mut records = Vec::new();
    while let Some(record) = reader.next().expect("read") {
        records.push(record);
    }
    assert!(records.last().is_some_and(|last| last.first_offset == end));
    records
}

#[tokio::test]
async fn every_kind_reads_back_from_one_piece_or_many() {
    let records = written().await;
    let kinds: std::collections::BTreeSet<_> = records.iter().map(|record| record.kind).collect();
    let expected = [
        kind::PUT,
        kind::REGISTRATION,
        kind::GAP,
        kind::CLOSE,
        kind::POSITION,
        kind::SOURCE,
        kind::STOP,
        kind::LOST,
        kind::CHECKPOINT,
    ];
    assert_eq!(kinds, expected.into());
    for one in &records {
        let whole = record(one.kind, one.body.to_bytes());
        let (parts, joined) =
            (Record::decode(one).expect("parts"), Record::decode(&whole).expect("joined"));
        assert_eq!(format!("{parts:?}"), format!("{joined:?}"));
        if let Record::Put(put) = parts {
            assert_eq!(put.count, 4);
            assert_eq!(put.parts[1].positions, Positions::Some(Arc::from([1, 3])));
            assert_eq!(put.dropped[0].events, 1);
            let totals = put.totals().expect("totals").channel(0);
            assert_eq!((totals.put, totals.dropped(), totals.stored()), (4, 1, 5));
        }
    }
}

#[tokio::test]
async fn no_change_of_a_record_makes_reading_it_panic() {
    for one in written().await {
        let good = one.body.to_bytes();
        for length in 0..good.len() {
            let cut = record(one.kind, good.slice(..length));
            // A position has no length of its own, every other form does.
            assert!(Record::decode(&cut).is_err() || matches!(one.kind, kind::POSITION));
        }
        let from = good.len().saturating_sub(400);
        for at in from..good.len() {
            for value in [0x00, 0x01, 0x7F, 0x80, 0xFF] {
                let mut bytes = good.to_vec();
                bytes[at] = value;
                let _ = Record::decode(&record(one.kind, bytes.into()));
            }
        }
        let mut newer = good.to_vec();
        let end = good.len() - 4;
        let version_at = match one.kind {
            kind::PUT => {
                good.len() - u32::from_le_bytes(good[end..].try_into().expect("four")) as usize
            }
            _ => 0,
        };
        newer[version_at] = 9;
        let error = Record::decode(&record(one.kind, newer.into())).expect_err("newer");
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
}

proptest! {
    #[test]
    fn noise_is_never_a_panic(kind in prop::sample::select(vec![1u8, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 128]), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        if kind == kind::PUT {
            let length = bytes.len() as u32 + 4;
            bytes.extend(length.to_le_bytes());
        }
        if let Ok(Record::Put(put)) = Record::decode(&record(kind, bytes.into())) {
            let _ = put.totals();
        }
    }
}
