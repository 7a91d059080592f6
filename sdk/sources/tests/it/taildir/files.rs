//! Which files are followed, and what their events carry.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use sdk_config::DurationText;
use sdk_flow::SystemClock;
use sdk_sources::{BuildError, Taildir};

use super::{Tailing, append};
use crate::spool::Spool;

/// Which of these files a glob finds, in order of their names.
async fn found(glob: &str, exclude: &[&str], names: &[&str]) -> Vec<String> {
    let mut tailing = Tailing::over(glob);
    tailing.spec.exclude = exclude.iter().map(|glob| (*glob).to_owned()).collect();
    for name in names {
        fs::create_dir_all(tailing.path(name).parent().unwrap()).unwrap();
        tailing.append(name, format!("{name}\n"));
    }
    tailing.start();
    tailing.look_around().await;
    tailing.stop().await;
    let mut bodies = tailing.spool.bodies();
    bodies.sort();
    bodies
}

#[tokio::test(start_paused = true)]
async fn globs_say_which_files() {
    let names = ["a.log", "b.log", "c.txt", "x/a.log", "x/y/a.log", "z/a.log", "w/b/c"];
    for (glob, expected) in [
        ("a.log", &["a.log"][..]),
        ("*.log", &["a.log", "b.log"]),
        ("?.log", &["a.log", "b.log"]),
        ("[ac].*", &["a.log", "c.txt"]),
        ("{a,c}.*", &["a.log", "c.txt"]),
        ("*/a.log", &["x/a.log", "z/a.log"]),
        ("x/**/a.log", &["x/a.log", "x/y/a.log"]),
        ("**/*.log", &["a.log", "b.log", "x/a.log", "x/y/a.log", "z/a.log"]),
        ("x/**", &["x/a.log", "x/y/a.log"]),
        ("*/y/*.log", &["x/y/a.log"]),
        ("{w/b/c,x/a.log}", &["w/b/c", "x/a.log"]),
        ("nothing/*", &[]),
    ] {
        assert_eq!(found(glob, &[], &names).await, expected, "{glob}");
    }
}

#[tokio::test(start_paused = true)]
async fn excluded_files_are_left_alone() {
    let names = ["a.log", "a.log.gz", "old/a.log", "old/b.log"];
    for (exclude, expected) in [
        (&["*.gz"][..], &["a.log", "old/a.log", "old/b.log"][..]),
        (&["**/old/*"], &["a.log", "a.log.gz"]),
        (&["**/old/a*", "*.gz"], &["a.log", "old/b.log"]),
    ] {
        assert_eq!(found("**/*", exclude, &names).await, expected, "{exclude:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_carry_the_headers_of_their_group_and_their_file() {
    let mut tailing = Tailing::over("web/*.log");
    let app = tailing.path("app/*.log").to_str().unwrap().to_owned();
    tailing.spec.filegroups.insert("h".to_owned(), app);
    let headers = |value: &str| BTreeMap::from([("kind".to_owned(), value.to_owned())]);
    tailing.spec.headers =
        BTreeMap::from([("g".to_owned(), headers("web")), ("h".to_owned(), headers("app"))]);
    tailing.spec.file_header = true;
    tailing.spec.file_header_key = "path".to_owned();
    tailing.spec.byte_offset_header = true;
    for name in ["web/1.log", "web/2.log", "app/3.log"] {
        fs::create_dir_all(tailing.path(name).parent().unwrap()).unwrap();
        tailing.append(name, "one\ntwo\n");
    }
    // Enough to get blocks of its own.
    fs::create_dir_all(tailing.path("app")).unwrap();
    tailing.append("app/4.log", "a line\n".repeat(30_000));
    tailing.start();
    tailing.spool.lines(30_006).await;
    tailing.stop().await;
    let kept = tailing.spool.kept();
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in &kept.lines {
        let path = line.headers["path"].rsplit('/').next().unwrap().to_owned();
        let offset: usize = line.headers["byteoffset"].parse().unwrap();
        let at = seen.entry((line.headers["kind"].clone(), path)).or_default();
        assert_eq!(*at, offset);
        *at += line.body.len() + 1;
        assert_eq!(line.headers.len(), 3);
    }
    let files: Vec<(&str, &str)> =
        seen.keys().map(|(kind, path)| (kind.as_str(), path.as_str())).collect();
    assert_eq!(files, [("app", "3.log"), ("app", "4.log"), ("web", "1.log"), ("web", "2.log")]);
}

#[tokio::test(start_paused = true)]
async fn small_files_share_a_put_and_none_takes_more_than_its_batch() {
    let mut tailing = Tailing::over("*.log");
    tailing.spec.file_header = true;
    for number in 0..200 {
        tailing.append(&format!("{number}.log"), "one\n");
    }
    tailing.start();
    tailing.spool.lines(200).await;
    let puts = tailing.spool.kept().puts;
    assert!(puts <= 2, "{puts} puts");
    tailing.stop().await;

    let mut tailing = Tailing::over("*.log");
    tailing.spec.batch_size = 7;
    tailing.append("a.log", "one\n".repeat(100));
    tailing.start();
    tailing.spool.lines(100).await;
    assert_eq!(tailing.spool.kept().largest_put, 7);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_file_does_not_starve_the_others() {
    let mut tailing = Tailing::over("*.log");
    tailing.spec.batch_size = 10;
    tailing.spec.max_batch_count = 2;
    tailing.append("a.log", "busy\n".repeat(1000));
    tailing.append("b.log", "quiet\n");
    tailing.start();
    tailing
        .spool
        .until("the quiet one", |kept| kept.lines.iter().any(|line| line.body == "quiet"))
        .await;
    let lines = tailing.spool.bodies().len();
    assert!(lines <= 41, "{lines} lines");
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn new_files_are_read_from_their_beginning() {
    let tailing = Tailing::over("*.log");
    tailing.start();
    tailing.look_around().await;
    tailing.append("a.log", "one\n");
    assert_eq!(tailing.spool.lines(1).await, ["one"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn directories_come_and_go() {
    let tailing = Tailing::over("apps/*/log/*.log");
    tailing.start();
    tailing.look_around().await;
    for round in 0..2 {
        fs::create_dir_all(tailing.path("apps/shop/log")).unwrap();
        tailing.append("apps/shop/log/a.log", format!("round {round}\n"));
        assert_eq!(tailing.spool.lines(round + 1).await[round], format!("round {round}"));
        tailing.remove("apps/shop/log/a.log");
        fs::remove_dir(tailing.path("apps/shop/log")).unwrap();
        fs::remove_dir(tailing.path("apps/shop")).unwrap();
        tailing.look_around().await;
    }
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_names_for_one_file_are_one_file() {
    let tailing = Tailing::over("*.log");
    tailing.append("a.log", "one\n");
    fs::hard_link(tailing.path("a.log"), tailing.path("b.log")).unwrap();
    symlink(tailing.path("a.log"), tailing.path("c.log")).unwrap();
    tailing.start();
    tailing.spool.lines(1).await;
    tailing.look_around().await;
    assert_eq!(tailing.spool.bodies(), ["one"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_leads_to_its_file() {
    let tailing = Tailing::over("links/*.log");
    fs::create_dir(tailing.path("links")).unwrap();
    tailing.append("elsewhere", "one\n");
    symlink(tailing.path("elsewhere"), tailing.path("links/a.log")).unwrap();
    tailing.start();
    assert_eq!(tailing.spool.lines(1).await, ["one"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn more_files_than_may_be_open_are_all_followed() {
    let mut tailing = Tailing::over("*.log");
    tailing.open_files_max = 3;
    let mut expected = Vec::new();
    tailing.start();
    for round in 0..4 {
        for file in 0..20 {
            let line = format!("{file} {round}");
            tailing.append(&format!("{file}.log"), format!("{line}\n"));
            expected.push(line);
        }
        tailing.spool.lines(expected.len()).await;
        let open = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
            let target = fs::read_link(entry.as_ref().unwrap().path());
            target.is_ok_and(|target| target.starts_with(tailing.directory.path()))
        });
        assert!(open.count() <= 3);
    }
    let mut bodies = tailing.spool.bodies();
    bodies.sort();
    expected.sort();
    assert_eq!(bodies, expected);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_path_is_tried_again_with_one_line_in_the_log() {
    super::log::capture();
    let tailing = Tailing::over("*.log");
    // Root may read everything, so permissions do not help here.
    symlink(tailing.path("loop.log"), tailing.path("loop.log")).unwrap();
    tailing.append("a.log", "one\n");
    tailing.start();
    tailing.spool.lines(1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let path = tailing.path("loop.log").display().to_string();
    assert_eq!(super::log::lines(&["WARN", &path]), 1);
    assert!(tailing.stats().counts().read_errors > 10);
    tailing.remove("loop.log");
    tailing.append("loop.log", "two\n");
    assert_eq!(tailing.spool.lines(2).await, ["one", "two"]);
    assert_eq!(super::log::lines(&["INFO", "readable again", &path]), 1);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lag_is_told_for_each_file() {
    let tailing = Tailing::over("*.log");
    tailing.append("a.log", "one\nhalf");
    tailing.append("b.log", "two\n");
    tailing.start();
    tailing.spool.lines(2).await;
    tailing.look_around().await;
    let lags: Vec<(String, u64, u64)> = tailing
        .stats()
        .files()
        .iter()
        .map(|lag| (lag.path.rsplit('/').next().unwrap().to_owned(), lag.size, lag.bytes()))
        .collect();
    assert_eq!(lags, [("a.log".to_owned(), 8, 4), ("b.log".to_owned(), 4, 0)]);
    let counts = tailing.stats().counts();
    assert_eq!((counts.events, counts.bytes), (2, 8));
    tailing.stop().await;
}

#[tokio::test]
async fn the_system_tells_of_growth_and_new_files() {
    let mut tailing = Tailing::over("*.log");
    // Polling alone would take an hour.
    tailing.spec.poll_interval = DurationText::from_secs(3600);
    let clock = Arc::new(SystemClock::new());
    tailing.append("a.log", "one\n");
    tailing.run(Taildir::build(&tailing.spec, tailing.spool.start(), clock).unwrap());
    tailing.spool.lines(1).await;
    tailing.append("a.log", "two\n");
    tailing.spool.lines(2).await;
    tailing.append("b.log", "three\n");
    tailing.spool.lines(3).await;
    tailing.rename("a.log", "c.log");
    tailing.append("a.log", "four\n");
    tailing.append("c.log", "five\n");
    let mut lines = tailing.spool.lines(5).await;
    lines[3..].sort();
    assert_eq!(lines, ["one", "two", "three", "five", "four"]);
    tailing.stop().await;
}

#[test]
fn a_spec_that_cannot_work_is_refused() {
    let build = |change: &dyn Fn(&mut Tailing)| {
        let mut tailing = Tailing::over("*.log");
        change(&mut tailing);
        let clock = Arc::new(SystemClock::new());
        Taildir::build(&tailing.spec, Spool::new().start(), clock).err()
    };
    let group = |pattern: &str| {
        let pattern = pattern.to_owned();
        move |tailing: &mut Tailing| {
            tailing.spec.filegroups.insert("g".to_owned(), pattern.clone());
        }
    };
    assert!(build(&|_| ()).is_none());
    assert!(matches!(build(&group("relative/*.log")), Some(BuildError::Relative { .. })));
    assert!(matches!(build(&group("/var/log/[")), Some(BuildError::Glob { .. })));
    let exclude = |tailing: &mut Tailing| tailing.spec.exclude = vec!["{".to_owned()];
    assert!(matches!(build(&exclude), Some(BuildError::Exclude(_))));
}

#[tokio::test(start_paused = true)]
async fn appending_to_many_files_keeps_each_in_order() {
    let tailing = Tailing::over("*.log");
    tailing.start();
    for line in 0..50 {
        for file in ["a", "b", "c"] {
            append(&tailing.path(&format!("{file}.log")), format!("{file}{line}\n").as_bytes());
        }
        if line % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let lines = tailing.spool.lines(150).await;
    for file in ["a", "b", "c"] {
        let of_file: Vec<&String> = lines.iter().filter(|line| line.starts_with(file)).collect();
        let expected: Vec<String> = (0..50).map(|line| format!("{file}{line}")).collect();
        assert_eq!(of_file, expected.iter().collect::<Vec<_>>());
    }
    tailing.stop().await;
}
