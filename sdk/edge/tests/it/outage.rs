//! The tier is away.

use std::time::Duration;

use sdk_edge::{SinkState, SourceState};
use sdk_flow::{Clock as _, SystemClock};

use crate::support::{PLAIN, World, wait_for};

#[test]
fn an_outage_is_ridden_out_and_does_not_make_the_edge_unready() {
    let mut world = World::new(PLAIN);
    world.tier.set_away(true);
    let machine = world.start();
    world.write(5_000);
    machine.wait_for("everything is in the spool", |status| {
        status.flows[0].sources[0].events == 5_000 && status.flows[0].sinks[0].failed_deliveries > 2
    });
    let status = machine.status();
    assert!(status.ready && !status.healthy, "{:?}", status.reasons);
    assert_eq!(machine.edge.ready(), Ok(()));
    let sink = &status.flows[0].sinks[0];
    assert_eq!((sink.state, sink.delivered_events), (SinkState::Unavailable, 0));
    assert_eq!(sink.reason.as_deref(), Some("the node is away"));
    assert_eq!(status.flows[0].channels[0].pending_events, 5_000);
    assert!(status.flows[0].channels[0].pending_bytes > 100_000);
    // The outage goes on over a restart.
    machine.kill();
    let machine = world.start();
    world.write(100);
    world.tier.set_away(false);
    world.all_arrive(&machine);
    machine.wait_for("the status says so", |status| {
        let channel = &status.flows[0].channels[0];
        status.healthy && (channel.pending_events, channel.pending_bytes) == (0, 0)
    });
    let status = machine.status();
    assert_eq!(status.flows[0].sinks[0].state, SinkState::Working);
    assert_eq!(status.flows[0].sources[0].state, SourceState::Running);
    assert_eq!(status.flows[0].sources[0].lag_bytes, 0);
    assert!(status.flows[0].sources[0].files[0].path.ends_with("access.log"));
    machine.kill();
}

#[test]
fn a_stop_delivers_what_there_is() {
    let mut world = World::new(PLAIN);
    let machine = world.start();
    world.write(20_000);
    machine.wait_for("some are read", |status| status.flows[0].sources[0].events > 0);
    assert_eq!(machine.stop(Duration::from_secs(30)), 0);
    let arrived = world.tier.len();
    assert_eq!(world.tier.bodies(), world.lines[..arrived]);
    // What had not been read by then comes with the next start.
    let machine = world.start();
    world.all_arrive(&machine);
    machine.stop(Duration::from_secs(30));
}

#[test]
fn a_stop_does_not_wait_for_a_tier_that_is_away() {
    let mut world = World::new(PLAIN);
    world.tier.set_away(true);
    let machine = world.start();
    world.write(100);
    wait_for("the sink has failed", || world.tier.deliveries() > 0);
    let clock = SystemClock::new();
    assert!(machine.stop(Duration::from_secs(600)) > 0);
    assert!(clock.monotonic() < Duration::from_secs(300));
    world.tier.set_away(false);
    let machine = world.start();
    world.all_arrive(&machine);
    machine.kill();
}
