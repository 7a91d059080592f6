//! Penalties of one process, on a clock that is moved by hand.

use std::sync::Arc;
use std::time::Duration;

use sdk_flow::{Admission, LocalPenalties, ManualClock, Penalties, SeededEntropy, penalty};

const MAX: Duration = Duration::from_secs(30);

fn penalties() -> (LocalPenalties, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(0));
    let entropy = Arc::new(SeededEntropy::new(1));
    (LocalPenalties::new(clock.clone(), entropy, MAX), clock)
}

async fn out_for(penalties: &LocalPenalties, sink: &str) -> Duration {
    match penalties.admit(sink).await {
        Admission::Out { retry_in } => retry_in,
        admission => panic!("{sink} is {admission:?}"),
    }
}

#[test]
fn a_penalty_doubles_to_its_maximum_and_never_overflows() {
    let seconds: Vec<u64> = (1..8).map(|failures| penalty(failures, MAX).as_secs()).collect();
    assert_eq!(seconds, [2, 4, 8, 16, 30, 30, 30]);
    // Flume's arithmetic wraps at 22 failures and then retries without a pause.
    for failures in [22, 26, 29, 31, 32, 63, 64, 65, u32::MAX] {
        assert_eq!(penalty(failures, MAX), MAX);
    }
    assert_eq!(penalty(u32::MAX, Duration::MAX).as_secs(), u64::MAX);
}

#[tokio::test]
async fn a_failed_sink_is_out_then_one_prober_is_let_in() {
    let (penalties, clock) = penalties();
    assert_eq!(penalties.admit("s").await, Admission::Free);
    penalties.failed("s", "refused").await;
    let first = out_for(&penalties, "s").await;
    assert!(first > Duration::from_millis(1_600) && first <= Duration::from_secs(2), "{first:?}");
    assert_eq!(penalties.admit("other").await, Admission::Free);

    clock.advance(first);
    assert_eq!(penalties.admit("s").await, Admission::Probe);
    assert!(matches!(penalties.admit("s").await, Admission::Out { .. }), "a second prober");
    penalties.failed("s", "refused again").await;
    let second = out_for(&penalties, "s").await;
    assert!(second > Duration::from_millis(3_200) && second <= Duration::from_secs(4));
    assert_eq!(penalties.list()[0].failures, 2);
    assert_eq!(penalties.list()[0].reason, "refused again");

    clock.advance(second);
    assert_eq!(penalties.admit("s").await, Admission::Probe);
    penalties.succeeded("s").await;
    assert_eq!(penalties.admit("s").await, Admission::Free);
    assert!(penalties.list().is_empty());
    penalties.failed("s", "anew").await;
    assert!(out_for(&penalties, "s").await <= Duration::from_secs(2), "the count began again");
}

#[tokio::test]
async fn failures_of_one_outage_count_once() {
    let (penalties, _clock) = penalties();
    for _ in 0..8 {
        penalties.failed("s", "refused").await;
    }
    assert_eq!(penalties.list()[0].failures, 1);
}

#[tokio::test]
async fn a_prober_that_is_never_heard_of_again_does_not_block_the_sink() {
    let (penalties, clock) = penalties();
    penalties.failed("s", "refused").await;
    clock.advance(Duration::from_secs(2));
    assert_eq!(penalties.admit("s").await, Admission::Probe);
    clock.advance(MAX);
    assert_eq!(penalties.admit("s").await, Admission::Probe);
}

#[tokio::test]
async fn an_operator_can_clear_a_penalty() {
    let (penalties, _clock) = penalties();
    penalties.failed("s", "refused").await;
    assert!(penalties.clear("s"));
    assert!(!penalties.clear("s"));
    assert_eq!(penalties.admit("s").await, Admission::Free);
}
