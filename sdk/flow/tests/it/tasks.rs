//! Who owns the background work, and how it ends.

use std::future::pending;
use std::time::Duration;

use sdk_flow::Tasks;

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn stop_waits_for_tasks_that_listen() {
    let tasks = Tasks::new();
    tasks.start("listener", |stop| async move {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(tasks.running(), ["listener"]);
    let stopped = tasks.stop(GRACE).await;
    assert!(stopped.aborted.is_empty() && stopped.first_error.is_none());
    assert!(tasks.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn stop_names_and_aborts_tasks_that_do_not() {
    let tasks = Tasks::new();
    tasks.start("deaf", |_| pending::<()>());
    tasks.start(format!("listener {}", 2), |stop| async move { stop.cancelled().await });
    let stopped = tasks.stop(GRACE).await;
    assert_eq!(stopped.aborted, ["deaf"]);
    // Aborted tasks end at their next turn; a second stop finds nothing.
    tokio::task::yield_now().await;
    assert!(tasks.stop(GRACE).await.aborted.is_empty());
}

#[tokio::test]
async fn the_first_failure_is_kept_and_wakes_the_owner() {
    let tasks = Tasks::new();
    tasks.start("fine", |_| async {});
    tasks.start("broken", |_| async { Err("no such thing") });
    let error = tasks.failed().await;
    assert_eq!(error.to_string(), "task broken failed");
    assert_eq!(error.error.to_string(), "no such thing");
    tasks.start("later", |_| async { Err("another") });
    let stopped = tasks.stop(GRACE).await;
    assert_eq!(stopped.first_error.map(|error| error.task.clone()).as_deref(), Some("broken"));
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let tasks = Tasks::new();
    tasks.start("bad", |_| async {
        if tasks_may_panic() {
            panic!("at {}", 7);
        }
    });
    let error = tasks.failed().await;
    assert_eq!(error.error.to_string(), "panicked: at 7");
}

fn tasks_may_panic() -> bool {
    true
}

#[tokio::test]
async fn a_task_started_after_the_end_is_told_at_once() {
    let tasks = Tasks::new();
    tasks.stop(GRACE).await;
    let (tell, told) = tokio::sync::oneshot::channel();
    tasks.start("late", |stop| async move {
        let _ = tell.send(stop.is_cancelled());
    });
    assert_eq!(told.await, Ok(true));
}
