//! The node falls asleep at each of its named steps, before and after it, while it writes to HDFS. Another machine gets
//! its disk and takes over, and it wakes: a zombie, with what it has in memory and on its way to HDFS. One half wakes
//! when its heir starts, and they race; the other half when its heir has drained all that there was, and nothing that
//! they do may be seen.
//!
//! What is shown is that whoever has lost its disk, and with it its vote in Raft, acknowledges nothing, commits nothing
//! and makes no final that its heir does not know of. That the fence alone is enough, is shown by `zombies.rs`.
//!
//! The disk is handed over as that of a cloud is, when the machine that has it does not answer: the heir's data
//! directory is a copy from the moment of the pause, and nothing that the zombie's logs write to its own has any effect
//! (`sdk/failpoints`).

use super::{nothing_unfinished, verify};
use crate::hdfs::contract::file_system_of;
use crate::named_steps::{
    LOG_DEAD, REACHED_WITHIN, leave_segments, load, node, passings, sleep_at,
};
use deploy_acceptance::{Hdfs, Node, NodeOptions, Running, eventually, rounds, say};
use sdk_config::FilesSink;
use sdk_failpoints::{Side, Step};
use sdk_files::fs::{EntryKind, FileSystem};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long what slept may take to have drained at its heir.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);
/// How long a zombie goes on that nothing stops.
const AWAKE: Duration = Duration::from_secs(3);
/// What a node says when HDFS has refused something to a token that was fenced.
const REFUSED: &str = "the staging directory is gone";

#[test]
fn a_node_that_slept_at_any_step_finishes_nothing_behind_its_heir() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let name = "pauses";
    let finals = Finals::of(hdfs, name);
    let [mut holder, mut heir] = [(); 2].map(|()| {
        let config = Some(crate::hdfs::config(hdfs, name));
        node(NodeOptions { config, environment: hdfs.environment(), ..NodeOptions::default() })
    });
    holder.start();
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger");
    let load = load(&[&holder, &heir], &ledger, "2000");
    holder.under_load();
    let mut table: BTreeMap<(Wakes, End), u64> = BTreeMap::new();
    let mut pauses = 0_u64;
    for round in rounds(1, 8) {
        for (at, step) in (0..).zip(Step::ALL) {
            for (turn, side) in (round + at..).zip(Side::ALL) {
                let nth = 1 + (round * 7 + at * 5) % passings(*step);
                let wakes = if turn % 2 == 1 { Wakes::WithItsHeir } else { Wakes::BehindItsHeir };
                let sleep = Sleep { step: *step, side: *side, nth, wakes };
                let end = race(&mut holder, &mut heir, &load, &finals, sleep);
                *table.entry((wakes, end)).or_default() += 1;
                pauses += 1;
                std::mem::swap(&mut holder, &mut heir);
            }
        }
        let audit = holder.audit(true);
        assert_eq!(audit["balanced"], true, "after round {round}: {audit:#}");
    }
    load.signal("INT");
    load.finish(Duration::from_secs(120)).expect(0);
    holder.drained(Duration::from_secs(120));
    let verified = verify(hdfs, &holder, &ledger, name);
    nothing_unfinished(hdfs, name);
    let steps = Step::ALL.len();
    say(&format!("{pauses} zombies at {steps} steps, {} acked, 0 late finals", verified["acked"]));
    for ((wakes, end), count) in &table {
        say(&format!("zombies that woke {wakes:?}: {end:?}: {count}"));
    }
    for wakes in [Wakes::WithItsHeir, Wakes::BehindItsHeir] {
        let refused = table.contains_key(&(wakes, End::RefusedByHdfs));
        assert!(refused, "no zombie that woke {wakes:?} got as far as HDFS");
    }
}

/// Where and until when a holder sleeps.
#[derive(Clone, Copy)]
struct Sleep {
    step: Step,
    side: Side,
    /// At which of its passings.
    nth: u64,
    wakes: Wakes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wakes {
    WithItsHeir,
    /// When all is drained.
    BehindItsHeir,
}

/// What a zombie comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// HDFS would not let it, before it saw that its disk was gone or was killed.
    RefusedByHdfs,
    /// Its disk was gone.
    LogDead,
    /// It had nothing to do, and lived until it was killed.
    Idle,
}

/// One life that ends asleep, the first moments of its heir's, and what the zombie comes to.
fn race(holder: &mut Node, heir: &mut Node, load: &Running, finals: &Finals, sleep: Sleep) -> End {
    let place = format!("{}.{}:{}", sleep.step.name(), sleep.side.name(), sleep.nth);
    // It leaves something to be drained, and a token to be fenced.
    let puts = || holder.metric("collector_log_put_records_total");
    let stored = puts();
    eventually("it is under load", REACHED_WITHIN, || match puts() {
        now if now > stored => Ok(()),
        now => Err(now),
    });
    holder.kill();
    if sleep.step == Step::Trim {
        leave_segments(holder);
    }
    sleep_at(holder, &place);
    // From here to the zombie's end nobody sends anything more.
    load.signal("STOP");
    hand_over(holder, heir);
    let slept = holder.log().len();
    let (status, late) = match sleep.wakes {
        Wakes::WithItsHeir => {
            holder.process().signal("CONT");
            heir.start();
            let status = awake(holder);
            heir.drained(TAKEN_OVER_WITHIN);
            // What it did in time is its heir's too; what it did late the books and the ledger tell.
            (status, BTreeSet::new())
        }
        Wakes::BehindItsHeir => {
            heir.start();
            heir.drained(TAKEN_OVER_WITHIN);
            let before = finals.now();
            holder.process().signal("CONT");
            let status = awake(holder);
            (status, finals.now().difference(&before).cloned().collect())
        }
    };
    load.signal("CONT");
    let log = holder.log().split_off(slept);
    assert!(late.is_empty(), "a zombie that slept at {place} made {late:?}, having said:\n{log}");
    let code = status.map(|status| status.code());
    let well = matches!(code, None | Some(Some(LOG_DEAD)));
    assert!(well, "a zombie that slept at {place} ended with {status:?}, having said:\n{log}");
    match code {
        _ if log.contains(REFUSED) => End::RefusedByHdfs,
        Some(_) => End::LogDead,
        None => End::Idle,
    }
}

/// A zombie's time: until it ends by itself, whose status that is, or is killed.
fn awake(zombie: &mut Node) -> Option<ExitStatus> {
    let woken = Instant::now();
    let status = eventually("the zombie has had its time", AWAKE * 2, || {
        let status = zombie.process().ended();
        if status.is_some() || woken.elapsed() >= AWAKE { Ok(status) } else { Err("it goes on") }
    });
    zombie.kill();
    status
}

/// The heir's disk becomes what the holder's is now.
fn hand_over(holder: &Node, heir: &mut Node) {
    heir.kill();
    let (from, to) = (holder.data_dir(), heir.data_dir());
    if to.exists() {
        std::fs::remove_dir_all(&to).expect("remove what the heir had");
    }
    let copied = Command::new("cp").arg("-a").args([&from, &to]).status().expect("run cp");
    assert!(copied.success(), "cp -a {from:?} {to:?}: {copied}");
}

/// What a job would read, seen by a client that is neither holder nor heir.
struct Finals {
    root: String,
    fs: Arc<dyn FileSystem>,
    runtime: Runtime,
}

impl Finals {
    fn of(hdfs: &Hdfs, name: &str) -> Self {
        let root = format!("{}/{name}/files", hdfs.url());
        let runtime = Runtime::new().expect("a runtime");
        let _inside = runtime.enter();
        let fs = file_system_of(hdfs, &root, &FilesSink::default());
        Self { root, fs, runtime }
    }

    fn now(&self) -> BTreeSet<String> {
        self.runtime.block_on(async {
            let mut found = BTreeSet::new();
            let mut directories = vec![self.root.clone()];
            while let Some(directory) = directories.pop() {
                for entry in self.fs.list(&directory).await.expect("list finals") {
                    let path = format!("{directory}/{}", entry.name);
                    match entry.status.kind {
                        _ if entry.name.starts_with(['.', '_']) => (),
                        EntryKind::File => {
                            found.insert(path);
                        }
                        EntryKind::Directory => directories.push(path),
                        EntryKind::Other => panic!("{path} is neither file nor directory"),
                    }
                }
            }
            found
        })
    }
}
