//! A disk without room.

use sdk_wal::{Faults, FaultyStorage};
use server_raft::{ProposeError, RaftOptions};

use crate::support::{Hand, answer, mark, options};

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let storage = FaultyStorage::new(1);
    let options = || RaftOptions { snapshot_entries: 1_000_000, ..options(&storage, 1) };
    let mut hand = Hand::open(options()).unwrap();
    hand.apply(mark("first")).unwrap();
    let used = 1 << 20;
    storage.set_faults(Faults { capacity_bytes: Some(used), ..Faults::default() });
    let mut answered = Vec::new();
    let mut waiting = Vec::new();
    let refused = (0..10_000).find(|at| {
        let name = format!("{at}-{}", "x".repeat(2_000));
        let Ok(mut proposed) = hand.handle.submit(mark(&name)) else { return true };
        hand.settle().unwrap();
        match answer(&mut proposed) {
            Some(Ok(_)) => answered.push(name),
            Some(Err(ProposeError::Busy)) => return true,
            Some(Err(other)) => panic!("{other}"),
            None => waiting.push((name, proposed)),
        }
        hand.pass(1).unwrap();
        false
    });
    assert!(refused.is_some(), "the disk was never full");
    assert!(hand.handle.status().borrow().disk_full);

    // Room again: what waited is answered, new ones are taken, nothing was lost.
    storage.set_faults(Faults::default());
    hand.pass(300).unwrap();
    assert!(!hand.handle.status().borrow().disk_full);
    for (name, mut proposed) in waiting {
        answer(&mut proposed).unwrap().unwrap();
        answered.push(name);
    }
    hand.apply(mark("last")).unwrap();
    drop(hand);
    storage.kill();
    let mut hand = Hand::open(options()).unwrap();
    hand.settle().unwrap();
    let marks = hand.marks();
    assert!(answered.iter().all(|name| marks.contains(&format!("/{name}"))));
    assert!(marks.contains(&"/last".to_owned()));
}
