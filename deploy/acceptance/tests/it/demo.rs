//! `collector-server demo`: the main job in one terminal.

use deploy_acceptance::{Running, final_files, full, program};
use std::process::Command;
use std::time::Duration;

fn demo(arguments: &[&str], data: &std::path::Path) -> Running {
    Running::start(
        Command::new(program("collector-server"))
            .arg("demo")
            .args(arguments)
            .arg("--data-dir")
            .arg(data),
    )
}

#[test]
fn it_ends_by_itself_with_balanced_books() {
    let folder = tempfile::tempdir().expect("a folder");
    // The plain command runs for 90 s and so crosses a minute; the short one need not.
    let arguments: &[&str] = if full() { &[] } else { &["--seconds", "20"] };
    let finished = demo(arguments, folder.path()).finish(Duration::from_secs(150)).expect(0);
    assert_eq!(finished.json()["balanced"], true, "{finished:#?}");
    assert!(
        finished.stderr.contains("--endpoint"),
        "the endpoint to use is printed: {}",
        finished.stderr
    );
    assert!(
        finished.stderr.lines().filter(|line| line.contains("not in a file yet")).count() > 2,
        "live figures: {}",
        finished.stderr
    );
    let files = final_files(&folder.path().join("files"));
    assert!(!files.is_empty());
    if full() {
        let minutes: std::collections::BTreeSet<_> =
            files.iter().filter_map(|file| file.parent()).collect();
        assert!(minutes.len() >= 2, "{minutes:?}");
    }
}

#[test]
fn ctrl_c_ends_it_cleanly_with_the_audit() {
    // The long version also while it settles and while it reads its files back.
    let longer: &[u64] = if full() { &[40_000, 81_000, 84_000, 88_000] } else { &[] };
    for after in [&[0, 300, 3_000], longer].concat() {
        let folder = tempfile::tempdir().expect("a folder");
        let running = demo(&[], folder.path());
        deploy_acceptance::pause(Duration::from_millis(after));
        if after == 0 {
            // The very first moment belongs to the loader, not to the program: wait for its data directory.
            deploy_acceptance::wait_for("it has begun", Duration::from_secs(10), || {
                folder.path().read_dir().is_ok_and(|mut entries| entries.next().is_some())
            });
        }
        running.signal("INT");
        let finished = running.finish(Duration::from_secs(60)).expect(0);
        assert_eq!(finished.json()["balanced"], true, "after {after} ms: {finished:#?}");
    }
}
