//! The data directory: whose it is, and what is left in it.

use std::time::Duration;

use sdk_edge::EdgeError;

use crate::support::{PLAIN, World, append};

#[test]
fn a_directory_belongs_to_one_process() {
    let world = World::new(PLAIN);
    let machine = world.start();
    let second = world.try_start().err().unwrap();
    assert!(matches!(second, EdgeError::Locked { .. }) && second.is_locked(), "{second}");
    assert!(second.to_string().contains("is in use by process"), "{second}");
    machine.stop(Duration::from_secs(10));
    world.start().kill();
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let world = World::new(PLAIN);
    std::fs::create_dir(world.data_dir()).unwrap();
    append(&world.data_dir().join("collector.json"), "{}");
    let error = world.try_start().err().unwrap();
    assert!(matches!(error, EdgeError::Foreign { .. }), "{error}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "plays a later release")]
fn a_newer_layout_is_refused_in_a_sentence() {
    let world = World::new(PLAIN);
    world.start().stop(Duration::from_secs(10));
    let path = world.data_dir().join("edge.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    let error = world.try_start().err().unwrap();
    assert!(error.to_string().contains("run a later release"), "{error}");
    std::fs::write(&path, "{}").unwrap();
    let error = world.try_start().err().unwrap();
    assert!(matches!(error, EdgeError::Damaged { .. }), "{error}");
}

#[test]
fn what_a_removed_group_left_is_kept_until_it_is_given_up() {
    let mut world = World::new(PLAIN);
    world.tier.set_away(true);
    let machine = world.start();
    world.write(100);
    machine.wait_for("they are stored", |status| status.flows[0].sources[0].events == 100);
    machine.kill();
    world.configure(&PLAIN.replace("groups.out", "groups.elsewhere"));
    world.tier.set_away(false);
    let machine = world.start();
    machine.wait_for("it is ready", |status| status.ready);
    let status = machine.status();
    let orphan = &status.spool.orphans[0];
    assert_eq!((orphan.flow.as_str(), orphan.group.as_deref()), ("web", Some("out")));
    assert!(orphan.events >= 100 && status.ready && !status.healthy, "{status:?}");
    assert_eq!(world.tier.len(), 0);
    machine.kill();
    world.discard = true;
    let machine = world.start();
    assert_eq!(machine.status().spool.orphans, []);
    machine.kill();
    world.discard = false;
    let machine = world.start();
    assert_eq!(machine.status().spool.orphans, []);
    machine.kill();
}

#[test]
fn flows_share_the_spool_and_one_that_is_gone_leaves_what_it_had() {
    let two =
        format!("{PLAIN}{}", PLAIN[PLAIN.find("[flow").unwrap()..].replace("flow.web", "flow.app"));
    let mut world = World::new(&two);
    world.tier.set_away(true);
    let machine = world.start();
    world.write(50);
    machine.wait_for("both have them", |status| {
        status.flows.len() == 2 && status.flows.iter().all(|flow| flow.sources[0].events == 50)
    });
    machine.kill();
    world.configure(PLAIN);
    let machine = world.start();
    let orphans = machine.status().spool.orphans;
    assert_eq!(orphans.len(), 1);
    assert_eq!((orphans[0].flow.as_str(), &orphans[0].channel), ("app", &None));
    assert!(orphans[0].events >= 50);
    world.tier.set_away(false);
    world.all_arrive(&machine);
    machine.kill();
    world.discard = true;
    world.start().kill();
    world.discard = false;
    assert_eq!(world.start().status().spool.orphans, []);
}
