//! Several nodes that a test turns by hand, with a network that it owns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sdk_flow::{Entropy as _, ManualClock, SeededEntropy};
use sdk_wal::{Fault, Faults, FaultyStorage};
use server_cluster::codec::encode_snapshot;
use server_cluster::{Command, NodeId, Reply};
use server_raft::{
    Driver, MemberChange, ProposeError, Raft, RaftHandle, RaftOptions, Role, Transport,
};

use crate::support::{answer, mark, options};

/// Messages on their way.
#[derive(Default)]
struct Network {
    messages: Mutex<Vec<(NodeId, NodeId, Vec<u8>)>>,
}

struct Port {
    from: NodeId,
    network: Arc<Network>,
}

impl Transport for Port {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        self.network.messages.lock().unwrap().push((self.from, to, message));
    }
}

struct Member {
    handle: RaftHandle,
    driver: Driver,
    storage: FaultyStorage,
}

struct Cluster {
    members: BTreeMap<NodeId, Member>,
    stopped: BTreeMap<NodeId, FaultyStorage>,
    /// Nodes that reach nobody.
    cut: BTreeSet<NodeId>,
    /// Nodes that stand still.
    paused: BTreeSet<NodeId>,
    network: Arc<Network>,
    clock: Arc<ManualClock>,
    draw: SeededEntropy,
    /// Of a thousand messages so many are lost.
    lost_permille: u64,
}

impl Cluster {
    fn new(seed: u64, voters: &[NodeId]) -> Cluster {
        let mut cluster = Cluster {
            members: BTreeMap::new(),
            stopped: BTreeMap::new(),
            cut: BTreeSet::new(),
            paused: BTreeSet::new(),
            network: Arc::default(),
            clock: Arc::new(ManualClock::new(0)),
            draw: SeededEntropy::new(seed),
            lost_permille: 0,
        };
        for node in voters {
            cluster.start(*node, FaultyStorage::new(seed * 10 + node), Some(voters.to_vec()));
        }
        cluster
    }

    fn start(&mut self, node: NodeId, storage: FaultyStorage, bootstrap: Option<Vec<NodeId>>) {
        let network = Arc::clone(&self.network);
        let (handle, driver) = Raft::open(RaftOptions {
            node,
            bootstrap,
            transport: Arc::new(Port { from: node, network }),
            clock: Arc::clone(&self.clock) as _,
            snapshot_entries: 50,
            ..options(&storage, node)
        })
        .unwrap();
        self.members.insert(node, Member { handle, driver, storage });
    }

    fn stop(&mut self, node: NodeId) {
        let Member { storage, .. } = self.members.remove(&node).unwrap();
        storage.power_cut();
        self.stopped.insert(node, storage);
    }

    fn restart(&mut self, node: NodeId) {
        let storage = self.stopped.remove(&node).unwrap();
        self.start(node, storage, None);
    }

    /// Lets time pass, and messages arrive.
    fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.clock.advance(Duration::from_millis(100));
            for _ in 0..4 {
                let mut down = Vec::new();
                for (node, member) in &mut self.members {
                    if self.paused.contains(node) {
                        continue;
                    }
                    if let Err(fatal) = member.driver.turn(Duration::ZERO) {
                        assert!(member.storage.is_down(), "{fatal}");
                        down.push(*node);
                    }
                }
                down.into_iter().for_each(|node| self.stop(node));
                let messages = std::mem::take(&mut *self.network.messages.lock().unwrap());
                for (from, to, message) in messages {
                    let lost = self.draw.below(1_000) < self.lost_permille;
                    let cut = [from, to]
                        .iter()
                        .any(|node| self.cut.contains(node) || self.paused.contains(node));
                    let Some(member) = self.members.get(&to).filter(|_| !lost && !cut) else {
                        continue;
                    };
                    member.handle.step(message);
                }
            }
        }
    }

    fn leader(&self) -> Option<NodeId> {
        let leads = |node: &&NodeId| {
            let status = self.members[node].handle.status().borrow().clone();
            let reached = !self.cut.contains(node) && !self.paused.contains(node);
            status.role == Role::Leader && reached
        };
        self.members.keys().find(leads).copied()
    }

    fn elect(&mut self) -> NodeId {
        for _ in 0..200 {
            self.pass(1);
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("no leader");
    }

    fn propose(&mut self, node: NodeId, command: Command) -> Result<Reply, ProposeError> {
        let mut proposed = self.members[&node].handle.submit(command)?;
        for _ in 0..20 {
            self.pass(1);
            if let Some(answer) = answer(&mut proposed) {
                return answer;
            }
        }
        Err(ProposeError::Unknown)
    }

    fn states(&self) -> Vec<Vec<u8>> {
        self.members.values().map(|member| member.handle.read(encode_snapshot)).collect()
    }

    /// Once nothing is in its way, the cluster agrees within half a minute.
    fn agree(&mut self) {
        self.lost_permille = 0;
        self.cut.clear();
        for _ in 0..30 {
            self.pass(10);
            let states = self.states();
            if self.leader().is_some() && states.windows(2).all(|pair| pair[0] == pair[1]) {
                return;
            }
        }
        let differ = self.members.iter().map(|(node, member)| {
            let status = member.handle.status().borrow().clone();
            let applied = member.handle.changes().index();
            format!("applied {applied} marks {}: {status:?}", self.marks(*node))
        });
        panic!("replicas differ: {:#?}", differ.collect::<Vec<_>>());
    }

    fn marks(&self, node: NodeId) -> usize {
        self.members[&node].handle.read(|state| state.roots().len())
    }
}

#[test]
fn three_nodes_agree_and_a_follower_says_who_leads() {
    let mut cluster = Cluster::new(1, &[1, 2, 3]);
    let leader = cluster.elect();
    for at in 0..20 {
        cluster.propose(leader, mark(&format!("{at}"))).unwrap();
    }
    let follower = (1..=3).find(|node| *node != leader).unwrap();
    let refused = cluster.propose(follower, mark("x")).unwrap_err();
    assert_eq!(refused, ProposeError::NotLeader { leader: Some(leader) });
    cluster.agree();
    assert_eq!(cluster.marks(follower), 20);
}

#[test]
fn another_leads_when_one_is_lost_and_it_catches_up_by_snapshot() {
    let mut cluster = Cluster::new(2, &[1, 2, 3]);
    let first = cluster.elect();
    cluster.propose(first, mark("before")).unwrap();
    cluster.stop(first);
    let second = cluster.elect();
    assert_ne!(second, first);
    // More than the tail that is kept, so that entries alone cannot bring it back.
    for at in 0..60 {
        let mut proposed: Vec<_> = (0..50)
            .map(|part| {
                let command = mark(&format!("{at}-{part}"));
                cluster.members[&second].handle.submit(command).unwrap()
            })
            .collect();
        cluster.pass(2);
        assert!(proposed.iter_mut().all(|it| matches!(answer(it), Some(Ok(_)))));
    }
    cluster.restart(first);
    cluster.pass(50);
    assert_eq!(cluster.marks(first), 3_001);
    assert!(cluster.members[&first].handle.status().borrow().snapshot > 500);
    // What it received is durable.
    cluster.stop(first);
    cluster.restart(first);
    cluster.agree();
    assert_eq!(cluster.marks(first), 3_001);
}

#[test]
fn a_leader_that_is_cut_off_answers_nothing_it_cannot_keep() {
    let mut cluster = Cluster::new(3, &[1, 2, 3]);
    let first = cluster.elect();
    cluster.propose(first, mark("kept")).unwrap();
    cluster.cut.insert(first);
    let mut lost = cluster.members[&first].handle.submit(mark("lost")).unwrap();
    let second = cluster.elect();
    cluster.propose(second, mark("won")).unwrap();
    cluster.pass(50);
    assert_eq!(answer(&mut lost), Some(Err(ProposeError::Unknown)));
    cluster.agree();
    let marks = cluster.members[&first]
        .handle
        .read(|state| state.roots().keys().cloned().collect::<Vec<_>>());
    assert_eq!(marks, ["/kept", "/won"]);
}

#[test]
fn a_leader_that_stood_still_does_not_take_anothers_entries_for_its_own() {
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    let first = cluster.elect();
    cluster.propose(first, mark("kept")).unwrap();
    cluster.cut.insert(first);
    let mut lost: Vec<_> = (0..4)
        .map(|at| cluster.members[&first].handle.submit(mark(&format!("lost-{at}"))).unwrap())
        .collect();
    cluster.pass(1);
    // It wakes up in the belief that it leads, where its entries were replaced meanwhile.
    cluster.cut.clear();
    cluster.paused.insert(first);
    let second = cluster.elect();
    for at in 0..6 {
        cluster.propose(second, mark(&format!("won-{at}"))).unwrap();
    }
    cluster.paused.clear();
    cluster.agree();
    for lost in &mut lost {
        assert_eq!(answer(lost), Some(Err(ProposeError::Unknown)));
    }
    assert_eq!(cluster.marks(first), 7);
}

#[test]
fn members_join_and_leave_and_leadership_moves() {
    let mut cluster = Cluster::new(4, &[1]);
    cluster.elect();
    for at in 0..100 {
        cluster.propose(1, mark(&format!("{at}"))).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let change = |cluster: &mut Cluster, leader: NodeId, changes: Vec<MemberChange>| {
        let handle = cluster.members[&leader].handle.clone();
        runtime.block_on(async {
            let mut changed = std::pin::pin!(handle.change_members(changes));
            for _ in 0..100 {
                if let std::task::Poll::Ready(done) = futures::poll!(changed.as_mut()) {
                    return done;
                }
                cluster.pass(1);
            }
            Err(ProposeError::Unknown)
        })
    };
    for node in [2, 3] {
        cluster.start(node, FaultyStorage::new(40 + node), None);
        change(&mut cluster, 1, vec![MemberChange::AddLearner(node)]).unwrap();
        cluster.pass(10);
        change(&mut cluster, 1, vec![MemberChange::AddVoter(node)]).unwrap();
    }
    cluster.agree();
    assert_eq!(cluster.marks(3), 100);
    cluster.members[&1].handle.transfer_leader(2).unwrap();
    cluster.pass(20);
    assert_eq!(cluster.leader(), Some(2));
    change(&mut cluster, 2, vec![MemberChange::Remove(1)]).unwrap();
    cluster.stop(1);
    cluster.stopped.clear();
    cluster.propose(2, mark("without")).unwrap();
    // A restart knows who votes, by entries and by snapshot.
    for _ in 0..2 {
        for node in [2, 3] {
            cluster.stop(node);
            cluster.restart(node);
        }
        let leader = cluster.elect();
        let status = cluster.members[&leader].handle.status().borrow().clone();
        assert_eq!(status.voters, [2, 3]);
        for at in 0..60 {
            cluster.propose(leader, mark(&format!("more-{at}"))).unwrap();
        }
    }
    cluster.agree();
}

/// Losses, crashes and cuts; whatever was answered is everywhere at the end. Gives how much that was.
fn storm(seed: u64) -> usize {
    let mut cluster = Cluster::new(seed, &[1, 2, 3]);
    let mut answered = Vec::new();
    let mut open = Vec::new();
    for round in 0..150 {
        match cluster.draw.below(14) {
            0 if cluster.stopped.is_empty() => {
                let node = 1 + cluster.draw.below(3);
                cluster.stop(node);
            }
            // The power goes in the middle of something.
            5 | 6 if cluster.stopped.is_empty() => {
                let node = 1 + cluster.draw.below(3);
                let storage = &cluster.members[&node].storage;
                let at = storage.steps() + 1 + cluster.draw.below(12);
                let at_step = Some((at, Fault::PowerCut));
                storage.set_faults(Faults { at_step, ..Faults::default() });
            }
            1 => {
                if let Some(node) = cluster.stopped.keys().next().copied() {
                    cluster.restart(node);
                }
            }
            2 => {
                let node = 1 + cluster.draw.below(3);
                cluster.cut = BTreeSet::from([node]);
            }
            3 => cluster.cut.clear(),
            4 => cluster.lost_permille = cluster.draw.below(300),
            _ => (),
        }
        let nodes: Vec<NodeId> = cluster.members.keys().copied().collect();
        for node in nodes {
            let name = format!("{round}-{node}");
            let submitted = cluster.members[&node].handle.submit(mark(&name));
            open.extend(submitted.ok().map(|proposed| (name, proposed)));
        }
        let ticks = 1 + cluster.draw.below(8) as u32;
        cluster.pass(ticks);
        open.retain_mut(|(name, proposed)| match answer(proposed) {
            Some(Ok(_)) => {
                answered.push(format!("/{name}"));
                false
            }
            Some(Err(_)) => false,
            None => true,
        });
    }
    for node in cluster.members.keys().copied().collect::<Vec<_>>() {
        cluster.members[&node].storage.set_faults(Faults::default());
        // Its power may be gone without its having noticed.
        if cluster.members[&node].storage.is_down() {
            cluster.stop(node);
        }
    }
    for node in cluster.stopped.keys().copied().collect::<Vec<_>>() {
        cluster.restart(node);
    }
    cluster.agree();
    let marks = cluster.members[&1].handle.read(|state| state.roots().clone());
    for name in &answered {
        assert!(marks.contains_key(name), "{name} was answered and is gone");
    }
    answered.len()
}

#[test]
fn nothing_answered_is_lost_in_a_storm() {
    let mut answered = Vec::new();
    // A seed is not all of it: raft-rs draws its own timeouts.
    sdk_seeds::each(30, 2_000, |seed| answered.push(storm(seed)));
    // A storm may leave a cluster without a leader for most of its time, but not every storm.
    let most = answered.iter().max();
    assert!(most > Some(&20), "nothing was tried: {answered:?}");
}
