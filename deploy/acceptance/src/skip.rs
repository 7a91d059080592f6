//! Saying what was not tested.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

/// The path of a tool that a test drives, or `None` after having said that the test is skipped.
///
/// # Panics
///
/// With `CI=true`: there a skip is a failure.
pub fn need(tool: &str, remedy: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("COLLECTOR_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = tools
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(tool))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        skip(&format!("{tool} is not installed; {remedy}, or cargo xtask test --install"));
    }
    found
}

/// Records that the running test was skipped, and why.
///
/// # Panics
///
/// With `CI=true`: there a skip is a failure.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{test}: {why}");
    if std::env::var("CI").is_ok_and(|value| value == "true") {
        panic!("skipped, and CI=true: {line}");
    }
    if let Some(list) = std::env::var_os("COLLECTOR_SKIPS") {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(list)
            .expect("open the list of skipped tests");
        writeln!(file, "{line}").expect("write the list of skipped tests");
    }
    say(&format!("skipped: {line}"));
}

/// True in the long versions (`cargo xtask test --full`).
pub fn full() -> bool {
    std::env::var_os("COLLECTOR_FULL").is_some()
}

/// Which rounds to run: those of the environment (`sdk/seeds`), else the long or the normal number of them. What a
/// round does differently depends on its number alone.
pub fn rounds(normal: u64, long: u64) -> Range<u64> {
    sdk_seeds::range(normal, long)
}

/// Says something that is seen although the test passes.
pub fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
