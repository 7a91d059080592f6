//! Time, randomness and the end of the process.

use std::time::Duration;

use sdk_flow::{
    Clock, Entropy, Exit, ManualClock, RecordedExit, SeededEntropy, SystemClock, SystemEntropy,
    code,
};

#[test]
fn a_manual_clock_moves_only_when_told() {
    let clock = ManualClock::new(1_000);
    clock.advance(Duration::from_millis(1_500));
    assert_eq!((clock.wall_ms(), clock.monotonic()), (2_500, Duration::from_millis(1_500)));
    clock.set_wall_ms(7);
    assert_eq!((clock.wall_ms(), clock.monotonic()), (7, Duration::from_millis(1_500)));
}

#[tokio::test(start_paused = true)]
async fn the_system_clock_stands_still_in_a_paused_runtime() {
    let clock = SystemClock::new();
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(clock.monotonic(), Duration::from_secs(3));
    assert!(clock.wall_ms() > 1_600_000_000_000);
}

#[test]
fn a_seed_replays() {
    let draw = |entropy: &dyn Entropy| {
        let mut bytes = [0; 13];
        entropy.fill(&mut bytes);
        (bytes, entropy.next_u64(), entropy.below(10))
    };
    assert_eq!(draw(&SeededEntropy::new(7)), draw(&SeededEntropy::new(7)));
    assert_ne!(draw(&SeededEntropy::new(7)), draw(&SeededEntropy::new(8)));
    assert_ne!(draw(&SystemEntropy), draw(&SystemEntropy));
}

#[test]
fn numbers_stay_in_their_range() {
    let entropy = SeededEntropy::new(1);
    let mut seen = [false; 5];
    for _ in 0..200 {
        seen[entropy.below(5) as usize] = true;
        assert!((0.0..1.0).contains(&entropy.fraction()));
    }
    assert_eq!(seen, [true; 5]);
    assert_eq!(entropy.below(0), 0);
}

#[test]
fn the_first_exit_is_the_one_that_counts() {
    let exit = RecordedExit::default();
    assert_eq!(exit.first(), None);
    exit.exit(code::LOG_DEAD, "fsync failed");
    exit.exit(code::BAD, "later");
    assert_eq!(exit.first(), Some((70, "fsync failed".to_owned())));
}
