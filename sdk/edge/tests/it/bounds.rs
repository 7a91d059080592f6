//! What an edge does at its limits.

use sdk_edge::SourceState;

use crate::support::{PLAIN, World};

#[test]
fn at_its_capacity_the_source_waits_and_the_files_are_the_buffer() {
    let limited = PLAIN.replace("type = \"durable\"", "type = \"durable\"\ncapacity = \"256KiB\"");
    let mut world = World::new(&limited);
    world.tier.set_away(true);
    let machine = world.start();
    world.write(50_000);
    machine.wait_for("the source waits", |status| {
        status.flows[0].sources[0].state == SourceState::Waiting
    });
    let status = machine.status();
    let channel = &status.flows[0].channels[0];
    assert!(channel.pending_bytes <= 256 << 10, "{}", channel.pending_bytes);
    assert_eq!(channel.capacity_bytes, 256 << 10);
    let unready = machine.edge.ready().unwrap_err();
    assert!(unready.contains("source log of flow web waits: channel spool"), "{unready}");
    assert!(status.flows[0].sources[0].lag_bytes > 500_000);
    // Also over a restart, at which the channel is full from the beginning.
    machine.kill();
    let machine = world.start();
    machine.wait_for("the source waits again", |status| {
        status.flows[0].sources[0].state == SourceState::Waiting
    });
    world.tier.set_away(false);
    world.all_arrive(&machine);
    machine.wait_for("it is ready again", |status| status.ready);
    machine.kill();
}

#[test]
fn at_the_logs_mark_the_source_waits() {
    let small = PLAIN.replace("quota = \"64MiB\"", "quota = \"8MiB\"");
    let mut world = World::new(&small);
    world.tier.set_away(true);
    let machine = world.start();
    // Far more than the quota.
    for _ in 0..10 {
        world.write(40_000);
    }
    machine.wait_for("the log is at its mark", |status| {
        status.spool.mark == "stop ingest" && !status.ready
    });
    let spool = machine.status().spool;
    assert!(spool.used_bytes <= spool.quota_bytes, "{spool:?}");
    world.tier.set_away(false);
    world.all_arrive(&machine);
    machine.wait_for("it is ready again", |status| status.ready);
    machine.kill();
}
