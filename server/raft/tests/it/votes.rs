//! A vote is given once in a term, whatever happens in between, and told when it is on the disk.

use std::sync::{Arc, Mutex};

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use sdk_wal::{Fault, Faults, FaultyStorage};
use server_cluster::NodeId;
use server_raft::{RaftOptions, Transport};

use crate::support::{Hand, options};

/// Keeps what was sent.
#[derive(Default)]
struct Sent(Mutex<Vec<Message>>);

impl Transport for Sent {
    fn send(&self, _to: NodeId, message: Vec<u8>) {
        self.0.lock().unwrap().push(Message::parse_from_bytes(&message).unwrap());
    }
}

impl Sent {
    /// To whom a vote was given, or refused.
    fn votes(&self) -> Vec<(NodeId, bool)> {
        let sent = std::mem::take(&mut *self.0.lock().unwrap());
        let votes = sent.iter().filter(|it| it.msg_type == MessageType::MsgRequestVoteResponse);
        votes.map(|vote| (vote.to, !vote.reject)).collect()
    }
}

/// Node 3 of three, on this disk.
fn voter(storage: &FaultyStorage) -> (Hand, Arc<Sent>) {
    let sent = Arc::new(Sent::default());
    let bootstrap = Some(vec![1, 2, 3]);
    let transport = Arc::clone(&sent) as _;
    let options = RaftOptions { node: 3, bootstrap, transport, ..options(storage, 3) };
    (Hand::open(options).unwrap(), sent)
}

fn request(from: NodeId, term: u64) -> Vec<u8> {
    let mut message = Message { from, to: 3, term, index: 1, log_term: 1, ..Message::default() };
    message.set_msg_type(MessageType::MsgRequestVote);
    message.write_to_bytes().unwrap()
}

#[test]
fn a_vote_is_given_once_in_a_term() {
    let storage = FaultyStorage::new(1);
    let (mut hand, sent) = voter(&storage);
    hand.handle.step(request(1, 5));
    hand.settle().unwrap();
    assert_eq!(sent.votes(), [(1, true)]);
    drop(hand);
    storage.power_cut();
    let (mut hand, sent) = voter(&storage);
    hand.handle.step(request(2, 5));
    hand.settle().unwrap();
    assert_eq!(sent.votes(), [(2, false)], "it has voted for another in this term");
    hand.handle.step(request(1, 5));
    hand.handle.step(request(2, 6));
    hand.settle().unwrap();
    assert_eq!(sent.votes(), [(1, true), (2, true)]);
}

#[test]
fn a_vote_is_not_told_before_it_is_durable() {
    for step in 1..=3 {
        let storage = FaultyStorage::new(2);
        let (mut hand, sent) = voter(&storage);
        let at_step = Some((storage.steps() + step, Fault::Io));
        storage.set_faults(Faults { at_step, ..Faults::default() });
        hand.handle.step(request(1, 5));
        let votes = match hand.settle() {
            Ok(()) => continue,
            Err(_) => sent.votes(),
        };
        assert_eq!(votes, [], "told, and not on the disk, at step {step}");
        return;
    }
    panic!("no step mattered");
}
