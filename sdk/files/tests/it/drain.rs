//! What a drain does when nothing goes wrong.

use std::time::Duration;

use sdk_config::{ByteSize, DurationText, FilesSink, JsonSerializer, Serializer};
use sdk_event::Event;
use sdk_files::DrainHandle;
use sdk_files::fs::MemoryDisk;
use sdk_files::status::DrainStatus;
use sdk_flow::{Clock, Ended};
use tokio_util::sync::CancellationToken;

use crate::rig::{NAMES, Rig, SAMPLE_MS, by_directory, finals, run, spec};

fn lines(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(|n| Event::new(n.to_string()).with_timestamp_ms(SAMPLE_MS)).collect()
}

fn text(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("{n}\n")).collect()
}

async fn wait(handle: &DrainHandle, until: impl Fn(&DrainStatus) -> bool) -> DrainStatus {
    let mut watch = handle.watch();
    let status = tokio::time::timeout(Duration::from_secs(600), watch.wait_for(until)).await;
    status.expect("in time").expect("the drain runs").clone()
}

#[test]
fn events_come_out_in_order_in_time_rounded_directories() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        for n in 0..100 {
            let at = SAMPLE_MS + n * 1000;
            let event = Event::new(n.to_string()).with_timestamp_ms(at);
            rig.log.put(at, &[event]);
        }
        rig.drain_all(&spec("/data/web/%Y-%m-%d/%H%M"), &disk).await;
        let directories = by_directory(&disk);
        let expected = [
            ("/data/web/2012-06-23/0316", text(0..26)),
            ("/data/web/2012-06-23/0317", text(26..86)),
            ("/data/web/2012-06-23/0318", text(86..100)),
        ];
        for (directory, text) in expected {
            assert_eq!(directories[directory], text, "{directory}");
        }
        assert_eq!(rig.ledger.book().in_files, 100);
        assert_eq!(rig.ledger.floor(), 100);
        // Nothing is left in staging once the lineage is drained.
        let left: Vec<_> = disk.files().into_keys().filter(|it| it.contains(".staging")).collect();
        assert_eq!(left, [""; 0]);
    });
}

#[test]
fn what_drained_lineages_have_left_in_staging_is_taken_away() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let staging = NAMES.sink_staging("/data/web", 1);
        let of = |lineage: &str| format!("{staging}/{lineage}/4/0000000001");
        // Ours is 2-3. What is of another shard, or later, is not ours to judge.
        for lineage in ["2-1", "2-2", "1-1", "2-4", "2-old"] {
            disk.plant(&of(lineage), b"unfinished");
        }
        rig.ledger.set_epochs([2, 3]);
        rig.log.put(SAMPLE_MS, &lines(0..1));
        rig.drain_all(&spec("/data/web/%H%M"), &disk).await;
        let files = disk.files();
        let left: Vec<String> =
            files.into_keys().filter(|path| path.contains(".staging")).collect();
        assert_eq!(left, ["1-1", "2-2", "2-4", "2-old"].map(of));
    });
}

#[test]
fn a_file_is_rolled_by_the_put_time_of_its_first_event() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let (drain, handle) = rig.drain(&spec("/data/web"), &disk);
        let running = async {
            let stop = CancellationToken::new();
            drain.run(stop).await
        };
        let test = async {
            rig.log.put(rig.clock.wall_ms(), &lines(0..10));
            wait(&handle, |status| status.cursor == 10 && status.caught_up).await;
            assert_eq!(finals(&disk).len(), 0);
            let before = rig.clock.wall_ms();
            wait(&handle, |status| status.totals.files == 1).await;
            let waited = rig.clock.wall_ms() - before;
            assert!((28_000..33_000).contains(&waited), "{waited}");
            // A backlog whose time has long passed becomes files of half a minute each.
            for n in 0..10 {
                let put_ms = SAMPLE_MS - 300_000 + n * 10_000;
                rig.log.put(put_ms, &lines(10 + n as u64..11 + n as u64));
            }
            wait(&handle, |status| status.floor == 20).await;
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = test => (),
        }
        let sizes: Vec<usize> = finals(&disk).values().map(Vec::len).collect();
        assert_eq!(sizes, [20, 9, 9, 9, 3]);
    });
}

#[test]
fn size_count_and_idleness_roll_as_well() {
    let sizes = |spec: FilesSink| {
        run(async move {
            let rig = Rig::new();
            let disk = MemoryDisk::new();
            for n in 0..10 {
                rig.log.put(SAMPLE_MS + n * 1000, &lines(10 * n as u64..10 * n as u64 + 10));
            }
            rig.drain_all(&spec, &disk).await;
            assert_eq!(by_directory(&disk)["/data/web"], text(0..100));
            let files = finals(&disk);
            files.values().map(|bytes| bytes.split(|b| *b == b'\n').count() - 1).collect::<Vec<_>>()
        })
    };
    let base = FilesSink { roll_interval: DurationText::ZERO, ..spec("/data/web") };
    assert_eq!(sizes(base.clone()), [100]);
    assert_eq!(sizes(FilesSink { roll_count: 40, ..base.clone() }), [40, 40, 20]);
    let size = FilesSink { roll_size: ByteSize(100), ..base.clone() };
    // 10 bodies of one byte, then two bytes each: 55 events are 100 bytes, then 50.
    assert_eq!(sizes(size), [55, 45]);
    let idle = FilesSink { idle_timeout: DurationText::from_millis(1500), ..base };
    assert_eq!(sizes(idle), [100]);
}

/// All of it is long due by the clock, which is not to count before the drain has caught up: after an outage
/// there would be a file for each read.
#[test]
fn a_backlog_that_is_read_slowly_makes_no_more_files_than_its_puts_ask_for() {
    run(async {
        let rig = Rig::new();
        rig.log.slow(Duration::from_millis(20));
        let disk = MemoryDisk::new();
        let first_ms = rig.clock.wall_ms() - 3_600_000;
        for (put, put_ms) in (0..60).zip((first_ms..).step_by(1_000)) {
            rig.log.put(put_ms, &[Event::new(put.to_string()).with_timestamp_ms(put_ms)]);
        }
        let spec = FilesSink { batch_bytes: ByteSize(1), ..spec("/data/web") };
        rig.drain_all(&spec, &disk).await;
        assert_eq!(by_directory(&disk)["/data/web"], text(0..60));
        assert_eq!(finals(&disk).len(), 2, "two intervals of 30 s");
    });
}

#[test]
fn an_event_that_cannot_be_placed_is_a_dead_letter() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let good = Event::new("good").with_timestamp_ms(SAMPLE_MS).with_header("app", "shop");
        let ahead =
            Event::new("ahead").with_timestamp_ms(SAMPLE_MS + 700_000).with_header("app", "shop");
        let nameless = Event::new("nameless").with_timestamp_ms(SAMPLE_MS);
        let no_time = Event::new("no time").with_header("app", "shop");
        rig.log.put(SAMPLE_MS, &[good, ahead, nameless, no_time]);
        rig.drain_all(&spec("/data/web/%{app}/%H"), &disk).await;
        let directories = by_directory(&disk);
        assert_eq!(directories["/data/web/shop/03"], "good\nno time\n");
        let dead: Vec<serde_json::Value> = directories["/data/web/_dead/web/2012-06-23"]
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let told: Vec<_> =
            dead.iter().map(|it| (it["body"].as_str(), it["reason"].as_str())).collect();
        let expected = [
            (Some("ahead"), Some("timestamp too far ahead of its put time")),
            (Some("nameless"), Some("empty path component")),
        ];
        assert_eq!(told, expected);
        assert_eq!(dead[0]["id"], "05050505050505050505050505050505-1-1");
        let book = rig.ledger.book();
        assert_eq!((book.stored, book.in_files, book.dead_lettered), (4, 2, 2));
    });
}

#[test]
fn the_books_balance_with_drops_control_records_and_losses() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        rig.log.put(SAMPLE_MS, &lines(0..5));
        rig.log.put_dropped(SAMPLE_MS, "interceptor:filter", 7);
        rig.log.control();
        rig.log.put(SAMPLE_MS, &lines(13..20));
        rig.log.put(SAMPLE_MS, &lines(20..25));
        rig.log.lose(13, 20);
        rig.ledger.lose(sdk_config::ledger::Span { first: 13, last: 19 });
        rig.drain_all(&spec("/data/web"), &disk).await;
        let book = rig.ledger.book();
        assert_eq!(book.stored, 24);
        assert_eq!(book.in_files, 10);
        assert_eq!(book.dropped["interceptor:filter"], 7);
        assert_eq!(book.lost, 7);
        assert_eq!(book.stored, book.ended());
        assert_eq!(by_directory(&disk)["/data/web"], text(0..5) + &text(20..25));
    });
}

#[test]
fn more_buckets_than_memory_are_built_from_the_log() {
    run(async {
        let mut rig = Rig::new();
        rig.limits.buffer_bytes = 64 << 10;
        let disk = MemoryDisk::new();
        let hosts = 200;
        for round in 0..20 {
            let events: Vec<Event> = (0..hosts)
                .map(|host| {
                    Event::new(format!("{round} {}", "x".repeat(100)))
                        .with_timestamp_ms(SAMPLE_MS)
                        .with_header("host", format!("h{host}"))
                })
                .collect();
            rig.log.put(SAMPLE_MS + round, &events);
        }
        let spec = FilesSink {
            max_open_files: Some(16),
            codec: sdk_config::OutputCodec::Zstd(sdk_config::ZstdCodec::default()),
            ..spec("/data/web/%{host}")
        };
        rig.ledger.seal(rig.log.seal());
        let (drain, handle) = rig.drain(&spec, &disk);
        assert_eq!(drain.run(CancellationToken::new()).await.unwrap(), Ended::Drained);
        assert!(handle.status().totals.rebuilt_files > 50, "{:?}", handle.status().totals);
        let files = finals(&disk);
        assert_eq!(files.len(), hosts);
        for (path, bytes) in files {
            assert!(path.ends_with(".zst"), "{path}");
            let text = zstd::decode_all(bytes.as_slice()).unwrap();
            let text = String::from_utf8(text).unwrap();
            let rounds: Vec<&str> = text.lines().map(|it| it.split(' ').next().unwrap()).collect();
            let expected: Vec<String> = (0..20).map(|round: u32| round.to_string()).collect();
            assert_eq!(rounds, expected);
        }
    });
}

/// Nothing ever rolls by itself, and there are more directories than may be remembered.
#[test]
fn more_buckets_than_numbers_are_rolled_early() {
    run(async {
        let mut rig = Rig::new();
        rig.limits.buckets = 20;
        let disk = MemoryDisk::new();
        for put in 0..30 {
            let event = |n: i64| {
                Event::new(n.to_string()).with_header("host", format!("h{}", put * 10 + n))
            };
            rig.log.put(SAMPLE_MS, &(0..10).map(event).collect::<Vec<_>>());
        }
        let spec = FilesSink {
            roll_interval: DurationText::ZERO,
            new_directories_per_minute: 1000,
            batch_bytes: ByteSize(1),
            ..spec("/data/web/%{host}")
        };
        rig.drain_all(&spec, &disk).await;
        assert_eq!(by_directory(&disk).len(), 300);
    });
}

#[test]
fn stop_finishes_what_was_read() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let stop = CancellationToken::new();
        let (drain, handle) = rig.drain(&spec("/data/web"), &disk);
        rig.log.put(rig.clock.wall_ms(), &lines(0..10));
        let test = async {
            wait(&handle, |status| status.cursor == 10).await;
            stop.cancel();
        };
        let before = rig.clock.wall_ms();
        let (ended, ()) = tokio::join!(drain.run(stop.clone()), test);
        assert_eq!(ended.unwrap(), Ended::Stopped);
        assert!(rig.clock.wall_ms() - before < 2_000);
        assert_eq!(by_directory(&disk)["/data/web"], text(0..10));
        assert_eq!(rig.ledger.floor(), 10);
    });
}

#[test]
fn roll_now_finishes_files_and_freshness_follows() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let (drain, handle) = rig.drain(&spec("/data/web"), &disk);
        let put_ms = rig.clock.wall_ms();
        rig.log.put(put_ms, &lines(0..10));
        let test = async {
            let status = wait(&handle, |status| status.cursor == 10 && status.caught_up).await;
            assert_eq!(status.final_before_ms(put_ms + 5), Some(put_ms));
            handle.roll_now();
            let status = wait(&handle, |status| status.floor == 10).await;
            assert_eq!(status.final_before_ms(put_ms + 5), Some(put_ms + 5));
        };
        tokio::select! {
            ended = drain.run(CancellationToken::new()) => panic!("{ended:?}"),
            () = test => (),
        }
    });
}

#[test]
fn late_events_go_to_a_new_file_in_the_old_directory_and_are_counted() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let at =
            |ms: i64, text: &str| Event::new(text.to_owned()).with_timestamp_ms(SAMPLE_MS + ms);
        rig.log.put(SAMPLE_MS, &[at(0, "first")]);
        rig.log.put(SAMPLE_MS + 600_000, &[at(1, "late"), at(600_000, "in time")]);
        rig.ledger.seal(rig.log.seal());
        let (drain, handle) = rig.drain(&spec("/data/web/%H%M"), &disk);
        drain.run(CancellationToken::new()).await.unwrap();
        assert_eq!(handle.status().totals.late_events, 1);
        assert_eq!(by_directory(&disk)["/data/web/0316"], "first\nlate\n");
        let old = finals(&disk).into_keys().filter(|path| path.contains("/0316/")).count();
        assert_eq!(old, 2);
    });
}

#[test]
fn new_directories_are_made_no_faster_than_allowed() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let events: Vec<Event> =
            (0..30).map(|host| Event::new("x").with_header("host", format!("h{host}"))).collect();
        rig.log.put(SAMPLE_MS, &events);
        let spec = FilesSink { new_directories_per_minute: 10, ..spec("/data/web/%{host}") };
        let before = rig.clock.wall_ms();
        rig.drain_all(&spec, &disk).await;
        let took = rig.clock.wall_ms() - before;
        assert!((100_000..130_000).contains(&took), "{took}");
        assert_eq!(by_directory(&disk).len(), 30);
    });
}

#[test]
fn ids_are_written_when_asked_for() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        rig.log.put(SAMPLE_MS, &lines(0..2));
        let serializer = Serializer::Json(JsonSerializer { ids: true });
        rig.drain_all(&FilesSink { serializer, ..spec("/data/web") }, &disk).await;
        let text = &by_directory(&disk)["/data/web"];
        let second: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!(second["id"], "05050505050505050505050505050505-1-1");
        assert_eq!(second["timestamp"], SAMPLE_MS);
    });
}
