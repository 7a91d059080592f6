//! Places to kill or to pause a process at, and bugs to switch on.
//!
//! Tests of what a crash leaves want the process to end at a given [`Step`], before or after it; tests of a holder
//! that was replaced while it slept want it to stop there, and to find its disk gone when it goes on; tests of the
//! tests want a [`Mutant`], a deliberate bug that some test must see. All of it is in one build only, that with
//! `--cfg failpoints`: in any other build [`before!`] and [`after!`] expand to `()`, [`mutant!`] and [`detached!`]
//! to `false`.
//!
//! ```text
//! COLLECTOR_FAIL=rename.after:3=kill     the process is gone right behind its third rename
//! COLLECTOR_FAIL=rename.before=pause     it stops there as by SIGSTOP; when it goes on, what its logs write hangs
//!                                        and fails, as if their disk were attached to another machine now
//! COLLECTOR_MUTANT=retry-fsync           it has that bug from its start to its end
//! ```
//!
//! Names are those of the two lists here; a program refuses to start with any other.
//! `cargo xtask failpoints` makes the build.

mod names;

#[cfg(any(failpoints, test))]
mod plan;

pub use names::{Mutant, Side, Step};

#[cfg(any(failpoints, test))]
pub use plan::{check, detached, has, pass};

/// The process may end or stop here, before a step is taken.
#[cfg(failpoints)]
#[macro_export]
macro_rules! before {
    ($step:ident) => {
        $crate::pass($crate::Step::$step, $crate::Side::Before)
    };
}

/// The process may end or stop here, before a step is taken.
#[cfg(not(failpoints))]
#[macro_export]
macro_rules! before {
    ($step:ident) => {
        ()
    };
}

/// The process may end or stop here, after a step was taken.
#[cfg(failpoints)]
#[macro_export]
macro_rules! after {
    ($step:ident) => {
        $crate::pass($crate::Step::$step, $crate::Side::After)
    };
}

/// The process may end or stop here, after a step was taken.
#[cfg(not(failpoints))]
#[macro_export]
macro_rules! after {
    ($step:ident) => {
        ()
    };
}

/// Whether this process has that bug.
#[cfg(failpoints)]
#[macro_export]
macro_rules! mutant {
    ($mutant:ident) => {
        $crate::has($crate::Mutant::$mutant)
    };
}

/// Whether this process has that bug.
#[cfg(not(failpoints))]
#[macro_export]
macro_rules! mutant {
    ($mutant:ident) => {
        false
    };
}

/// Whether the disk has gone to another machine.
#[cfg(failpoints)]
#[macro_export]
macro_rules! detached {
    () => {
        $crate::detached()
    };
}

/// Whether the disk has gone to another machine.
#[cfg(not(failpoints))]
#[macro_export]
macro_rules! detached {
    () => {
        false
    };
}
