//! What the environment asks for.

use crate::{Mutant, Side, Step};
use rustix::process::{Signal, getpid, kill_process};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Where the process is to end or to stop: `STEP[.before|.after][:NTH]=kill|pause`.
const FAIL: &str = "COLLECTOR_FAIL";
/// Which bug it has.
const MUTANT: &str = "COLLECTOR_MUTANT";

/// Read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    fail: Option<Fail>,
    mutant: Option<Mutant>,
}

/// The passing that the process does not survive, or not as what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fail {
    step: Step,
    side: Side,
    nth: u64,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Kill,
    Pause,
}

/// Held while the process falls asleep: a write that begins then ends when it is awake again, and fails.
static DETACHED: Mutex<bool> = Mutex::new(false);

/// How long a write to a disk that has gone takes to fail.
const HANGS_FOR: Duration = Duration::from_secs(1);

/// Other threads go on for a moment after the signal, and this one may be among them.
const ASLEEP_WITHIN: Duration = Duration::from_millis(20);

/// Refuses names that are in no list.
///
/// # Errors
///
/// What is wrong with the environment, in a sentence.
pub fn check() -> Result<(), String> {
    plan().as_ref().map(drop).map_err(Clone::clone)
}

/// Passes a step on one side, if the process is let.
pub fn pass(step: Step, side: Side) {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Some(fail) = asked().fail.filter(|fail| (fail.step, fail.side) == (step, side)) else {
        return;
    };
    if PASSED.fetch_add(1, Ordering::Relaxed) + 1 != fail.nth {
        return;
    }
    let place = format!("{}.{}", step.name(), side.name());
    match fail.how {
        How::Kill => end(&format!("killed at {place}")),
        How::Pause => {
            drop(writeln!(std::io::stderr(), "paused at {place}"));
            let mut detached = DETACHED.lock().unwrap_or_else(PoisonError::into_inner);
            kill_process(getpid(), Signal::STOP).expect("a process may stop itself");
            std::thread::sleep(ASLEEP_WITHIN);
            *detached = true;
        }
    }
}

/// Whether the process was paused: its disk has gone to another machine, and no log is written to it any more.
/// Like the write to such a disk, it takes its time to say so, in which all goes on that needs none.
#[must_use]
pub fn detached() -> bool {
    let detached = *DETACHED.lock().unwrap_or_else(PoisonError::into_inner);
    if detached {
        std::thread::sleep(HANGS_FOR);
    }
    detached
}

/// Whether this process has that bug.
#[must_use]
pub fn has(mutant: Mutant) -> bool {
    asked().mutant == Some(mutant)
}

fn asked() -> Plan {
    match plan() {
        Ok(plan) => *plan,
        Err(mistake) => end(mistake),
    }
}

/// Ends the process as `kill -9` does: nothing is flushed, nobody is told.
fn end(why: &str) -> ! {
    drop(writeln!(std::io::stderr(), "{why}"));
    std::process::abort()
}

fn plan() -> &'static Result<Plan, String> {
    static PLAN: OnceLock<Result<Plan, String>> = OnceLock::new();
    PLAN.get_or_init(|| {
        let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let of = |name, mistake| format!("{name}: {mistake}");
        let fail = text(FAIL).map(|text| fail(&text)).transpose();
        let mutant = text(MUTANT).map(|text| Mutant::named(&text)).transpose();
        Ok(Plan {
            fail: fail.map_err(|mistake| of(FAIL, mistake))?,
            mutant: mutant.map_err(|mistake| of(MUTANT, mistake))?,
        })
    })
}

fn fail(text: &str) -> Result<Fail, String> {
    let (place, how) = match text.split_once('=') {
        Some((place, "kill")) => (place, How::Kill),
        Some((place, "pause")) => (place, How::Pause),
        _ => return Err(format!("{text:?} is not STEP[.before|.after][:NTH]=kill|pause")),
    };
    let (place, nth) = place.split_once(':').unwrap_or((place, "1"));
    let (step, side) = place.split_once('.').unwrap_or((place, Side::Before.name()));
    let nth = nth.parse().ok().filter(|nth| *nth > 0);
    Ok(Fail {
        step: Step::named(step)?,
        side: Side::named(side)?,
        nth: nth.ok_or_else(|| format!("{text:?} does not say which passing: 1, 2, …"))?,
        how,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_step_a_side_and_a_passing() {
        let rename = |side, nth| Ok(Fail { step: Step::Rename, side, nth, how: How::Kill });
        assert_eq!(fail("rename=kill"), rename(Side::Before, 1));
        assert_eq!(fail("rename.after=kill"), rename(Side::After, 1));
        assert_eq!(fail("rename.before:12=kill"), rename(Side::Before, 12));
        let paused = fail("rename.after:2=pause").map(|fail| (fail.nth, fail.how));
        assert_eq!(paused, Ok((2, How::Pause)));
    }

    #[test]
    fn a_name_of_no_list_is_a_mistake() {
        for wrong in ["renam=kill", "rename.behind=kill", "rename:0=kill", "rename", "rename=stop"]
        {
            assert!(fail(wrong).is_err(), "{wrong}");
        }
        assert!(fail("renam=kill").is_err_and(|mistake| mistake.contains("snapshot")));
    }
}
