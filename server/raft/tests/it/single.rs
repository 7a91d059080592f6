//! A cluster of one.

use sdk_wal::{FaultyStorage, Storage as _};
use server_cluster::Reply;
use server_cluster::codec::encode_snapshot;
use server_raft::{OpenError, PROPOSAL_BYTES_MAX, ProposeError, RaftOptions, Role};

use crate::support::{Hand, acquire, answer, mark, options};

#[test]
fn it_elects_itself_and_answers() {
    let storage = FaultyStorage::new(1);
    let mut hand = Hand::open(options(&storage, 1)).unwrap();
    let flow = hand.set_up();
    assert_eq!((1..=3).map(|_| hand.token(flow)).collect::<Vec<_>>(), [1, 2, 3]);
    let status = hand.handle.status().borrow().clone();
    assert_eq!((status.role, status.leader, status.voters), (Role::Leader, Some(1), vec![1]));
    assert!(hand.handle.changes().index() >= 6);
}

#[test]
fn what_was_applied_is_applied_once_over_restarts() {
    let storage = FaultyStorage::new(2);
    let mut hand = Hand::open(options(&storage, 2)).unwrap();
    let flow = hand.set_up();
    let mut expected = 0;
    for restart in 0..10 {
        for _ in 0..7 {
            expected += 1;
            assert_eq!(hand.token(flow), expected, "after {restart} restarts");
        }
        let before = hand.handle.read(encode_snapshot);
        drop(hand);
        if restart % 2 == 0 {
            storage.kill();
        }
        hand = Hand::open(options(&storage, 2)).unwrap();
        hand.settle().unwrap();
        assert_eq!(hand.tokens(flow), expected);
        assert!(hand.handle.read(encode_snapshot) == before, "the same state to the byte");
    }
}

#[test]
fn many_proposals_share_a_flush() {
    let storage = FaultyStorage::new(3);
    let mut hand = Hand::open(options(&storage, 3)).unwrap();
    let flow = hand.set_up();
    let before = storage.steps();
    let mut proposed: Vec<_> =
        (0..1_000).map(|_| hand.handle.submit(acquire(flow)).unwrap()).collect();
    hand.settle().unwrap();
    let tokens: Vec<u64> = proposed
        .iter_mut()
        .map(|proposed| match answer(proposed).unwrap().unwrap() {
            Reply::Granted(grant) => grant.unwrap().token,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(tokens.iter().copied().eq(1..=1_000), "answered in order");
    let steps = storage.steps() - before;
    assert!(steps < 40, "{steps} disk operations for 1,000 proposals");
}

#[test]
fn snapshots_are_taken_and_the_log_is_cut_behind_them() {
    let storage = FaultyStorage::new(4);
    let options = || RaftOptions { snapshot_entries: 50, ..options(&storage, 4) };
    let mut hand = Hand::open(options()).unwrap();
    let flow = hand.set_up();
    for _ in 0..3_000 {
        hand.token(flow);
    }
    let usage = hand.handle.usage();
    // Two snapshots apart by 50 flushes of at least 4 KiB, of 3,000.
    assert!(usage.segments <= 10, "{usage:?}");
    let status = hand.handle.status().borrow().clone();
    assert!(status.snapshot > 2_900, "{status:?}");
    assert!(status.entries <= 2_100, "{status:?}");
    let files = storage.list(std::path::Path::new("/data/raft/snapshots")).unwrap();
    assert_eq!(files.len(), 2, "{files:?}");

    drop(hand);
    storage.power_cut();
    let mut hand = Hand::open(options()).unwrap();
    hand.settle().unwrap();
    assert_eq!(hand.tokens(flow), 3_000);
    assert_eq!(hand.token(flow), 3_001);
}

#[test]
fn a_proposal_may_be_large_and_not_too_large() {
    let storage = FaultyStorage::new(5);
    let large =
        RaftOptions { segment_bytes: 16 << 20, quota_bytes: 256 << 20, ..options(&storage, 5) };
    let mut hand = Hand::open(large.clone()).unwrap();
    // Refused by the state, not by the log: too long a path.
    let reply = hand.apply(mark(&"x".repeat(PROPOSAL_BYTES_MAX - 100))).unwrap();
    assert!(matches!(reply, Reply::Rejected(_)));
    let error = hand.apply(mark(&"x".repeat(PROPOSAL_BYTES_MAX))).unwrap_err();
    assert!(matches!(error, ProposeError::TooLarge { .. }));
    // Many of them in one Ready become several records.
    let bytes = "x".repeat(1 << 20);
    let mut proposed: Vec<_> = (0..20).map(|_| hand.handle.submit(mark(&bytes)).unwrap()).collect();
    hand.settle().unwrap();
    assert!(proposed.iter_mut().all(|proposed| answer(proposed).unwrap().is_ok()));
    drop(hand);
    let mut hand = Hand::open(large).unwrap();
    hand.settle().unwrap();
    assert!(matches!(hand.apply(mark("small")).unwrap(), Reply::Root(_)));
}

#[test]
fn only_one_process_has_the_directory() {
    let storage = FaultyStorage::new(6);
    let hand = Hand::open(options(&storage, 6)).unwrap();
    let second = Hand::open(options(&storage, 6));
    assert!(matches!(second.err(), Some(OpenError::Log(sdk_wal::OpenError::Locked { .. }))));
    drop(hand);
    Hand::open(options(&storage, 6)).unwrap();
}

#[test]
fn a_node_without_voters_waits_for_a_leader() {
    let storage = FaultyStorage::new(7);
    let joining = || RaftOptions { bootstrap: None, ..options(&storage, 7) };
    let mut hand = Hand::open(joining()).unwrap();
    let mut proposed = hand.handle.submit(mark("a")).unwrap();
    hand.pass(100).unwrap();
    assert!(answer(&mut proposed).is_none());
    drop(hand);
    Hand::open(joining()).unwrap();
    let others = RaftOptions { bootstrap: Some(vec![2, 3]), ..options(&storage, 7) };
    assert!(matches!(Hand::open(others).err(), Some(OpenError::Options(_))));
}

#[test]
fn a_barrier_waits_for_what_was_committed() {
    let storage = FaultyStorage::new(8);
    let mut hand = Hand::open(options(&storage, 8)).unwrap();
    let handle = hand.handle.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut barrier = std::pin::pin!(handle.barrier());
        // Asked before there is a leader.
        assert!(futures::poll!(barrier.as_mut()).is_pending());
        hand.settle().unwrap();
        hand.pass(1).unwrap();
        let reached = barrier.await.unwrap();
        assert_eq!(reached, hand.handle.changes().index());
    });
}
