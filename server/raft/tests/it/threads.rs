//! The node on its own threads, on this machine's disk.

use std::sync::Arc;
use std::time::Duration;

use sdk_flow::Tasks;
use sdk_wal::{Fault, Faults, FaultyStorage};
use server_raft::{Fatal, ProposeError, Raft, RaftOptions};

use crate::support::{acquire, mark, setup};

async fn set_up(handle: &server_raft::RaftHandle) -> u64 {
    let mut flow = 0;
    for command in setup() {
        if let server_cluster::Reply::Flow { flow: id, .. } = handle.propose(command).await.unwrap()
        {
            flow = id;
        }
    }
    flow
}

#[tokio::test]
async fn two_thousand_proposals_at_once_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let options = || RaftOptions { quota_bytes: 128 << 20, ..RaftOptions::new(dir.path(), 1) };
    let handle = Raft::start(options(), &tasks).unwrap();
    let flow = set_up(&handle).await;
    let proposed: Vec<_> = (0..2_000).map(|_| handle.submit(acquire(flow)).unwrap()).collect();
    let mut expected = 0;
    for proposed in proposed {
        expected += 1;
        match proposed.await.unwrap() {
            server_cluster::Reply::Granted(grant) => assert_eq!(grant.unwrap().token, expected),
            other => panic!("{other:?}"),
        }
    }
    assert!(handle.barrier().await.unwrap() >= 2_000);
    assert!(tasks.stop(Duration::from_secs(10)).await.first_error.is_none());
    assert!(matches!(handle.propose(mark("late")).await, Err(ProposeError::Dead { .. })));

    // The directory is free although there is a handle.
    let tasks = Tasks::new();
    let handle = Raft::start(options(), &tasks).unwrap();
    match handle.propose(acquire(flow)).await.unwrap() {
        server_cluster::Reply::Granted(grant) => assert_eq!(grant.unwrap().token, expected + 1),
        other => panic!("{other:?}"),
    }
    tasks.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_dead_disk_ends_the_node_and_says_so() {
    let storage = FaultyStorage::new(1);
    let tasks = Tasks::new();
    let options = RaftOptions {
        storage: Arc::new(storage.clone()),
        quota_bytes: 16 << 20,
        segment_bytes: 1 << 20,
        reserve_bytes: 4 << 10,
        ..RaftOptions::new("/data/raft", 1)
    };
    let handle = Raft::start(options, &tasks).unwrap();
    handle.propose(mark("good")).await.unwrap();
    let at_step = Some((storage.steps() + 1, Fault::Io));
    storage.set_faults(Faults { at_step, ..Faults::default() });
    let error = handle.propose(mark("bad")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Dead { .. }), "{error}");
    assert!(matches!(handle.submit(mark("late")), Err(ProposeError::Dead { .. })));
    let failed = tasks.failed().await;
    let fatal = failed.error.downcast_ref::<Fatal>().unwrap();
    assert_eq!(fatal.exit_code(), 70, "{fatal}");
    assert!(handle.failure().borrow().is_some());
    tasks.stop(Duration::from_secs(10)).await;
}
