//! Files that are renamed, truncated, deleted and made anew.

use std::fs;
use std::time::Duration;

use sdk_config::DurationText;

use super::Tailing;

#[tokio::test(start_paused = true)]
async fn a_renamed_file_is_followed_to_its_end_before_the_new_one() {
    let tailing = Tailing::over("app.log");
    tailing.append("app.log", "1\n");
    tailing.start();
    tailing.spool.lines(1).await;
    tailing.append("app.log", "2\n");
    tailing.rename("app.log", "app.log.1");
    tailing.append("app.log.1", "3\n");
    tailing.append("app.log", "4\n");
    assert_eq!(tailing.spool.lines(4).await, ["1", "2", "3", "4"]);
    // Its writer may be slow to let go of it.
    tailing.append("app.log.1", "5\n");
    assert_eq!(tailing.spool.lines(5).await[4], "5");
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_renamed_within_the_glob_is_not_read_again() {
    let tailing = Tailing::over("app.log*");
    tailing.append("app.log", "1\n2\n");
    tailing.start();
    tailing.spool.lines(2).await;
    for _ in 0..3 {
        for number in (1..4).rev() {
            if tailing.path(&format!("app.log.{number}")).exists() {
                tailing.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
            }
        }
        tailing.rename("app.log", "app.log.1");
        let line = tailing.spool.bodies().len() + 1;
        tailing.append("app.log", format!("{line}\n"));
        tailing.spool.lines(line).await;
    }
    tailing.look_around().await;
    assert_eq!(tailing.spool.bodies(), ["1", "2", "3", "4", "5"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lines_written_between_an_idle_close_and_a_rename_are_read() {
    let mut tailing = Tailing::over("app.log");
    tailing.spec.idle_timeout = DurationText::from_secs(10);
    tailing.append("app.log", "1\n");
    tailing.start();
    tailing.spool.lines(1).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    // Closed by now. All of this happens between two looks.
    tailing.append("app.log", "2\n");
    tailing.rename("app.log", "renamed");
    tailing.append("app.log", "3\n");
    let mut lines = tailing.spool.lines(3).await;
    lines.sort();
    assert_eq!(lines, ["1", "2", "3"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rename_while_the_source_is_down_is_seen() {
    let tailing = Tailing::over("app.log*");
    tailing.append("app.log", "1\n");
    tailing.start();
    tailing.spool.lines(1).await;
    tailing.kill().await;
    tailing.append("app.log", "2\n");
    tailing.rename("app.log", "app.log.1");
    tailing.append("app.log", "3\n");
    tailing.start();
    assert_eq!(tailing.spool.lines(3).await, ["1", "2", "3"]);
    tailing.look_around().await;
    assert_eq!(tailing.spool.bodies().len(), 3);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_file_is_read_from_its_beginning() {
    let tailing = Tailing::over("app.log");
    tailing.append("app.log", "1\n2\n3\n");
    tailing.start();
    tailing.spool.lines(3).await;
    tailing.truncate("app.log");
    tailing.append("app.log", "4\n");
    assert_eq!(tailing.spool.lines(4).await[3], "4");
    tailing.look_around().await;
    tailing.truncate("app.log");
    tailing.look_around().await;
    tailing.append("app.log", "5\n");
    assert_eq!(tailing.spool.lines(5).await[4], "5");
    assert!(tailing.stats().counts().truncations >= 2);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_file_that_has_outgrown_its_position_is_known_by_its_first_bytes() {
    let tailing = Tailing::over("app.log");
    tailing.append("app.log", "1\n2\n");
    tailing.start();
    tailing.spool.lines(2).await;
    tailing.look_around().await;
    tailing.truncate("app.log");
    tailing.append("app.log", "3 and much more than before\n4\n");
    assert_eq!(tailing.spool.lines(4).await[2..], ["3 and much more than before", "4"]);
    tailing.stop().await;
    // The same while the source is down.
    tailing.truncate("app.log");
    tailing.append("app.log", "5 and even more than there was at any time before\n6\n");
    tailing.start();
    assert_eq!(tailing.spool.lines(6).await[5], "6");
    tailing.look_around().await;
    assert_eq!(tailing.spool.bodies().len(), 6);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_file_that_has_grown_to_the_size_it_had_is_known_too() {
    let tailing = Tailing::over("app.log");
    tailing.append("app.log", "1\n2\n");
    tailing.start();
    tailing.spool.lines(2).await;
    tailing.look_around().await;
    tailing.truncate("app.log");
    // Another time than it had, on file systems that count in ticks.
    let file = fs::OpenOptions::new().append(true).open(tailing.path("app.log")).unwrap();
    tailing.append("app.log", "3\n4\n");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(tailing.spool.lines(4).await, ["1", "2", "3", "4"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_file_is_read_to_its_end_and_let_go() {
    let mut tailing = Tailing::over("*.log");
    tailing.spec.idle_timeout = DurationText::from_secs(10);
    tailing.append("a.log", "1\n");
    tailing.start();
    tailing.spool.lines(1).await;
    tailing.append("a.log", "2\n3");
    tailing.remove("a.log");
    // Nobody can end its last line any more.
    assert_eq!(tailing.spool.lines(3).await, ["1", "2", "3"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(tailing.stats().files().is_empty());
    let open = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let target = fs::read_link(entry.as_ref().unwrap().path());
        target.is_ok_and(|target| target.starts_with(tailing.directory.path()))
    });
    assert_eq!(open.count(), 0, "a deleted file must not be held open");
    // The next put says that its position is of no more use.
    tailing.append("b.log", "4\n");
    tailing.spool.lines(4).await;
    tailing.stop().await;
    assert_eq!(tailing.spool.kept().positions["source"].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_inode_that_is_used_again_is_another_file() {
    use std::os::unix::fs::MetadataExt as _;
    let tailing = Tailing::over("*.log");
    tailing.append("a.log", "1\n2\n3\n");
    let inode = fs::metadata(tailing.path("a.log")).unwrap().ino();
    tailing.start();
    tailing.spool.lines(3).await;
    tailing.kill().await;
    // Some file systems hand out the inode that was freed last.
    tailing.remove("a.log");
    let mut reused = false;
    for number in 0..200 {
        tailing.append(&format!("new{number}.log"), format!("new {number} is longer\n"));
        reused |= fs::metadata(tailing.path(&format!("new{number}.log"))).unwrap().ino() == inode;
    }
    tailing.start();
    let lines = tailing.spool.lines(203).await;
    assert_eq!(lines.len(), 203, "inode reused: {reused}");
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_comes_back_goes_on_where_it_was() {
    let mut tailing = Tailing::over("logs/*.log");
    tailing.spec.idle_timeout = DurationText::from_secs(5);
    fs::create_dir(tailing.path("logs")).unwrap();
    tailing.append("logs/a.log", "1\n");
    tailing.start();
    tailing.spool.lines(1).await;
    tailing.rename("logs", "unmounted");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(tailing.stats().files().is_empty());
    tailing.append("unmounted/a.log", "2\n");
    tailing.rename("unmounted", "logs");
    assert_eq!(tailing.spool.lines(2).await, ["1", "2"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn copytruncate_is_exact_once_the_source_has_caught_up() {
    let tailing = Tailing::over("app.log");
    tailing.start();
    let mut line = 0;
    for round in 1..=5 {
        for _ in 0..round * 7 {
            line += 1;
            tailing.append("app.log", format!("{line}\n"));
        }
        tailing.spool.lines(line).await;
        fs::copy(tailing.path("app.log"), tailing.path(&format!("app.log.{round}"))).unwrap();
        tailing.truncate("app.log");
    }
    let expected: Vec<String> = (1..=line).map(|line| line.to_string()).collect();
    assert_eq!(tailing.spool.bodies(), expected);
    tailing.stop().await;
}
