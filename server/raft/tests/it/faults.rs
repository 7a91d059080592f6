//! Whatever the disk does, what was answered is there afterwards, once.

use sdk_flow::{Entropy as _, SeededEntropy};
use sdk_wal::{Fault, Faults, FaultyStorage};
use server_raft::{ProposeError, RaftOptions};

use crate::support::{Hand, acquire, answer, mark, options};

const LIVES: u64 = 6;

/// Lives through several crashes. What was answered must be in the state ever after; what was not
/// may be, but not twice.
fn lives(seed: u64) {
    let storage = FaultyStorage::new(seed);
    let draw = SeededEntropy::new(seed);
    let mut answered: Vec<String> = Vec::new();
    let (mut tokens_answered, mut tokens_asked) = (0, 0);
    let mut flow = None;
    for life in 0..LIVES {
        let last = life == LIVES - 1;
        let mut hand = match open(&storage, seed, &draw, last) {
            Some(hand) => hand,
            None => continue,
        };
        if let Some(flow) = flow {
            let tokens = hand.tokens(flow);
            assert!(
                (tokens_answered..=tokens_asked).contains(&tokens),
                "{tokens} tokens, {tokens_answered} answered of {tokens_asked} asked"
            );
            (tokens_answered, tokens_asked) = (tokens, tokens);
        }
        let marks = hand.marks();
        for mark in &answered {
            assert!(marks.contains(mark), "{mark} was answered and is gone");
        }
        if flow.is_none() {
            flow = Some(hand.set_up());
        }
        if last {
            break;
        }
        let fault = if draw.below(4) == 0 { Fault::Io } else { Fault::PowerCut };
        let at = storage.steps() + 1 + draw.below(60);
        let short_writes = draw.below(3) == 0;
        storage.set_faults(Faults {
            at_step: Some((at, fault)),
            short_writes,
            ..Faults::default()
        });
        for round in 0..200 {
            let name = format!("/{life}-{round}");
            let mut marked = match hand.handle.submit(mark(&name[1..])) {
                Ok(marked) => marked,
                Err(ProposeError::Dead { .. }) => break,
                Err(other) => panic!("{other}"),
            };
            let mut granted = hand.handle.submit(acquire(flow.unwrap())).unwrap();
            tokens_asked += 1;
            let turned = hand.settle().and_then(|()| hand.pass(u32::from(draw.below(8) == 0)));
            if let Some(Ok(_)) = answer(&mut marked) {
                answered.push(name);
            }
            if let Some(Ok(_)) = answer(&mut granted) {
                tokens_answered += 1;
            }
            if turned.is_err() {
                break;
            }
        }
        drop(hand);
        match draw.below(3) {
            0 => storage.kill(),
            _ => storage.power_cut(),
        }
        storage.set_faults(Faults::default());
    }
}

/// Opens the node, perhaps with the power going while it does.
fn open(storage: &FaultyStorage, seed: u64, draw: &SeededEntropy, well: bool) -> Option<Hand> {
    let options = || RaftOptions { snapshot_entries: 10 + seed % 50, ..options(storage, seed) };
    if !well && draw.below(3) == 0 {
        let at = storage.steps() + 1 + draw.below(20);
        storage.set_faults(Faults { at_step: Some((at, Fault::PowerCut)), ..Faults::default() });
        let through = Hand::open(options()).is_ok_and(|mut hand| hand.settle().is_ok());
        if !through || storage.is_down() {
            storage.power_cut();
            storage.set_faults(Faults::default());
            return None;
        }
        // It came through: begin again without faults.
        storage.set_faults(Faults::default());
        storage.kill();
    }
    let mut hand = Hand::open(options()).unwrap_or_else(|error| panic!("{error:?}"));
    hand.settle().unwrap();
    Some(hand)
}

#[test]
fn nothing_answered_is_ever_lost() {
    sdk_seeds::each(400, 20_000, lives);
}
