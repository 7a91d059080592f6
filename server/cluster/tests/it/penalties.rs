//! How long a sink is left alone.

use server_cluster::State;

use crate::script::parse;

/// Fails every probe, and says how long each wait is.
fn waits(probes: usize, jitter: u16, max_ms: u64) -> Vec<u64> {
    let mut state = State::new();
    let mut index = 0;
    let mut apply = |line: &str| {
        index += 1;
        state.apply(index, parse(line).unwrap());
        state.penalties().first().map(|it| (it.penalty.serial, it.penalty.duration_ms))
    };
    apply("init");
    apply("up 1");
    apply(&format!("flow web sinks=files:{max_ms}"));
    let mut waits = Vec::new();
    for report in 1..=probes {
        let failed = format!("report 3 1 failed report={report} jitter={jitter}");
        let (serial, wait) = apply(&failed).unwrap();
        waits.push(wait);
        apply(&format!("probe 3 1 serial={serial}"));
    }
    waits
}

#[test]
fn waits_double_up_to_the_maximum_and_never_vanish() {
    let waits_ms = waits(300, 0, 30_000);
    assert_eq!(waits_ms[..6], [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    assert!(waits_ms[5..].iter().all(|wait| *wait == 30_000));
    assert_eq!(waits(300, 0, u64::MAX)[299], u64::MAX);
}

#[test]
fn jitter_shortens_by_a_quarter_at_most() {
    assert_eq!(waits(1, 100, 30_000), [1_800]);
    assert_eq!(waits(1, 1_000, 30_000), [1_500]);
    assert_eq!(waits(1, 250, 1_003), [753]);
}
