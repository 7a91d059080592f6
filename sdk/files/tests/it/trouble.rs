//! Roots and directories that do not work, and what drains by itself when they do again.

use std::sync::Arc;
use std::time::Duration;

use sdk_config::FilesSink;
use sdk_config::ledger::{Root, RootId, Span};
use sdk_event::Event;
use sdk_files::fs::{Faults, FaultyDisk, FileSystems, FsErrorKind, MemoryDisk};
use sdk_files::ledger::{Ledger, MemoryRoots};
use sdk_files::status::DrainStatus;
use sdk_files::{Drain, DrainHandle};
use sdk_flow::{Clock, Ended, SeededEntropy};
use tokio_util::sync::CancellationToken;

use crate::rig::ledger::FaultyLedger;
use crate::rig::{NAMES, Rig, by_directory, finals, run, spec};

/// Two events a put, one for each of two applications.
async fn put(rig: &Rig, numbers: std::ops::Range<u32>) {
    for n in numbers {
        let event = |app: &str| {
            let now = rig.clock.wall_ms();
            Event::new(format!("{app}{n}")).with_timestamp_ms(now).with_header("app", app)
        };
        rig.log.put(rig.clock.wall_ms(), &[event("a"), event("b")]);
    }
}

fn lines(app: &str, numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("{app}{n}\n")).collect()
}

fn sink() -> FilesSink {
    spec("/data/web/%{app}")
}

async fn wait(
    handle: &DrainHandle,
    what: &str,
    until: impl Fn(&DrainStatus) -> bool,
) -> DrainStatus {
    let mut watch = handle.watch();
    let status = tokio::time::timeout(Duration::from_secs(900), watch.wait_for(until)).await;
    match status {
        Ok(status) => status.expect("the drain runs").clone(),
        Err(_) => panic!("not in time: {what}: {:#?}", handle.status()),
    }
}

/// Runs `test` beside a drain, which must not end.
async fn beside<T>(drain: Drain, test: impl Future<Output = T>) -> T {
    tokio::select! {
        ended = drain.run(CancellationToken::new()) => panic!("{ended:?}"),
        done = test => done,
    }
}

#[test]
fn a_root_that_cannot_be_written_drains_by_itself_when_it_can() {
    for kind in [FsErrorKind::ReadOnly, FsErrorKind::Permission, FsErrorKind::NoSpace] {
        run(async move {
            let rig = Rig::new();
            let disk = MemoryDisk::new();
            let (drain, handle) = rig.drain(&sink(), &disk);
            let test = async {
                put(&rig, 0..5).await;
                wait(&handle, "first files", |status| status.floor == 10).await;
                disk.refuse("/data/web", kind);
                put(&rig, 5..10).await;
                let status = wait(&handle, "down", |it| !it.down.is_empty()).await;
                let reason = status.degraded.unwrap();
                assert!(reason.starts_with("sink sink1 does not work: cannot "), "{reason}");
                assert_eq!(status.active, None);
                assert_eq!(rig.penalties.list().len(), 1);
                tokio::time::sleep(Duration::from_secs(60)).await;
                assert_eq!(finals(&disk).len(), 2);
                put(&rig, 10..12).await;
                disk.accept("/data/web");
                let status = wait(&handle, "all", |it| it.floor == 24).await;
                assert_eq!(status.degraded, None);
                assert_eq!(rig.penalties.list(), []);
            };
            beside(drain, test).await;
            assert_eq!(by_directory(&disk)["/data/web/a"], lines("a", 0..12));
            assert_eq!(by_directory(&disk)["/data/web/b"], lines("b", 0..12));
        });
    }
}

#[test]
fn a_root_that_does_not_work_from_the_start_is_waited_for() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        disk.refuse("/data", FsErrorKind::Permission);
        let (drain, handle) = rig.drain(&sink(), &disk);
        let test = async {
            put(&rig, 0..5).await;
            let status = wait(&handle, "degraded", |status| status.degraded.is_some()).await;
            let reason = status.degraded.unwrap();
            assert!(reason.contains("cannot make directory /data/web: permission"), "{reason}");
            tokio::time::sleep(Duration::from_secs(60)).await;
            disk.accept("/data");
            wait(&handle, "all", |status| status.floor == 10).await;
        };
        beside(drain, test).await;
        assert_eq!(by_directory(&disk)["/data/web/a"], lines("a", 0..5));
    });
}

/// One directory cannot be used: its bucket waits, the others and the floor go on.
#[test]
fn a_directory_of_its_own_trouble_is_left_alone_and_tried_again() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        // Where a directory should be stands a file.
        disk.plant("/data/web/a", b"in the way");
        let (drain, handle) = rig.drain(&sink(), &disk);
        let test = async {
            put(&rig, 0..5).await;
            wait(&handle, "quarantine", |status| status.quarantined.len() == 1).await;
            let status = wait(&handle, "floor", |status| status.floor == 10).await;
            let [bucket] = &status.quarantined[..] else { panic!("{status:?}") };
            assert_eq!(bucket.bucket.directory, "/data/web/a");
            assert_eq!(bucket.events, 5);
            let told = rig.ledger.quarantined();
            assert_eq!(told.len(), 1);
            assert!(told[0].1.contains("not a directory"), "{told:?}");
            // What comes meanwhile becomes holes, and the log is kept for them.
            for n in 5..9 {
                put(&rig, n..n + 1).await;
                tokio::time::sleep(Duration::from_secs(40)).await;
            }
            wait(&handle, "floor", |status| status.floor == 18).await;
            assert_eq!(rig.ledger.first_needed(), 0);
            assert_eq!(by_directory(&disk)["/data/web/b"], lines("b", 0..9));
            disk.uproot("/data/web/a");
            let healed = |it: &DrainStatus| it.quarantined.is_empty() && it.buckets == 0;
            wait(&handle, "healed", healed).await;
            assert_eq!(rig.ledger.quarantined(), []);
            put(&rig, 9..10).await;
            wait(&handle, "floor", |status| status.floor == 20).await;
        };
        beside(drain, test).await;
        assert_eq!(by_directory(&disk)["/data/web/a"], lines("a", 0..10));
        assert_eq!(rig.ledger.first_needed(), 20);
        assert_eq!(rig.ledger.book().ended(), 20);
    });
}

/// A hole is as old as its events, whichever token looks at it.
#[test]
fn a_hole_keeps_freshness_back_under_a_fresh_token() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        disk.plant("/data/web/a", b"in the way");
        let (drain, handle) = rig.drain(&sink(), &disk);
        let put_ms = rig.clock.wall_ms();
        let never_later = |status: &DrainStatus| {
            let before = status.final_before_ms(i64::MAX);
            assert!(before.is_none_or(|before| before <= put_ms), "{status:?}");
        };
        let test = async {
            put(&rig, 0..5).await;
            let before = wait(&handle, "hole", |status| status.floor == 10).await;
            never_later(&before);
            handle.refresh();
            let fresh = wait(&handle, "a fresh token", |status| {
                never_later(status);
                status.token > before.token && status.caught_up && status.put_times_known
            });
            assert_eq!(fresh.await.final_before_ms(i64::MAX), Some(put_ms));
        };
        beside(drain, test).await;
    });
}

#[test]
fn what_no_sink_lets_it_read_has_an_age() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let (drain, handle) = rig.drain(&sink(), &disk);
        put(&rig, 0..5).await;
        beside(drain, wait(&handle, "floor", |status| status.floor == 10)).await;
        disk.refuse("/data/web", FsErrorKind::ReadOnly);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let put_ms = rig.clock.wall_ms();
        put(&rig, 5..10).await;
        let (drain, handle) = rig.drain(&sink(), &disk);
        let down = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            wait(&handle, "down", |status| !status.down.is_empty()).await
        };
        let status = beside(drain, down).await;
        assert_eq!(status.cursor, 10);
        assert_eq!(status.final_before_ms(i64::MAX), Some(put_ms));
    });
}

/// The same, with crashes while the bucket waits.
#[test]
fn holes_outlive_crashes() {
    for seed in 0..60 {
        run(async move {
            let rig = Rig::with_seed(seed);
            let entropy = Arc::new(SeededEntropy::new(seed));
            let disk = FaultyDisk::new(MemoryDisk::new(), entropy, Faults::NONE);
            let systems: Arc<dyn FileSystems> = Arc::new(Arc::new(disk.clone()));
            let drain = || {
                let sink = rig.sink(1, &sink(), &*systems);
                Drain::new(rig.options(vec![sink], Arc::clone(&systems)))
            };
            disk.disk().plant("/data/web/a", b"in the way");
            for n in 0..4 {
                put(&rig, n * 2..n * 2 + 2).await;
                let crashed = disk.crash_after(10 + (seed * 7 + u64::from(n) * 13) % 90);
                let (drain, _) = drain();
                tokio::select! {
                    ended = drain.run(CancellationToken::new()) => panic!("{ended:?}"),
                    () = crashed.cancelled() => (),
                    () = tokio::time::sleep(Duration::from_secs(70)) => (),
                }
                disk.restart();
            }
            disk.disk().uproot("/data/web/a");
            rig.ledger.seal(rig.log.seal());
            let ended = tokio::time::timeout(
                Duration::from_secs(900),
                drain().0.run(CancellationToken::new()),
            );
            let ended = ended.await.unwrap_or_else(|_| panic!("seed {seed}: never drained"));
            assert_eq!(ended.unwrap(), Ended::Drained, "seed {seed}");
            let found = by_directory(disk.disk());
            assert_eq!(found["/data/web/a"], lines("a", 0..8), "seed {seed}");
            assert_eq!(found["/data/web/b"], lines("b", 0..8), "seed {seed}");
        });
    }
}

#[test]
fn another_file_under_a_final_name_is_a_conflict_of_its_bucket_alone() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let bucket = sdk_config::ledger::BucketKey {
            sink: 1,
            directory: "/data/web/a".to_owned(),
            prefix: "events".to_owned(),
            suffix: String::new(),
        };
        let target = format!("/data/web/a/{}", NAMES.file(&bucket, 0, 8));
        disk.plant(&target, b"somebody else's");
        let (drain, handle) = rig.drain(&sink(), &disk);
        let test = async {
            put(&rig, 0..5).await;
            let status = wait(&handle, "quarantine", |status| status.quarantined.len() == 1).await;
            assert!(status.degraded.unwrap().contains("not ours"));
            wait(&handle, "floor", |status| status.floor == 10).await;
            assert_eq!(by_directory(&disk)["/data/web/b"], lines("b", 0..5));
            tokio::time::sleep(Duration::from_secs(300)).await;
            assert_eq!(disk.files()[&target], b"somebody else's");
            disk.uproot(&target);
            wait(&handle, "healed", |status| status.quarantined.is_empty()).await;
        };
        beside(drain, test).await;
        assert_eq!(by_directory(&disk)["/data/web/a"], lines("a", 0..5));
    });
}

#[test]
fn a_marker_that_has_vanished_stops_everything_until_it_is_back() {
    run(async {
        let mut rig = Rig::new();
        let roots = MemoryRoots::default();
        rig.ledger = sdk_files::ledger::MemoryLedger::new(roots.clone());
        let disk = MemoryDisk::new();
        let (drain, handle) = rig.drain(&sink(), &disk);
        let test = async {
            put(&rig, 0..5).await;
            wait(&handle, "first files", |status| status.floor == 10).await;
            let marker = disk.files()["/data/web/.collector-root"].clone();
            // The volume is gone: an empty directory stands in its place.
            disk.uproot("/data/web");
            disk.plant("/data/web/x", b"");
            disk.uproot("/data/web/x");
            handle.refresh();
            put(&rig, 5..10).await;
            let gone = |it: &DrainStatus| {
                it.degraded.as_ref().is_some_and(|reason| reason.contains("has vanished"))
            };
            wait(&handle, "vanished", gone).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(disk.files().is_empty(), "{:?}", disk.files());
            // Another volume in its place is no better.
            disk.plant(
                "/data/web/.collector-root",
                b"collector-root 1 00000000000000000000000000000001\n",
            );
            let other = |it: &DrainStatus| {
                it.degraded.as_ref().is_some_and(|reason| reason.contains("not the recorded one"))
            };
            wait(&handle, "other", other).await;
            // Unless an operator says so.
            let id = RootId(1u128.to_be_bytes());
            roots.adopt(Root { path: "/data/web".to_owned(), id });
            wait(&handle, "adopted", |status| status.floor == 20).await;
            assert_eq!(by_directory(&disk)["/data/web/a"], lines("a", 5..10));
            drop(marker);
        };
        beside(drain, test).await;
    });
}

/// Under one token only the same rename is repeated: a file that is neither here nor there is built
/// again by the next token, never by this one.
#[test]
fn a_file_lost_in_staging_is_built_again_under_a_fresh_token() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let (drain, handle) = rig.drain(&sink(), &disk);
        let test = async {
            wait(&handle, "begin", |status| status.caught_up).await;
            disk.refuse("/data/web/a", FsErrorKind::Other);
            put(&rig, 0..5).await;
            wait(&handle, "the other file", |status| status.totals.files == 1).await;
            let staged = |path: &String| path.contains("/.staging/");
            let lost: Vec<String> = disk.files().into_keys().filter(staged).collect();
            let [lost] = &lost[..] else { panic!("{lost:?}") };
            disk.uproot(lost);
            disk.accept("/data/web/a");
            let status = wait(&handle, "all", |status| status.floor == 10).await;
            assert_eq!((status.totals.tokens, status.totals.rebuilt_files), (2, 1));
        };
        beside(drain, test).await;
        assert_eq!(by_directory(&disk)["/data/web/a"], lines("a", 0..5));
        assert_eq!(finals(&disk).len(), 2);
    });
}

#[test]
fn files_whose_events_are_lost_before_they_were_placed_are_given_up() {
    run(async {
        let rig = Rig::new();
        let entropy = Arc::new(SeededEntropy::new(3));
        let disk = FaultyDisk::new(MemoryDisk::new(), Arc::clone(&entropy) as _, Faults::NONE);
        let ledger = FaultyLedger::new(rig.ledger.clone(), entropy, 0);
        let systems: Arc<dyn FileSystems> = Arc::new(Arc::new(disk.clone()));
        let drain = || {
            let sink = rig.sink(1, &sink(), &*systems);
            let mut options = rig.options(vec![sink], Arc::clone(&systems));
            options.ledger = Arc::new(ledger.clone()) as Arc<dyn Ledger>;
            Drain::new(options)
        };
        put(&rig, 0..5).await;
        // The process dies with Intents open: the finals' directories cannot be made.
        disk.disk().refuse("/data/web/a", FsErrorKind::Other);
        disk.disk().refuse("/data/web/b", FsErrorKind::Other);
        tokio::select! {
            ended = drain().0.run(CancellationToken::new()) => panic!("{ended:?}"),
            () = tokio::time::sleep(Duration::from_secs(35)) => (),
        }
        disk.disk().accept("/data/web/a");
        disk.disk().accept("/data/web/b");
        rig.log.lose(4, 6);
        rig.ledger.lose(Span { first: 4, last: 5 });
        put(&rig, 5..6).await;
        rig.ledger.seal(rig.log.seal());
        assert_eq!(drain().0.run(CancellationToken::new()).await.unwrap(), Ended::Drained);
        let book = rig.ledger.book();
        assert_eq!((book.in_files, book.lost), (2, 10), "{book:?}");
        assert_eq!(by_directory(disk.disk())["/data/web/a"], lines("a", 5..6));
    });
}

/// What was read, was not kept in memory, and cannot be read again is counted.
#[test]
fn events_lost_before_their_file_was_announced_are_in_the_books() {
    run(async {
        let mut rig = Rig::new();
        rig.limits.buffer_bytes = 1 << 10;
        let disk = MemoryDisk::new();
        let (drain, handle) = rig.drain(&sink(), &disk);
        let test = async {
            put(&rig, 0..5).await;
            wait(&handle, "first files", |status| status.floor == 10).await;
            disk.refuse("/data/web", FsErrorKind::Unavailable);
            // The floor may stop where a read ended: between what is lost and the rest.
            put(&rig, 5..15).await;
            wait(&handle, "a first part is read", |status| status.cursor == 30).await;
            put(&rig, 15..505).await;
            wait(&handle, "cold", |status| status.caught_up && status.cold_files == 2).await;
            rig.log.lose(10, 30);
            rig.ledger.lose(Span { first: 10, last: 29 });
            disk.accept("/data/web");
            wait(&handle, "the rest", |status| status.floor == 1_010).await;
        };
        beside(drain, test).await;
        let book = rig.ledger.book();
        assert_eq!((book.stored, book.in_files, book.lost), (1_010, 990, 20), "{book:?}");
        assert_eq!(by_directory(&disk)["/data/web/a"], lines("a", 0..5) + &lines("a", 15..505));
    });
}

/// Nothing new can be made in the root, but what is wanted is there already: that is said, and the
/// rest goes on.
#[test]
fn a_root_where_nothing_new_can_be_made_is_told_in_time() {
    run(async {
        let rig = Rig::new();
        let disk = MemoryDisk::new();
        let (drain, handle) = rig.drain(&sink(), &disk);
        let test = async {
            put(&rig, 0..5).await;
            wait(&handle, "first files", |status| status.floor == 10).await;
            disk.refuse_new("/data/web", FsErrorKind::Permission);
            let status = wait(&handle, "told", |status| status.degraded.is_some()).await;
            let reason = status.degraded.unwrap();
            assert!(reason.starts_with("sink sink1 can make nothing new in its root"), "{reason}");
            put(&rig, 5..6).await;
            wait(&handle, "next files", |status| status.floor == 12).await;
            disk.accept("/data/web");
            wait(&handle, "healed", |status| status.degraded.is_none()).await;
        };
        beside(drain, test).await;
    });
}
