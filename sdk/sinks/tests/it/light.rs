//! `logger` and `null`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use sdk_config::{LoggerSink, NullSink};
use sdk_event::{Block, BlockBuilder, Codec, Lineage, ProducerId};
use sdk_flow::{Batch, Positions, Sink as _, SinkError, Stored};
use sdk_sinks::{Logger, Null};

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Timestamp, headers, body.
type Sample<'a> = (Option<i64>, &'a [(&'a str, &'a str)], &'a [u8]);

fn batch(events: &[Sample<'_>]) -> Batch {
    let mut builder = BlockBuilder::new(ProducerId([1; 16]), 1, 0);
    for (timestamp_ms, headers, body) in events {
        builder.push(*timestamp_ms, headers.iter().copied(), body).unwrap();
    }
    let block: Block = builder.finish(Codec::None);
    let count = block.header().count;
    let parts = [(Positions::All, block)].into_iter().collect();
    let stored =
        vec![Stored { first_offset: 0, count, put_time_ms: 0, parts, dropped: Vec::new() }];
    let lineage = Lineage { flow: 1, shard: 0, epoch: 1 };
    Batch { lineage, from: 0, to: u64::from(count), stored }
}

async fn logged(bytes: u32, events: &[Sample<'_>]) -> String {
    let paper = Paper::default();
    let spec = LoggerSink { max_bytes_to_log: bytes, ..LoggerSink::default() };
    let mut logger = Logger::new(&spec).with_writer(Box::new(paper.clone()));
    logger.deliver(&batch(events)).await.unwrap();
    let written = paper.0.lock().unwrap();
    String::from_utf8(written.clone()).unwrap()
}

#[tokio::test]
async fn events_are_shown_as_flume_shows_them() {
    let text = logged(16, &[(None, &[("k", "v"), ("a", "b")], b"hello"), (None, &[], b"")]).await;
    let expected = "\
Event: { headers:{k=v, a=b} body: 68 65 6C 6C 6F                                  hello }
Event: { headers:{} body: }
";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_longer_dump_has_further_lines_with_their_offsets() {
    let text = logged(40, &[(Some(7), &[], b"0123456789abcdefghij\n\x00\x7f\xe9")]).await;
    let expected = "\
Event: { headers:{timestamp=7} body: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0123456789abcdef
00000010 67 68 69 6A 0A 00 7F E9                         ghij.... }
";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn only_the_first_bytes_are_shown_and_nothing_reaches_a_terminal() {
    let text = logged(16, &[(None, &[("k", "a\u{1b}[2J")], b"0123456789abcdefXYZ")]).await;
    assert!(text.ends_with("0123456789abcdef }\n"), "{text}");
    assert!(text.contains("{k=a.[2J}"), "{text}");
    assert_eq!(logged(0, &[(None, &[], b"secret")]).await, "Event: { headers:{} body: }\n");
}

#[tokio::test]
async fn a_writer_that_fails_makes_the_sink_unavailable() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut logger = Logger::new(&LoggerSink::default()).with_writer(Box::new(Broken));
    let result = logger.deliver(&batch(&[(None, &[], b"x")])).await;
    assert!(matches!(result, Err(SinkError::Unavailable(_))));
}

#[tokio::test]
async fn null_takes_everything() {
    let mut null = Null::new(&NullSink { log_every_n_events: 2, ..NullSink::default() });
    for _ in 0..3 {
        null.deliver(&batch(&[(None, &[], b"x"), (None, &[], b"y")])).await.unwrap();
    }
    null.close().await.unwrap();
    null.close().await.unwrap();
}
