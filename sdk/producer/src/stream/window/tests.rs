use std::sync::{Arc, Mutex};

use sdk_event::{BlockBuilder, Codec, ProducerId};
use tokio::time::{Duration, Instant};

use super::*;

const PRODUCER: ProducerId = ProducerId([3; 16]);

/// A window, and what became of the blocks in it.
struct Script {
    window: Window,
    told: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new() -> Script {
        Script { window: Window::new(0), told: Arc::default() }
    }

    fn push(&mut self, first: u64, count: u64, deadline: Option<Instant>) -> bool {
        let mut builder = BlockBuilder::new(PRODUCER, 1, first);
        (0..count).for_each(|_| builder.push(None, [], b"x").expect("fits"));
        let told = Arc::clone(&self.told);
        let reply = Box::new(move |result: Result<Stored, DeliveryError>| {
            let word = match result {
                Ok(_) => "stored",
                Err(DeliveryError::Expired { .. }) => "expired",
                Err(DeliveryError::Unknown { .. }) => "unknown",
                Err(DeliveryError::Rejected { .. }) => "rejected",
                Err(DeliveryError::Behind) => "behind",
                Err(_) => "other",
            };
            told.lock().expect("not poisoned").push(format!("{first} {word}"));
        });
        self.window.push(builder.finish(Codec::None), deadline, reply).is_ok()
    }

    /// What goes out, as `first` of a block or `first-next` of a gap.
    fn send_all(&mut self) -> String {
        let mut sent = Vec::new();
        while let Some(outgoing) = self.window.take_unsent() {
            let again = if outgoing.again { "!" } else { "" };
            sent.push(match outgoing.message {
                Message::Block(bytes) => {
                    let block = Block::decode(bytes).expect("a block");
                    format!("{}{again}", block.header().first_sequence)
                }
                Message::Gap { first, next } => format!("{first}-{next}{again}"),
            });
        }
        sent.join(" ")
    }

    fn settle(&mut self, settled: impl IntoIterator<Item = Settled>) {
        for Settled { reply, result, .. } in settled {
            reply(result);
        }
    }

    fn ok(&mut self, number: u64) {
        let subject = self.window.answered(number).expect("it is about something");
        let stored = Stored {
            level: sdk_event::Level::Local,
            lineage: sdk_event::Lineage { flow: 1, shard: 1, epoch: 1 },
            first_offset: 0,
            count: 1,
            duplicate: false,
            first: sdk_event::EventId {
                producer: PRODUCER,
                generation: 1,
                sequence: subject.first,
            },
        };
        let settled = self.window.settle(subject, Ok(stored));
        self.settle(settled);
    }

    fn refuse(&mut self, number: u64) {
        let subject = self.window.answered(number).expect("it is about something");
        self.window.refuse(subject);
    }

    fn told(&self) -> String {
        std::mem::take(&mut *self.told.lock().expect("not poisoned")).join(", ")
    }
}

#[test]
fn blocks_go_out_in_order_and_are_settled_in_any() {
    let mut script = Script::new();
    assert!(script.push(0, 2, None) && script.push(2, 1, None) && script.push(3, 1, None));
    assert!(!script.push(9, 1, None), "not dense");
    assert_eq!(script.send_all(), "0 2 3");
    script.ok(2);
    script.ok(0);
    assert!(!script.window.is_empty());
    script.ok(1);
    assert_eq!(script.told(), "3 stored, 0 stored, 2 stored");
    assert!(script.window.is_empty());
}

#[test]
fn a_refusal_waits_for_those_behind_it_then_all_go_again_and_those_before_are_left_alone() {
    let mut script = Script::new();
    (0..4).for_each(|first| assert!(script.push(first, 1, None)));
    assert_eq!(script.send_all(), "0 1 2 3");
    script.refuse(1);
    assert!(script.window.is_unwinding());
    script.refuse(2);
    script.refuse(3);
    assert!(!script.window.is_unwinding());
    script.window.resume();
    assert_eq!(script.window.retries(), 3);
    assert_eq!(script.send_all(), "1! 2! 3!");
    script.ok(0);
    (4..7).for_each(|number| script.ok(number));
    assert_eq!(script.told(), "0 stored, 1 stored, 2 stored, 3 stored");
}

#[test]
fn a_lost_connection_sends_everything_unanswered_again() {
    let mut script = Script::new();
    (0..3).for_each(|first| assert!(script.push(first, 1, None)));
    assert_eq!(script.send_all(), "0 1 2");
    script.ok(0);
    script.window.disconnected();
    assert_eq!(script.window.lowest(), (1, true));
    // Stored or not: the answer is what counts.
    script.window.expect(2);
    assert_eq!(script.send_all(), "1! 2!");
    assert!(script.window.answered(7).is_none());
    script.ok(0);
    script.ok(1);
    assert_eq!(script.told(), "0 stored, 1 stored, 2 stored");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_leaves_a_gap_and_says_whether_it_may_be_stored() {
    let mut script = Script::new();
    let soon = Instant::now() + Duration::from_secs(1);
    assert!(script.push(0, 1, Some(soon)) && script.push(1, 1, Some(soon)));
    assert_eq!(script.send_all(), "0 1");
    script.window.disconnected();
    assert!(script.push(2, 3, Some(soon)));
    assert!(script.push(5, 1, Some(soon + Duration::from_secs(9))));
    assert_eq!(script.window.deadline(), Some(soon));
    tokio::time::advance(Duration::from_secs(1)).await;
    let expired = script.window.expire(Instant::now(), &"late".into());
    script.settle(expired);
    assert_eq!(script.told(), "0 unknown, 1 unknown, 2 expired");
    // One of them had been stored after all.
    script.window.expect(1);
    assert_eq!(script.send_all(), "1-5! 5");
}

#[test]
fn a_node_that_stands_further_back_gets_a_gap_first() {
    let mut script = Script::new();
    assert!(script.push(0, 1, None) && script.push(1, 1, None));
    assert_eq!(script.send_all(), "0 1");
    script.ok(0);
    script.window.disconnected();
    script.window.expect(0);
    assert_eq!(script.send_all(), "0-1 1!");
}

#[test]
fn a_given_up_block_becomes_a_gap_in_its_place() {
    let mut script = Script::new();
    (0..3).for_each(|first| assert!(script.push(first, 1, None)));
    assert_eq!(script.send_all(), "0 1 2");
    let subject = script.window.answered(1).expect("sent");
    let error = DeliveryError::Rejected { kind: crate::Rejected::Invalid, reason: "bad".into() };
    let settled = script.window.give_up(subject, Err(error));
    script.settle(settled);
    script.refuse(2);
    script.window.resume();
    assert_eq!(script.send_all(), "1-2! 2!");
    assert_eq!(script.told(), "1 rejected");
}

#[test]
fn a_cut_tells_those_behind_and_begins_there_again() {
    let mut script = Script::new();
    (0..3).for_each(|first| assert!(script.push(first, 1, None)));
    assert_eq!(script.send_all(), "0 1 2");
    let subject = script.window.answered(1).expect("sent");
    let settled = script.window.cut(subject, Err(DeliveryError::Lost));
    script.settle(settled);
    assert_eq!(script.told(), "1 other, 2 behind");
    assert!(script.window.answered(2).is_none(), "of no interest any more");
    assert!(!script.push(3, 1, None));
    assert!(script.window.push_gap(1, 2));
    assert!(script.push(2, 1, None));
    assert_eq!(script.send_all(), "1-2 2");
    script.ok(0);
    assert_eq!(script.told(), "0 stored");
}

#[test]
fn a_new_generation_goes_on_with_what_was_never_sent() {
    let mut script = Script::new();
    assert!(script.push(0, 2, None) && script.push(2, 2, None));
    assert!(script.window.take_unsent().is_some());
    script.window.disconnected();
    let (settled, resent) = script.window.regenerate(9, false);
    script.settle(settled);
    assert_eq!((script.told().as_str(), resent), ("0 other", 0));
    assert_eq!(script.window.lowest(), (2, false));
    assert_eq!(script.send_all(), "2");
    script.window.disconnected();
    let (settled, resent) = script.window.regenerate(20, true);
    assert_eq!((settled.len(), resent), (0, 2));
    assert_eq!(script.send_all(), "2");
    assert_eq!(script.window.next(), 4);
}
