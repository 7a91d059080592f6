//! Every line once, whatever ends the process and whenever.

use std::sync::Arc;
use std::time::Duration;

use sdk_flow::{Entropy as _, SeededEntropy};
use sdk_wal::{Fault, Faults, FaultyStorage};

use crate::support::{PLAIN, World, wait_for};

#[test]
fn a_killed_process_reads_no_line_twice_and_loses_none() {
    sdk_seeds::each(6, 300, |seed| {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let mut world = World::new(PLAIN);
        world.tier.tear_every(3);
        world.entropy = entropy.clone();
        for _ in 0..4 {
            let machine = world.start();
            world.write(1 + entropy.below(3_000) as usize);
            let enough = world.tier.len() + entropy.below(1_000) as usize;
            machine.wait_for("some lines arrive", |_| {
                world.tier.len() >= enough.min(world.lines.len())
            });
            world.write(entropy.below(500) as usize + 1);
            if entropy.below(2) == 0 {
                world.rotate();
            }
            machine.kill();
        }
        let machine = world.start();
        world.write(10);
        world.all_arrive(&machine);
        assert_eq!(machine.stop(Duration::from_secs(10)), 0);
        assert_eq!(world.tier.len(), world.lines.len());
    });
}

#[test]
fn a_power_cut_at_any_write_reads_no_line_twice_and_loses_none() {
    sdk_seeds::each(6, 300, |seed| {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let storage = FaultyStorage::new(seed);
        let mut world = World::new(PLAIN);
        world.tier.tear_every(4);
        (world.entropy, world.storage) = (entropy.clone(), Arc::new(storage.clone()));
        let mut cuts = 0;
        while cuts < 5 {
            let step = storage.steps() + 1 + entropy.below(40);
            let at_step = Some((step, Fault::PowerCut));
            storage.set_faults(Faults { at_step, ..Faults::default() });
            // The start itself writes, so it may be what the power goes in.
            if let Ok(machine) = world.try_start() {
                world.write(1 + entropy.below(800) as usize);
                machine.wait_for("the power goes", |_| {
                    if storage.steps() > step {
                        // That call failed before it could do anything.
                        let at_step = Some((storage.steps() + 1, Fault::PowerCut));
                        storage.set_faults(Faults { at_step, ..Faults::default() });
                    }
                    if !storage.is_down() && world.tier.len() == world.lines.len() {
                        world.write(1);
                    }
                    storage.is_down()
                });
                machine.kill();
            }
            storage.power_cut();
            cuts += 1;
        }
        let machine = world.start();
        world.write(10);
        world.all_arrive(&machine);
        assert_eq!(machine.stop(Duration::from_secs(10)), 0);
        assert_eq!(world.tier.len(), world.lines.len());
    });
}

#[test]
fn an_edge_whose_disk_fails_says_so() {
    let storage = FaultyStorage::new(1);
    let mut world = World::new(PLAIN);
    world.storage = Arc::new(storage.clone());
    let machine = world.start();
    wait_for("the log dies", || {
        // A read that fails is tried again, a write is not.
        let at_step = Some((storage.steps() + 2, Fault::Io));
        storage.set_faults(Faults { at_step, ..Faults::default() });
        world.write(1);
        machine.edge.live().is_err()
    });
    let status = machine.status();
    assert!(!status.ready && status.reasons[0].contains("log is dead"), "{:?}", status.reasons);
    machine.kill();
    storage.kill();
    let machine = world.start();
    world.all_arrive(&machine);
    machine.kill();
}
