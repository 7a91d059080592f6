//! Dead letters: what cannot be put, and what cannot be delivered.

use crate::support::{PLAIN, World, append};

fn letters(world: &World) -> Vec<serde_json::Value> {
    let folder = world.data_dir().join("dead-letters");
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let text = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let text: String = text.collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_over_long_line_is_a_dead_letter_with_its_reason() {
    let strict = PLAIN.replace(
        "poll_interval",
        "max_line_length = \"1KiB\"\nover_long = \"dead_letter\"\npoll_interval",
    );
    let mut world = World::new(&strict);
    world.write(3);
    append(&world.log(), &("x".repeat(3_000) + "\n"));
    world.write(3);
    let machine = world.start();
    world.all_arrive(&machine);
    machine.wait_for("it is counted", |status| status.flows[0].sources[0].dead_letters == 1);
    let letters = letters(&world);
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0]["flow"], &letters[0]["source"]), (&"web".into(), &"log".into()));
    assert!(letters[0]["reason"].is_string(), "{}", letters[0]);
    let status = machine.status();
    assert_eq!(status.dead_letters.events, 1);
    assert!(status.ready && !status.healthy, "{:?}", status.reasons);
    machine.kill();
}

#[test]
fn what_the_tier_refuses_for_good_is_a_dead_letter_and_the_rest_goes_on() {
    let mut world = World::new(PLAIN);
    world.tier.refuse("poison");
    append(&world.log(), "poison\n");
    let machine = world.start();
    machine.wait_for("it is buried", |status| status.dead_letters.events > 0);
    let buried = letters(&world);
    assert_eq!(buried.len(), 1);
    assert_eq!((&buried[0]["sink"], &buried[0]["body"]), (&"tier".into(), &"poison".into()));
    assert_eq!(buried[0]["reason"], "it holds a word we do not take");
    assert!(buried[0]["id"].is_string());
    world.write(1_000);
    world.all_arrive(&machine);
    // It is not delivered again by the next process either.
    machine.kill();
    let machine = world.start();
    world.write(10);
    world.all_arrive(&machine);
    assert_eq!(letters(&world).len(), 1);
    machine.kill();
}

#[test]
fn of_a_batch_only_what_is_at_fault_is_a_dead_letter() {
    let mut world = World::new(&PLAIN.replace("poll_interval", "batch_size = 5\npoll_interval"));
    world.tier.set_away(true);
    world.tier.refuse("poison");
    let machine = world.start();
    world.write(50);
    append(&world.log(), "poison\n");
    machine.wait_for("they are stored", |status| status.flows[0].sources[0].events == 51);
    let before: Vec<String> = world.lines.clone();
    world.write(50);
    machine.wait_for("all are stored", |status| status.flows[0].sources[0].events == 101);
    world.tier.set_away(false);
    machine.wait_for("all are passed", |status| status.flows[0].groups[0].pending_events == 0);
    let buried: Vec<String> =
        letters(&world).iter().map(|letter| letter["body"].as_str().unwrap().to_owned()).collect();
    // The line stands in one put with a few others at most.
    assert!(buried.contains(&"poison".to_owned()) && buried.len() <= 5, "{buried:?}");
    let mut all = world.tier.bodies();
    assert!(all.iter().all(|body| !buried.contains(body)), "delivered and buried");
    assert!(before.starts_with(&all[..40]));
    all.extend(buried);
    assert_eq!(all.len(), 101);
    let group = &machine.status().flows[0].groups[0];
    assert!(group.dead_lettered_events >= 1, "{group:?}");
    machine.kill();
}
