//! What files are made of: written, and read back by the reader that `audit --deep` has.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use sdk_config::{
    AvroEventSerializer, Bzip2Codec, DeflateCodec, FileType, FilesSink, GzipCodec, OutputCodec,
    SequenceCompression, SequenceFile, Serializer as SerializerSpec, TextSerializer, WriteFormat,
    ZstdCodec,
};
use sdk_event::{BlockBuilder, Event, ProducerId};
use sdk_files::archive::ArchivedFile;
use sdk_files::audit::DeepAudit;
use sdk_files::format::{Encoder, Format, SyncMarker};
use sdk_files::fs::{FileSystems, MemoryDisk};
use sdk_files::reader::Records;
use sdk_files::serializer::Serializer;
use sdk_files::{Deadlines, Drain};
use sdk_flow::Ended;
use tokio_util::sync::CancellationToken;

use crate::rig::{NAMES, Rig, SAMPLE_MS, finals, run, spec};

const MARKER: SyncMarker = *b"0123456789abcdef";
const PUT_MS: i64 = 77;

const CODECS: [OutputCodec; 7] = [
    OutputCodec::None,
    OutputCodec::Gzip(GzipCodec { level: 6 }),
    OutputCodec::Zstd(ZstdCodec { level: 3 }),
    OutputCodec::Bzip2(Bzip2Codec { level: 9 }),
    OutputCodec::Deflate(DeflateCodec { level: 6 }),
    OutputCodec::Snappy,
    OutputCodec::Lz4,
];

/// Sinks with every format there is.
fn specs() -> Vec<FilesSink> {
    let stream = |codec| FilesSink { codec, ..spec("/data/web") };
    let mut specs: Vec<FilesSink> = CODECS.into_iter().map(stream).collect();
    for codec in CODECS {
        for (write_format, compression) in [
            (WriteFormat::Writable, SequenceCompression::Block),
            (WriteFormat::Text, SequenceCompression::Block),
            (WriteFormat::Writable, SequenceCompression::Record),
        ] {
            let sequence = SequenceFile { write_format, compression };
            let file_type = Some(FileType::SequenceFile(sequence));
            specs.push(FilesSink { file_type, ..stream(codec) });
        }
    }
    use sdk_config::AvroCodec::{Bzip2, Deflate, Null, Snappy, Zstandard};
    for compression_codec in [Null, Deflate, Snappy, Bzip2, Zstandard] {
        let serializer = SerializerSpec::AvroEvent(AvroEventSerializer { compression_codec });
        specs.push(FilesSink { serializer, ..spec("/data/web") });
    }
    specs
}

/// What a sink writes for these events, each chunk apart.
fn written(spec: &FilesSink, chunks: &[Vec<Event>]) -> Vec<u8> {
    let serializer = Serializer::new(spec);
    let mut encoder = Encoder::new(Format::new(spec), MARKER);
    let mut stored = Vec::new();
    for chunk in chunks {
        let mut builder = BlockBuilder::new(ProducerId([1; 16]), 1, 1);
        for event in chunk {
            builder.push(event.timestamp_ms, event.headers.iter(), &event.body).unwrap();
        }
        let block = builder.finish(sdk_event::Codec::None);
        let mut raw = BytesMut::new();
        block.events().for_each(|event| serializer.write(&event, PUT_MS, None, &mut raw));
        if !raw.is_empty() {
            stored.extend_from_slice(&encoder.encode(raw.freeze()).unwrap());
        }
    }
    stored.extend_from_slice(&encoder.finish().unwrap());
    stored
}

fn read(name: &str, stored: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
    let mut records = Records::open(name, stored)?;
    let mut bodies = Vec::new();
    let mut body = Vec::new();
    while records.next(&mut body)? {
        bodies.push(body.clone());
    }
    Ok(bodies)
}

fn name(spec: &FilesSink) -> String {
    format!("events.1{}", spec.extension())
}

fn sequence(codec: OutputCodec, sequence: SequenceFile) -> FilesSink {
    let file_type = Some(FileType::SequenceFile(sequence));
    FilesSink { codec, file_type, ..spec("/data/web") }
}

#[test]
fn a_sequence_file_is_as_in_hadoop() {
    let events = [
        vec![Event::new("one").with_timestamp_ms(258), Event::new("two")],
        vec![Event::new("three").with_header("lost", "yes")],
    ];
    let head = |value: &[u8]| {
        let mut head = b"SEQ\x06\x21org.apache.hadoop.io.LongWritable".to_vec();
        head.push(u8::try_from(value.len()).unwrap());
        head.extend_from_slice(value);
        head.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
        head.extend_from_slice(&MARKER);
        head
    };
    let plain = sequence(OutputCodec::None, SequenceFile::default());
    let mut expected = head(b"org.apache.hadoop.io.BytesWritable");
    expected.extend_from_slice(b"\0\0\0\x0f\0\0\0\x08\0\0\0\0\0\0\x01\x02\0\0\0\x03one");
    expected.extend_from_slice(b"\0\0\0\x0f\0\0\0\x08\0\0\0\0\0\0\0\x4d\0\0\0\x03two");
    expected.extend_from_slice(b"\xff\xff\xff\xff0123456789abcdef");
    expected.extend_from_slice(b"\0\0\0\x11\0\0\0\x08\0\0\0\0\0\0\0\x4d\0\0\0\x05three");
    assert_eq!(written(&plain, &events), expected);

    let text = SequenceFile { write_format: WriteFormat::Text, ..SequenceFile::default() };
    let mut expected = head(b"org.apache.hadoop.io.Text");
    expected.extend_from_slice(b"\0\0\0\x0c\0\0\0\x08\0\0\0\0\0\0\x01\x02\x03one");
    let one = [vec![events[0][0].clone()]];
    assert_eq!(written(&sequence(OutputCodec::None, text), &one), expected);
}

#[test]
fn blocks_of_a_sequence_file_are_four_parts() {
    let events = [vec![Event::new("one").with_timestamp_ms(258), Event::new("two")]];
    let stored = written(&sequence(OutputCodec::Snappy, SequenceFile::default()), &events);
    let mut expected = b"SEQ\x06\x21org.apache.hadoop.io.LongWritable".to_vec();
    expected.extend_from_slice(b"\x22org.apache.hadoop.io.BytesWritable\x01\x01");
    expected.extend_from_slice(b"\x29org.apache.hadoop.io.compress.SnappyCodec\0\0\0\0");
    expected.extend_from_slice(&MARKER);
    expected.extend_from_slice(b"\xff\xff\xff\xff0123456789abcdef\x02");
    // Hadoop's frame, and snappy's of nothing but literals.
    let literal = |raw: &[u8]| {
        let length = u8::try_from(raw.len()).unwrap();
        let stored = [&[length, (length - 1) << 2][..], raw].concat();
        let frame = [&[0, 0, 0, length, 0, 0, 0, length + 2][..], &stored].concat();
        [&[u8::try_from(frame.len()).unwrap()][..], &frame].concat()
    };
    expected.extend_from_slice(&literal(b"\x08\x08"));
    expected.extend_from_slice(&literal(b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x4d"));
    expected.extend_from_slice(&literal(b"\x07\x07"));
    expected.extend_from_slice(&literal(b"\0\0\0\x03one\0\0\0\x03two"));
    assert_eq!(stored, expected);
}

#[test]
fn an_avro_container_is_as_in_flume() {
    let events = [
        vec![Event::new("one").with_header("k", "v").with_timestamp_ms(5), Event::new("")],
        vec![Event::new("2")],
    ];
    let serializer = SerializerSpec::AvroEvent(AvroEventSerializer::default());
    let stored = written(&FilesSink { serializer, ..spec("/data/web") }, &events);
    let schema = concat!(
        r#"{"type":"record","name":"Event","fields":[{"name":"headers","type":"#,
        r#"{"type":"map","values":"string"}},{"name":"body","type":"bytes"}]}"#
    );
    let mut expected = b"Obj\x01\x04\x16avro.schema".to_vec();
    let length = schema.len() * 2;
    let low = u8::try_from(length & 0x7f).unwrap() | 0x80;
    expected.extend_from_slice(&[low, u8::try_from(length >> 7).unwrap()]);
    expected.extend_from_slice(schema.as_bytes());
    expected.extend_from_slice(b"\x14avro.codec\x08null\x00");
    expected.extend_from_slice(&MARKER);
    // Two events in 24 bytes: two headers, no more headers, the body; and one of nothing.
    expected.extend_from_slice(b"\x04\x30\x04\x02k\x02v\x12timestamp\x025\0\x06one\0\0");
    expected.extend_from_slice(&MARKER);
    expected.extend_from_slice(b"\x02\x06\0\x022");
    expected.extend_from_slice(&MARKER);
    assert_eq!(stored, expected);
    assert_eq!(read("x.avro", &stored).unwrap(), [&b"one"[..], b"", b"2"]);
}

#[test]
fn hadoop_frames_a_block_with_two_lengths() {
    let events = [vec![Event::new("abcd")]];
    let snappy = written(&FilesSink { codec: OutputCodec::Snappy, ..spec("/data/web") }, &events);
    assert_eq!(snappy, b"\0\0\0\x05\0\0\0\x07\x05\x10abcd\n");
    let lz4 = written(&FilesSink { codec: OutputCodec::Lz4, ..spec("/data/web") }, &events);
    assert_eq!(lz4, b"\0\0\0\x05\0\0\0\x06\x50abcd\n");
}

#[test]
fn chunks_of_deflate_are_one_zlib_stream() {
    let events: Vec<Vec<Event>> =
        (0..5).map(|n| vec![Event::new(format!("line {n} {}", "x".repeat(n * 1000)))]).collect();
    let codec = OutputCodec::Deflate(DeflateCodec::default());
    let stored = written(&FilesSink { codec, ..spec("/data/web") }, &events);
    // Decoded by the book: what stands behind the end of a stream would be left over.
    let mut zlib = flate2::Decompress::new(true);
    let mut raw = Vec::with_capacity(1 << 20);
    let status = zlib.decompress_vec(&stored, &mut raw, flate2::FlushDecompress::Finish).unwrap();
    assert_eq!(status, flate2::Status::StreamEnd);
    assert_eq!(zlib.total_in(), stored.len() as u64);
    assert_eq!(read("x.deflate", &stored).unwrap().len(), 5);
    assert_eq!(raw.iter().filter(|byte| **byte == b'\n').count(), 5);
}

#[test]
fn a_file_of_nothing_is_whole() {
    for mut spec in specs() {
        spec.serializer = match spec.serializer {
            SerializerSpec::Text(_) => {
                SerializerSpec::Text(TextSerializer { append_newline: false })
            }
            other => other,
        };
        let stored = written(&spec, &[]);
        assert_eq!(stored.is_empty(), Format::new(&spec) == Format::new(&FilesSink::default()));
        assert_eq!(read(&name(&spec), &stored).unwrap(), Vec::<Vec<u8>>::new(), "{spec:?}");
    }
}

#[test]
fn long_events_and_many_read_back() {
    let chunks: Vec<Vec<Event>> = (0..3)
        .map(|chunk| {
            let line = |n: usize| "abcdefgh".repeat(n * 37 % 9000);
            (0..40).map(|n| Event::new(format!("{chunk} {n} {}", line(n)))).collect()
        })
        .collect();
    let bodies: Vec<Bytes> = chunks.iter().flatten().map(|event| event.body.clone()).collect();
    for spec in specs() {
        let stored = written(&spec, &chunks);
        assert_eq!(read(&name(&spec), &stored).unwrap(), bodies, "{spec:?}");
    }
}

/// Drains 1,800 events of three applications with so much memory: what became final, and each
/// application's events.
async fn drained(spec: &FilesSink, buffer_bytes: usize) -> (MemoryDisk, [Vec<Bytes>; 3]) {
    let mut rig = Rig::new();
    rig.limits.buffer_bytes = buffer_bytes;
    let mut expected = <[Vec<Bytes>; 3]>::default();
    for n in 0..60 {
        let event = |at: usize| {
            let event = Event::new(format!("{n} {at} {}", "body ".repeat(at * 7)));
            let app = (n + at) % 3;
            expected[app].push(event.body.clone());
            event.with_header("app", app.to_string())
        };
        let events: Vec<Event> = (0..30).map(event).collect();
        rig.log.put(SAMPLE_MS + i64::try_from(n).unwrap(), &events);
    }
    rig.ledger.seal(rig.log.seal());
    let disk = MemoryDisk::new();
    let systems: Arc<dyn FileSystems> = Arc::new(Arc::new(disk.clone()));
    let sink = rig.sink(1, spec, &*systems);
    let (drain, handle) = Drain::new(rig.options(vec![sink], systems));
    let ended = tokio::time::timeout(Duration::from_secs(900), drain.run(CancellationToken::new()));
    let ended = ended.await.unwrap_or_else(|_| panic!("{spec:?}: {:#?}", handle.status()));
    assert_eq!(ended.unwrap(), Ended::Drained);
    (disk, expected)
}

/// Written while events come in or built from the log, with the same events each; a second build has
/// the bytes of the first; and the audit counts them.
#[test]
fn drains_write_every_format() {
    for base in specs() {
        let spec = FilesSink { roll_count: 400, path: "/data/web/%{app}".to_owned(), ..base };
        let serializer = Serializer::new(&spec);
        run(async move {
            let mut built = Vec::new();
            for buffer_bytes in [32 << 20, 4 << 10, 4 << 10] {
                let (disk, expected) = drained(&spec, buffer_bytes).await;
                let mut bodies = <[Vec<Vec<u8>>; 3]>::default();
                let mut audit = DeepAudit::new();
                let files = finals(&disk);
                for (path, bytes) in &files {
                    assert!(path.ends_with(spec.extension()), "{path}");
                    let events = read(path, bytes).unwrap();
                    let file = ArchivedFile {
                        at_ms: 0,
                        flow: "web".to_owned(),
                        flow_id: 7,
                        channel: "main".to_owned(),
                        group: "out".to_owned(),
                        sink: "out".to_owned(),
                        path: path.clone(),
                        length: bytes.len() as u64,
                        crc: crc32c::crc32c(bytes),
                        events: events.len() as u64,
                        lines: serializer.countable(),
                        ids: serializer.writes_ids(),
                        dead_letters: false,
                        again: false,
                    };
                    audit.check(&file, &Arc::new(disk.clone()), Deadlines::default()).await;
                    let app: usize = path.split('/').nth(3).unwrap().parse().unwrap();
                    bodies[app].extend(events);
                }
                assert_eq!(bodies, expected, "{spec:?}");
                assert!(audit.is_good(), "{:?}", audit.problems);
                let counted = if serializer.countable() { 1800 } else { 0 };
                assert_eq!((audit.events, audit.counted), (1800, counted));
                built.push(files);
            }
            assert_eq!(built[1], built[2], "{spec:?}");
        });
    }
}

#[test]
fn markers_differ_from_file_to_file() {
    let all = [NAMES.marker(1, 0), NAMES.marker(1, 1), NAMES.marker(2, 0), NAMES.marker(2, 1)];
    let distinct: std::collections::BTreeSet<&SyncMarker> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(NAMES.marker(1, 0), NAMES.marker(1, 0));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        chunks in proptest::collection::vec(
            proptest::collection::vec(
                (proptest::collection::vec(0x20_u8..0x7f, 0..300), ".{0,20}", any::<Option<i64>>()),
                1..8,
            ),
            0..4,
        ),
    ) {
        let chunks: Vec<Vec<Event>> = chunks
            .into_iter()
            .map(|chunk| {
                let event = |(body, value, timestamp_ms): (Vec<u8>, String, Option<i64>)| {
                    Event { timestamp_ms, ..Event::new(body).with_header("k", value) }
                };
                chunk.into_iter().map(event).collect()
            })
            .collect();
        let bodies: Vec<Bytes> =
        chunks.iter().flatten().map(|event| event.body.clone()).collect();
        for spec in specs() {
            let stored = written(&spec, &chunks);
            prop_assert_eq!(&read(&name(&spec), &stored).unwrap(), &bodies);
        }
    }

    /// Whatever became of a file, reading it ends, with an error or without.
    #[test]
    fn broken_files_are_read_to_an_end(at in any::<prop::sample::Index>(), bit in 0..8, cut: bool) {
        let line = |n: usize| Event::new(format!("line {n} {}", "ab".repeat(n * 5)));
        let chunks: Vec<Vec<Event>> = (0..3).map(|n| (0..10).map(|m| line(n + m)).collect()).collect();
        for spec in specs() {
            let mut stored = written(&spec, &chunks);
            let at = at.index(stored.len());
            if cut {
                stored.truncate(at);
            } else {
                stored[at] ^= 1_u8 << bit;
            }
            let _ = read(&name(&spec), &stored);
        }
    }
}
