//! Refused puts, kills and restarts.

use sdk_config::StartAt;

use super::Tailing;
use crate::spool::Fault;

fn numbered(from: usize, to: usize) -> String {
    (from..to).map(|line| format!("{line}\n")).collect()
}

fn expected(to: usize) -> Vec<String> {
    (0..to).map(|line| line.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_put_without_room_or_answer_is_repeated() {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.batch_size = 10;
    tailing.append("a.log", numbered(0, 100));
    tailing.spool.fail([
        Fault::Exhausted,
        Fault::Exhausted,
        Fault::UnknownLost,
        Fault::UnknownStored,
        Fault::UnknownLost,
        Fault::UnknownStored,
        Fault::Exhausted,
    ]);
    tailing.start();
    tailing.spool.lines(100).await;
    tailing.stop().await;
    assert_eq!(tailing.spool.bodies(), expected(100));
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_put_loses_and_repeats_nothing() {
    for stored in [false, true] {
        let mut tailing = Tailing::over("a.log");
        tailing.spec.batch_size = 10;
        tailing.append("a.log", numbered(0, 100));
        for _ in 0..9 {
            tailing.spool.kept().faults.extend([None, Some(Fault::Death { stored })]);
            tailing.start();
            tailing.spool.until("the kill", |kept| kept.dead).await;
            tailing.kill().await;
            tailing.spool.kept().faults.clear();
            if tailing.spool.bodies().len() >= 80 {
                break;
            }
        }
        tailing.start();
        tailing.spool.lines(100).await;
        tailing.look_around().await;
        tailing.stop().await;
        assert_eq!(tailing.spool.bodies(), expected(100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_reads_only_what_is_new() {
    let tailing = Tailing::over("*.log");
    tailing.append("a.log", numbered(0, 10));
    tailing.start();
    tailing.spool.lines(10).await;
    tailing.stop().await;
    tailing.append("a.log", numbered(10, 20));
    tailing.start();
    tailing.spool.lines(20).await;
    tailing.look_around().await;
    tailing.stop().await;
    assert_eq!(tailing.spool.bodies(), expected(20));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_means_what_is_written_from_the_first_start_on() {
    let mut tailing = Tailing::over("*.log");
    tailing.spec.start = StartAt::End;
    tailing.append("a.log", "old\n");
    tailing.start();
    tailing.spool.until("the positions", |kept| kept.remembered > 0).await;
    // Killed before anything was put: this is no first start any more.
    tailing.kill().await;
    tailing.append("a.log", "1\n");
    tailing.append("b.log", "2\n");
    tailing.start();
    let mut lines = tailing.spool.lines(2).await;
    lines.sort();
    assert_eq!(lines, ["1", "2"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_end_also_where_nothing_was_there() {
    let mut tailing = Tailing::over("*.log");
    tailing.spec.start = StartAt::End;
    tailing.start();
    tailing.spool.until("the start", |kept| kept.remembered > 0).await;
    tailing.kill().await;
    tailing.append("a.log", "1\n");
    tailing.start();
    assert_eq!(tailing.spool.lines(1).await, ["1"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_its_content_goes_to_the_dead_letters_alone() {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.batch_size = 64;
    tailing.spool.kept().poison = Some("poison");
    let mut content = String::new();
    let mut good = Vec::new();
    for line in 0..300 {
        if line % 37 == 5 {
            content += &format!("{line} poison\n");
        } else {
            content += &format!("{line}\n");
            good.push(line.to_string());
        }
    }
    tailing.append("a.log", &content);
    tailing.start();
    tailing.spool.lines(good.len()).await;
    tailing.look_around().await;
    tailing.stop().await;
    assert_eq!(tailing.spool.bodies(), good);
    let letters: Vec<String> =
        tailing.spool.kept().letters.iter().map(|(letter, _)| letter.body.clone()).collect();
    let poisoned: Vec<String> =
        (0..300).filter(|line| line % 37 == 5).map(|line| format!("{line} poison")).collect();
    assert_eq!(letters, poisoned);
    // Nothing of it comes again.
    tailing.start();
    tailing.look_around().await;
    tailing.stop().await;
    assert_eq!(tailing.spool.bodies(), good);
    assert_eq!(tailing.spool.kept().letters.len(), poisoned.len());
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_is_not_for_content_ends_the_source() {
    let tailing = Tailing::over("a.log");
    tailing.append("a.log", "1\n");
    tailing.spool.fail([Fault::Expected]);
    tailing.start();
    let (tasks, _) = tailing.running.lock().unwrap().take().unwrap();
    let error = tasks.failed().await;
    assert_eq!(error.error.to_string(), "the flow took no more events");
}
