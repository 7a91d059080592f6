//! Every line once and in order, whatever ends the agent or the node.

use std::time::Duration;

use sdk_flow::{Entropy as _, SeededEntropy};

use crate::agent::{Agent, World, eventually, pause};
use crate::twin::Twin;

fn all_arrive(world: &World, twin: &Twin, agent: &Agent) {
    eventually("every line arrives", || {
        let arrived = twin.len();
        let missing = || (arrived, world.lines.len(), agent.status());
        if arrived >= world.lines.len() { Ok(()) } else { Err(missing()) }
    });
    let arrived = twin.bodies();
    let other = arrived.iter().zip(&world.lines).position(|(arrived, line)| arrived != line);
    assert_eq!(other.map(|at| (at, &arrived[at])), None, "another order, or a line twice");
    assert_eq!(arrived.len(), world.lines.len());
}

#[test]
fn kills_of_agent_and_node_lose_nothing_and_repeat_nothing() {
    sdk_seeds::each(2, 50, |seed| {
        let entropy = SeededEntropy::new(seed);
        let mut twin = Twin::start();
        twin.cut_every(3 + entropy.below(20));
        let mut world = World::new(&twin.endpoint(), "");
        let mut agent = world.start();
        for round in 0..9 {
            world.write(1 + entropy.below(5_000) as usize);
            pause(Duration::from_millis(entropy.below(400)));
            match round % 3 {
                0 => {
                    agent.kill();
                    agent = world.start();
                }
                1 => twin.restart(),
                _ => world.rotate(),
            }
        }
        world.write(10);
        all_arrive(&world, &twin, &agent);
        assert!(agent.stop().success());
        assert!(twin.bodies() == world.lines);
    });
}

#[test]
fn an_outage_is_ridden_out_in_bounded_memory() {
    let mut twin = Twin::start();
    let mut world =
        World::new(&twin.endpoint(), "connect_timeout = \"1s\"\nrequest_timeout = \"1s\"");
    let agent = world.start();
    world.write(1_000);
    all_arrive(&world, &twin, &agent);
    let idle = agent.resident_kib();
    twin.stop();
    for _ in 0..20 {
        world.write(20_000);
    }
    eventually("all of it is in the spool", || {
        let status = agent.status();
        let source = &status["flows"][0]["sources"][0];
        if source["events"] == 401_000 { Ok(()) } else { Err(status) }
    });
    let busy = agent.resident_kib();
    println!("{idle} KiB idle, {busy} KiB in an outage");
    assert!(idle < 64 << 10, "{idle} KiB");
    assert!(busy < 128 << 10, "{busy} KiB");
    // Also when the agent ends meanwhile.
    agent.kill();
    let agent = world.start();
    world.write(1_000);
    twin.restart();
    all_arrive(&world, &twin, &agent);
    assert!(agent.stop().success());
}

#[test]
fn a_node_that_forgot_the_producer_gets_a_new_generation_and_nothing_is_lost() {
    for kill in [false, true] {
        let twin = Twin::start();
        let mut world = World::new(&twin.endpoint(), "");
        let mut agent = world.start();
        world.write(100);
        all_arrive(&world, &twin, &agent);
        // As a cluster that was set up anew.
        twin.forget();
        world.write(100);
        all_arrive(&world, &twin, &agent);
        for _ in 0..2 {
            if kill {
                agent.kill();
                agent = world.start();
            }
            twin.cut_every(2);
            world.write(300);
            all_arrive(&world, &twin, &agent);
        }
        assert!(agent.stop().success());
    }
}

#[test]
fn what_the_node_refuses_for_good_is_a_dead_letter() {
    let twin = Twin::start();
    twin.refuse("GET /00000003 HTTP/1.1");
    let mut world = World::new(&twin.endpoint(), "");
    let agent = world.start();
    world.write(5);
    eventually("it is buried", || {
        let status = agent.status();
        if status["dead_letters"]["events"].as_u64() > Some(0) { Ok(()) } else { Err(status) }
    });
    let buried = agent.status()["dead_letters"]["events"].as_u64().unwrap() as usize;
    world.write(100);
    eventually("the others arrive", || {
        let arrived = twin.len() + buried;
        if arrived == 105 { Ok(()) } else { Err((arrived, agent.status())) }
    });
    let rest: Vec<String> =
        world.lines.iter().filter(|line| twin.bodies().contains(line)).cloned().collect();
    assert_eq!(twin.bodies(), rest);
    assert!(agent.stop().success());
    assert!(world.said().contains("dead letter"), "{}", world.said());
}
