//! Several sinks with one cursor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sdk_config::{DurationText, FilesSink};
use sdk_event::Event;
use sdk_files::fs::{Faults, FaultyDisk, FileSystems, FsErrorKind, MemoryDisk};
use sdk_files::ledger::Ledger;
use sdk_files::{Drain, DrainHandle, Preference};
use sdk_flow::{Clock, Ended, Entropy, SeededEntropy};
use tokio_util::sync::CancellationToken;

use crate::rig::ledger::FaultyLedger;
use crate::rig::{Rig, finals, run, spec};

struct Group {
    rig: Rig,
    disk: FaultyDisk,
    ledger: FaultyLedger,
    specs: Vec<FilesSink>,
    next: u64,
}

impl Group {
    fn new(seed: u64, paths: &[&str]) -> Group {
        let mut rig = Rig::with_seed(seed);
        if seed.is_multiple_of(4) {
            // Little memory: files are built from the log.
            rig.limits.buffer_bytes = 4 << 10;
        }
        let faults = Arc::new(SeededEntropy::new(seed ^ 0xd15c));
        let disk = FaultyDisk::new(MemoryDisk::new(), faults, Faults::NONE);
        let answers = Arc::new(SeededEntropy::new(seed ^ 0x1ed6e4));
        let ledger = FaultyLedger::new(rig.ledger.clone(), answers, 0);
        let specs = paths.iter().map(|path| FilesSink {
            roll_interval: DurationText::from_secs(2),
            roll_count: 3 + seed % 9,
            ..spec(path)
        });
        Group { rig, disk, ledger, specs: specs.collect(), next: 0 }
    }

    fn put(&mut self, events: u64) {
        let apps: Vec<u64> = (self.next..self.next + events).map(|n| (n * 7 + n / 3) % 3).collect();
        self.put_apps(&apps);
    }

    /// One event for each of these applications.
    fn put_apps(&mut self, apps: &[u64]) {
        let now = self.rig.clock.wall_ms();
        let event = |(n, app): (u64, &u64)| {
            let event = Event::new(n.to_string()).with_timestamp_ms(now);
            event.with_header("app", format!("a{app}"))
        };
        let block: Vec<Event> = (self.next..).zip(apps).map(event).collect();
        self.next += apps.len() as u64;
        self.rig.log.put(now, &block);
    }

    fn drain(&self) -> (Drain, DrainHandle) {
        let systems: Arc<dyn FileSystems> = Arc::new(Arc::new(self.disk.clone()));
        let specs = self.specs.iter().zip(1..);
        let sinks = specs.map(|(spec, number)| self.rig.sink(number, spec, &*systems)).collect();
        let mut options = self.rig.options(sinks, systems);
        options.ledger = Arc::new(self.ledger.clone()) as Arc<dyn Ledger>;
        Drain::new(options)
    }

    /// Where each event is; none is twice.
    fn found(&self, what: &str) -> BTreeMap<u64, String> {
        let mut seen = BTreeMap::new();
        for (path, bytes) in finals(self.disk.disk()) {
            let mut last = None;
            for line in std::str::from_utf8(&bytes).unwrap().lines() {
                let number: u64 = line.parse().unwrap();
                assert!(last < Some(number), "{what}: order in {path}");
                last = Some(number);
                let before = seen.insert(number, path.clone());
                assert_eq!(before, None, "{what}: {number} is twice, again in {path}");
            }
        }
        seen
    }

    fn all_found(&self, what: &str) -> BTreeMap<u64, String> {
        let found = self.found(what);
        let numbers: Vec<u64> = found.keys().copied().collect();
        assert_eq!(numbers, (0..self.next).collect::<Vec<_>>(), "{what}: lost or made up");
        let book = self.rig.ledger.book();
        assert_eq!((book.in_files, book.stored), (self.next, self.next), "{what}: {book:?}");
        found
    }
}

async fn until(handle: &DrainHandle, what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not in time: {what}: {:#?}", handle.status());
}

/// What a sink had begun when it failed is read again: until then it is nowhere.
#[test]
fn what_is_to_be_read_again_is_not_final() {
    run(async {
        let mut group = Group::new(1, &["/first/web/%{app}", "/second/web/%{app}"]);
        let (drain, handle) = group.drain();
        let ledger = group.rig.ledger.clone();
        let running = drain.run(CancellationToken::new());
        let test = async {
            group.put(20);
            until(&handle, "first", || ledger.floor() == 20).await;
            let put_ms = group.rig.clock.wall_ms();
            group.put_apps(&[0]);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            group.put_apps(&[1]);
            // It takes its time to fail, so that what is said in between is seen.
            group.disk.set_faults(Faults { hang: 1000, ..Faults::NONE });
            let mut watch = handle.watch();
            while ledger.floor() < 22 {
                watch.changed().await.unwrap();
                let status = watch.borrow_and_update().clone();
                if !status.down.is_empty() {
                    group.disk.set_faults(Faults::NONE);
                }
                let before = status.final_before_ms(i64::MAX);
                let late = before.is_some_and(|before| before > put_ms);
                assert!(!late || ledger.book().in_files > 20, "{status:#?}");
            }
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = test => (),
        }
    });
}

#[test]
fn the_next_sink_takes_over_and_the_first_takes_back() {
    run(async {
        let mut group = Group::new(1, &["/first/web/%{app}", "/second/web/%{app}"]);
        let (drain, handle) = group.drain();
        let disk = group.disk.disk().clone();
        let ledger = group.rig.ledger.clone();
        let running = drain.run(CancellationToken::new());
        let test = async {
            group.put(20);
            until(&handle, "first", || ledger.floor() == 20).await;
            disk.refuse("/first", FsErrorKind::ReadOnly);
            group.put(20);
            until(&handle, "second", || ledger.floor() == 40).await;
            let status = handle.status();
            assert_eq!(status.active.as_deref(), Some("sink2"));
            let reason = status.degraded.unwrap();
            assert!(reason.contains("events go to sink sink2 instead"), "{reason}");
            disk.accept("/first");
            until(&handle, "back", || handle.status().active.as_deref() == Some("sink1")).await;
            group.put(20);
            until(&handle, "first again", || ledger.floor() == 60).await;
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = test => (),
        }
        let found = group.all_found("failover");
        for (number, path) in found {
            let root = if (20..40).contains(&number) { "/second/" } else { "/first/" };
            assert!(path.starts_with(root), "{number} in {path}");
        }
    });
}

#[test]
fn what_was_announced_stays_with_its_sink_and_the_rest_moves_on() {
    run(async {
        let mut group = Group::new(1, &["/first/web/%{app}", "/second/web/all"]);
        let (drain, handle) = group.drain();
        let disk = group.disk.disk().clone();
        let ledger = group.rig.ledger.clone();
        let running = drain.run(CancellationToken::new());
        let test = async {
            group.put(3);
            until(&handle, "first", || ledger.floor() == 3).await;
            // Staging works, so Intents are accepted; the renames into new directories fail.
            disk.refuse("/first/web/a0", FsErrorKind::Other);
            disk.refuse("/first/web/a1", FsErrorKind::Other);
            disk.refuse("/first/web/a2", FsErrorKind::Other);
            group.put(12);
            tokio::time::sleep(Duration::from_millis(2500)).await;
            disk.refuse("/first", FsErrorKind::ReadOnly);
            group.put(12);
            until(&handle, "second", || ledger.floor() == 27).await;
            assert!(ledger.first_needed() < 27, "something is pinned to the first");
            for path in ["/first", "/first/web/a0", "/first/web/a1", "/first/web/a2"] {
                disk.accept(path);
            }
            until(&handle, "resolved", || ledger.first_needed() == 27).await;
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = test => (),
        }
        let found = group.all_found("pinned");
        assert!(found.values().any(|path| path.starts_with("/second/")));
    });
}

/// A file that was announced at the first sink, whose events lie among those that the second sink
/// has by now, is built again as it was: with its own events, and none of the second's.
#[test]
fn a_pinned_file_is_built_again_after_a_crash() {
    run(async {
        let mut group = Group::new(1, &["/first/web/%{app}", "/second/web/all"]);
        let (drain, handle) = group.drain();
        let disk = group.disk.disk().clone();
        let ledger = group.rig.ledger.clone();
        let running = drain.run(CancellationToken::new());
        let test = async {
            group.put(3);
            until(&handle, "first", || ledger.floor() == 3).await;
            // A file of a0 is full and announced, though it cannot be placed; a1's is neither.
            disk.refuse("/first/web/a0", FsErrorKind::Other);
            group.put_apps(&[0, 1, 0, 0, 1, 0, 0]);
            until(&handle, "announced", || !ledger.open_intents().is_empty()).await;
            disk.refuse("/first", FsErrorKind::ReadOnly);
            group.put(20);
            until(&handle, "second", || ledger.floor() == 30).await;
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = test => (),
        }
        let pinned = ledger.open_intents();
        assert!(!pinned.is_empty());
        disk.accept("/first");
        disk.accept("/first/web/a0");
        ledger.seal(group.rig.log.seal());
        let ended = group.drain().0.run(CancellationToken::new()).await;
        assert_eq!(ended.unwrap(), Ended::Drained);
        let found = group.all_found("rebuilt");
        let second = found.iter().filter(|(_, path)| path.starts_with("/second/"));
        let second: Vec<u64> = second.map(|(number, _)| *number).collect();
        let span = pinned[0].span();
        assert!(second.iter().any(|number| span.contains(*number)), "{span:?} {second:?}");
    });
}

#[test]
fn lineages_are_spread_over_the_sinks_of_a_balanced_group() {
    run(async {
        let mut group = Group::new(1, &["/first/web", "/second/web"]);
        group.rig.preference = Preference::Spread;
        group.put(5);
        group.rig.ledger.seal(group.rig.log.seal());
        let (drain, _) = group.drain();
        assert_eq!(drain.run(CancellationToken::new()).await.unwrap(), Ended::Drained);
        let found = group.all_found("spread");
        // Shard 2 in epoch 3: an odd turn.
        assert!(found.values().all(|path| path.starts_with("/second/")), "{found:?}");
    });
}

/// Sinks fail and come back, calls fail, the process crashes: once is once, in whichever sink.
async fn one(seed: u64) {
    // The sinks split events differently, so that ranges of one lie across those of the other.
    let layouts: [[&str; 2]; 3] = [
        ["/first/web/%{app}", "/second/web/%{app}"],
        ["/first/web/%{app}", "/second/web/all"],
        ["/first/web/all", "/second/web/%{app}"],
    ];
    let mut group = Group::new(seed, &layouts[usize::try_from(seed % 3).unwrap()]);
    let entropy = SeededEntropy::new(seed ^ 0x6606);
    for _ in 0..3 + entropy.below(4) {
        let faults = Faults {
            before: entropy.below(20),
            after: entropy.below(20),
            delayed: entropy.below(20),
            repeated: entropy.below(50),
            hang: 0,
        };
        group.disk.set_faults(if entropy.below(2) == 0 { faults } else { Faults::NONE });
        let crashed = match entropy.below(3) {
            0 => group.disk.crash_after(20 + entropy.below(300)),
            1 => group.ledger.crash_after(5 + entropy.below(60)),
            _ => CancellationToken::new(),
        };
        let (drain, _) = group.drain();
        let script = async {
            for _ in 0..4 + entropy.below(8) {
                let root = if entropy.below(2) == 0 { "/first" } else { "/second" };
                let path = match entropy.below(3) {
                    0 => format!("{root}/web/a{}", entropy.below(3)),
                    1 => format!("{root}/web/all"),
                    _ => root.to_owned(),
                };
                match entropy.below(3) {
                    0 => group.disk.disk().refuse(&path, FsErrorKind::ReadOnly),
                    _ => {
                        for root in ["/first", "/second"] {
                            group.disk.disk().accept(root);
                            for app in ["all", "a0", "a1", "a2"] {
                                group.disk.disk().accept(&format!("{root}/web/{app}"));
                            }
                        }
                    }
                }
                group.put(1 + entropy.below(10));
                tokio::time::sleep(Duration::from_millis(entropy.below(3000))).await;
            }
        };
        tokio::select! {
            () = crashed.cancelled() => (),
            ended = drain.run(CancellationToken::new()) => panic!("seed {seed}: {ended:?}"),
            () = script => (),
        }
        group.found(&format!("seed {seed}"));
        group.disk.restart();
        group.ledger.restart();
    }
    group.disk.set_faults(Faults::NONE);
    for root in ["/first", "/second"] {
        group.disk.disk().accept(root);
        for app in ["all", "a0", "a1", "a2"] {
            group.disk.disk().accept(&format!("{root}/web/{app}"));
        }
    }
    group.rig.ledger.seal(group.rig.log.seal());
    let (drain, handle) = group.drain();
    let ended =
        tokio::time::timeout(Duration::from_secs(900), drain.run(CancellationToken::new())).await;
    let ended = ended.unwrap_or_else(|_| {
        panic!("seed {seed}: never drained: {:#?} {:#?}", handle.status(), group.rig.ledger)
    });
    assert_eq!(ended.unwrap(), Ended::Drained, "seed {seed}");
    group.disk.settle().await;
    group.all_found(&format!("seed {seed}"));
}

#[test]
fn events_are_in_one_sink_once_whatever_fails() {
    sdk_seeds::each(300, 20_000, |seed| run(one(seed)));
}
