//! Each deliberate bug is seen by a test: what proves that the tests can see.
//!
//! The tests are those of the build with fail points, each run as a process of its own with the bug switched on
//! (`COLLECTOR_MUTANT`), and once without any. The table that this prints stands in `server/sim/README.md`.

use deploy_acceptance::{failpoints, full, say};
use sdk_failpoints::Mutant;
use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A test that runs seeds, or needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Test {
    tests_of: &'static str,
    name: &'static str,
}

const SIM: Test =
    Test { tests_of: "server-sim", name: "seeds::a_node_keeps_its_promises_whatever_fails" };
const MODEL: Test = Test {
    tests_of: "sdk-wal",
    name: "model::what_is_acknowledged_is_kept_in_order_whatever_the_disk_does",
};
const COPIES: Test =
    Test { tests_of: "sdk-wal", name: "freeing::what_is_void_is_not_copied_forward" };
const FAULTS: Test = Test {
    tests_of: "sdk-channel",
    name: "faults::acknowledged_events_survive_every_fault_once_and_in_order",
};
const CRASHES: Test = Test {
    tests_of: "sdk-files",
    name: "crashes::nothing_is_lost_and_nothing_is_twice_whatever_fails",
};
const ASLEEP: Test = Test {
    tests_of: "sdk-files",
    name: "crashes::a_process_that_was_asleep_changes_nothing_when_it_wakes",
};
const DISK: Test =
    Test { tests_of: "sdk-files", name: "local_disk::it_is_a_file_system_as_any_other" };

/// Who sees what.
const SEEN: &[(Mutant, Test)] = &[
    (Mutant::AckBeforeFsync, MODEL),
    (Mutant::RetryFsync, MODEL),
    (Mutant::CutEarlierFlush, MODEL),
    (Mutant::IgnoreCrc, MODEL),
    (Mutant::SkipDirectorySync, SIM),
    (Mutant::CopyVoid, COPIES),
    (Mutant::ForgetAdmission, SIM),
    (Mutant::PassWatermark, FAULTS),
    (Mutant::ReuseToken, ASLEEP),
    (Mutant::SkipFence, ASLEEP),
    (Mutant::CreateParent, DISK),
    (Mutant::RenameBeforeClose, SIM),
    (Mutant::SkipIntent, CRASHES),
    (Mutant::OverwriteOnRename, DISK),
    (Mutant::CommitBeforeDurable, SIM),
    (Mutant::FloorPastOpen, SIM),
    (Mutant::ForgetRecorded, SIM),
];

/// Seeds in which a bug must show.
const SEEDS: u64 = 2_000;
/// Seeds that must pass without one: the suites themselves run more.
const SEEDS_WITHOUT: u64 = 100;
const SEEDS_WITHOUT_FULL: u64 = 2_000;

/// Runs a test to its end, or to the first seed that fails.
fn run(test: Test, mutant: Option<Mutant>, seeds: u64) -> (Output, Duration) {
    let begun = Instant::now();
    let output = Command::new(failpoints(&format!("tests/{}", test.tests_of)))
        .args([test.name, "--exact", "--nocapture"])
        .env("COLLECTOR_MUTANT", mutant.map_or("", Mutant::name))
        .env("COLLECTOR_SEEDS", seeds.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("run a test");
    (output, begun.elapsed())
}

/// The seed that a failed test names, if it has seeds.
fn seed(said: &str) -> Option<u64> {
    let (_, after) = said.split_once("COLLECTOR_SEED=").or_else(|| said.split_once("seed "))?;
    let digits = after.split(|it: char| !it.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[test]
fn each_is_seen_by_a_test_that_passes_without_it() {
    let mut wrong = String::new();
    let mut tests: Vec<Test> = Vec::new();
    for (_, test) in SEEN {
        if !tests.contains(test) {
            tests.push(*test);
        }
    }
    for test in tests {
        let seeds = if full() { SEEDS_WITHOUT_FULL } else { SEEDS_WITHOUT };
        let (output, took) = run(test, None, seeds);
        let said = String::from_utf8_lossy(&output.stdout);
        say(&format!("without a mutant: {}::{} in {took:.1?}", test.tests_of, test.name));
        if !output.status.success() || !said.contains("1 passed") {
            let _ = writeln!(wrong, "{test:?} fails without a mutant:\n{said}");
        }
    }
    say("\n| mutant | seen by | seed | seconds |\n|---|---|---|---|");
    for mutant in Mutant::ALL {
        let seen = SEEN.iter().find(|(known, _)| known == mutant);
        let Some((_, test)) = seen else {
            let _ = writeln!(wrong, "nobody looks for {}", mutant.name());
            continue;
        };
        let (output, took) = run(*test, Some(*mutant), SEEDS);
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let seed = seed(&said).map_or("–".to_owned(), |seed| seed.to_string());
        let (name, by) = (mutant.name(), test.tests_of);
        let took = took.as_secs_f64();
        say(&format!("| {name} | `{by}` {} | {seed} | {took:.1} |", test.name));
        if !said.contains("1 failed") {
            let _ = writeln!(wrong, "{name} is not seen by {by} {}:\n{said}", test.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
