//! Crashes, failures and answers that come too late: nothing is lost, nothing is twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sdk_config::{DurationText, FilesSink};
use sdk_event::Event;
use sdk_files::fs::{Faults, FaultyDisk, FileSystems, MemoryDisk};
use sdk_files::ledger::Ledger;
use sdk_files::name::FinalName;
use sdk_files::{Drain, DrainHandle};
use sdk_flow::{Ended, Entropy, SeededEntropy};
use tokio_util::sync::CancellationToken;

use crate::rig::ledger::FaultyLedger;
use crate::rig::{Rig, SAMPLE_MS, finals, run, spec};

/// What a seed does.
struct Case {
    rig: Rig,
    disk: FaultyDisk,
    ledger: FaultyLedger,
    spec: FilesSink,
    entropy: Arc<SeededEntropy>,
    /// Directory and number of every event, by offset.
    expected: Vec<(String, u64)>,
    /// Bodies are numbers that count up.
    next: u64,
    /// Finals that a job has read and taken away, once they were committed.
    taken: Vec<(String, Vec<u8>)>,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut rig = Rig::with_seed(seed);
        let entropy = Arc::new(SeededEntropy::new(seed ^ 0xfa17));
        let faults = Arc::new(SeededEntropy::new(seed ^ 0xd15c));
        let disk = FaultyDisk::new(MemoryDisk::new(), faults, Faults::NONE);
        let answers = Arc::new(SeededEntropy::new(seed ^ 0x1ed6e4));
        let ledger = FaultyLedger::new(rig.ledger.clone(), answers, 0);
        let spec = FilesSink {
            roll_count: 1 + entropy.below(12),
            roll_interval: DurationText::from_millis(500 + entropy.below(3000)),
            ..spec("/data/web/%{app}/%M")
        };
        if entropy.below(3) == 0 {
            // Little memory: files are built from the log.
            rig.limits.buffer_bytes = 4 << 10;
        }
        Case { rig, disk, ledger, spec, entropy, expected: Vec::new(), next: 0, taken: Vec::new() }
    }

    fn put(&mut self) {
        let events = 1 + self.entropy.below(6);
        let put_ms = SAMPLE_MS + i64::try_from(self.next).unwrap() * 700;
        let mut block = Vec::new();
        for _ in 0..events {
            let app = self.entropy.below(4);
            // The last of the apps is not there: dead letters.
            let mut event = Event::new(self.next.to_string()).with_timestamp_ms(put_ms);
            if app < 3 {
                event = event.with_header("app", format!("a{app}"));
            }
            let minute = (put_ms / 60_000) % 60;
            let directory = match app {
                3 => "/data/web/_dead/web/2012-06-23".to_owned(),
                _ => format!("/data/web/a{app}/{minute:02}"),
            };
            self.expected.push((directory, self.next));
            self.next += 1;
            block.push(event);
        }
        self.rig.log.put(put_ms, &block);
    }

    fn drain(&self) -> Drain {
        self.drain_and_handle().0
    }

    fn drain_and_handle(&self) -> (Drain, DrainHandle) {
        let systems: Arc<dyn FileSystems> = Arc::new(Arc::new(self.disk.clone()));
        let sink = self.rig.sink(1, &self.spec, &*systems);
        let mut options = self.rig.options(vec![sink], systems);
        options.ledger = Arc::new(self.ledger.clone()) as Arc<dyn Ledger>;
        Drain::new(options)
    }

    /// Drains everything to the end.
    async fn finish(&self, seed: u64) {
        self.rig.ledger.seal(self.rig.log.seal());
        let (drain, handle) = self.drain_and_handle();
        let ended = drain.run(CancellationToken::new());
        let ended = tokio::time::timeout(Duration::from_secs(600), ended).await;
        let ended = ended.unwrap_or_else(|_| panic!("seed {seed}: {:#?}", handle.status()));
        assert_eq!(ended.unwrap(), Ended::Drained, "seed {seed}");
        assert_eq!(handle.status().buffer_bytes, 0, "seed {seed}: bytes nobody holds are counted");
        self.disk.settle().await;
    }

    /// A job reads some of the committed finals and takes them away: a call that comes late must not
    /// bring them back.
    fn take(&mut self) {
        let open = self.rig.ledger.open_intents();
        for (path, bytes) in finals(self.disk.disk()) {
            let committed = !open.iter().any(|intent| {
                path.strip_prefix(&intent.bucket.directory)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .is_some_and(|name| name == intent.name)
            });
            if committed && self.entropy.below(2) == 0 {
                self.disk.disk().uproot(&path);
                self.taken.push((path, bytes));
            }
        }
    }

    /// Every final is exactly the events of its directory in its range, and none is twice.
    fn check(&self, seed: u64) -> BTreeMap<u64, String> {
        let mut seen = BTreeMap::new();
        for (path, bytes) in finals(self.disk.disk()).into_iter().chain(self.taken.clone()) {
            let (directory, name) = path.rsplit_once('/').unwrap();
            let name = FinalName::parse(name).unwrap();
            let numbers: Vec<u64> = numbers(&bytes);
            let wanted: Vec<u64> = (name.first..=name.last)
                .filter(|offset| self.expected[usize::try_from(*offset).unwrap()].0 == directory)
                .collect();
            assert_eq!(numbers, wanted, "seed {seed}: {path}");
            for number in numbers {
                let before = seen.insert(number, path.clone());
                assert_eq!(before, None, "seed {seed}: {number} is twice, again in {path}");
            }
        }
        seen
    }
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(bytes).unwrap();
    let number = |line: &str| match line.parse() {
        Ok(number) => number,
        Err(_) => {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["body"].as_str().unwrap().parse().unwrap()
        }
    };
    text.lines().map(number).collect()
}

async fn one(seed: u64) {
    let mut case = Case::new(seed);
    let lives = 2 + case.entropy.below(5);
    for _ in 0..lives {
        for _ in 0..1 + case.entropy.below(10) {
            case.put();
        }
        let share = |most: u64| case.entropy.below(most);
        let faults = match case.entropy.below(4) {
            0 => Faults::NONE,
            _ => Faults {
                before: share(60),
                after: share(60),
                hang: share(10),
                delayed: share(40),
                repeated: share(100),
            },
        };
        case.disk.set_faults(faults);
        case.ledger.set_lost(case.entropy.below(60));
        let crashed = match case.entropy.below(4) {
            0 => case.ledger.crash_after(1 + case.entropy.below(40)),
            _ => case.disk.crash_after(1 + case.entropy.below(150)),
        };
        let drain = case.drain();
        let life = Duration::from_millis(1 + case.entropy.below(60_000));
        tokio::select! {
            () = crashed.cancelled() => (),
            () = tokio::time::sleep(life) => (),
            ended = drain.run(CancellationToken::new()) => panic!("seed {seed}: {ended:?}"),
        }
        case.check(seed);
        if case.entropy.below(3) == 0 {
            case.disk.power_cut();
            // What was committed has survived.
            let seen = case.check(seed);
            let book = case.rig.ledger.book();
            let committed = book.in_files + book.dead_lettered;
            assert!(seen.len() as u64 >= committed, "seed {seed}: committed files are gone");
        }
        case.take();
        case.disk.restart();
        case.ledger.restart();
    }
    // All is well again: everything comes out.
    case.disk.set_faults(Faults::NONE);
    case.ledger.set_lost(0);
    case.finish(seed).await;
    let seen = case.check(seed);
    let found: Vec<u64> = seen.into_keys().collect();
    let wanted: Vec<u64> = (0..case.next).collect();
    assert_eq!(found, wanted, "seed {seed}: lost or made up");
    let book = case.rig.ledger.book();
    assert_eq!(book.in_files + book.dead_lettered, case.next, "seed {seed}: {book:?}");
    assert_eq!(book.ended(), book.stored, "seed {seed}: {book:?}");
}

#[test]
fn nothing_is_lost_and_nothing_is_twice_whatever_fails() {
    sdk_seeds::each(800, 20_000, |seed| run(one(seed)));
}

/// The process dies in the middle of every single call of a plain run, with and without effect.
#[test]
fn a_crash_at_each_call_loses_nothing() {
    let calls = run(async {
        let mut case = Case::new(42);
        (0..20).for_each(|_| case.put());
        case.rig.ledger.seal(case.rig.log.seal());
        case.drain().run(CancellationToken::new()).await.unwrap();
        (case.disk.calls(), case.ledger.calls())
    });
    let crash = |seed: u64, at: u64, in_ledger: bool| {
        run(async move {
            let mut case = Case::new(42);
            (0..20).for_each(|_| case.put());
            case.rig.ledger.seal(case.rig.log.seal());
            let crashed = match in_ledger {
                true => case.ledger.crash_after(at),
                false => case.disk.crash_after(at),
            };
            // Another seed for whether the dying call has its effect.
            (0..seed).for_each(|_| {
                case.disk.set_faults(Faults::NONE);
                let _ = case.ledger.entropy.below(2);
            });
            tokio::select! {
                () = crashed.cancelled() => (),
                ended = case.drain().run(CancellationToken::new()) => {
                    panic!("no crash at {at}: {ended:?}")
                }
            }
            case.check(at);
            case.disk.restart();
            case.ledger.restart();
            let ended = case.drain().run(CancellationToken::new()).await.unwrap();
            assert_eq!(ended, Ended::Drained);
            assert_eq!(case.check(at).len() as u64, case.next, "crash at {at}");
        });
    };
    for at in 1..calls.0 {
        crash(0, at, false);
    }
    for at in 1..calls.1 {
        crash(0, at, true);
        crash(1, at, true);
    }
}

/// Two processes believe that the lineage is theirs; each sleeps while the other works, and wakes in
/// the middle of what it was doing.
async fn asleep(seed: u64) {
    let mut case = Case::new(seed);
    let entropy = Arc::clone(&case.entropy);
    case.disk.set_faults(Faults { before: 10, after: 10, delayed: 20, repeated: 30, hang: 0 });
    let stop = CancellationToken::new();
    (0..10).for_each(|_| case.put());
    let mut first = Box::pin(case.drain().run(stop.clone()));
    let mut second = Box::pin(case.drain().run(stop.clone()));
    for _ in 0..10 + entropy.below(20) {
        case.put();
        let awake = if entropy.below(2) == 0 { &mut first } else { &mut second };
        // Asleep after some number of calls, or some time.
        let nap = case.disk.sleep_after(1 + entropy.below(60));
        tokio::select! {
            ended = awake => panic!("seed {seed}: {ended:?}"),
            () = nap.cancelled() => (),
            () = tokio::time::sleep(Duration::from_millis(entropy.below(5000))) => (),
        }
        case.check(seed);
        case.take();
    }
    drop((first, second));
    case.disk.set_faults(Faults::NONE);
    case.finish(seed).await;
    assert_eq!(case.check(seed).len() as u64, case.next, "seed {seed}");
}

#[test]
fn a_process_that_was_asleep_changes_nothing_when_it_wakes() {
    sdk_seeds::each(300, 20_000, |seed| run(asleep(seed)));
}
