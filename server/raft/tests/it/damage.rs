//! Disks that are not as they were left.

use std::path::{Path, PathBuf};

use sdk_wal::{FaultyStorage, Storage as _};
use server_raft::{OpenError, RaftOptions};

use crate::support::{Hand, mark, options};

fn small(storage: &FaultyStorage) -> RaftOptions {
    RaftOptions { snapshot_entries: 20, ..options(storage, 1) }
}

/// A disk with two snapshots and a log behind them; returns how many marks it has.
fn filled() -> (FaultyStorage, usize) {
    let storage = FaultyStorage::new(1);
    let mut hand = Hand::open(small(&storage)).unwrap();
    for at in 0..105 {
        hand.apply(mark(&format!("{at:03}"))).unwrap();
    }
    (storage, 105)
}

fn snapshots(storage: &FaultyStorage) -> Vec<PathBuf> {
    let dir = Path::new("/data/raft/snapshots");
    let mut names: Vec<_> =
        storage.list(dir).unwrap().into_iter().map(|file| dir.join(file.name)).collect();
    names.sort();
    names
}

fn reopened(storage: &FaultyStorage) -> Result<usize, OpenError> {
    let mut hand = Hand::open(small(storage))?;
    hand.settle().unwrap();
    Ok(hand.marks().len())
}

#[test]
fn the_snapshot_before_and_a_longer_log_are_as_good() {
    let (storage, marks) = filled();
    let files = snapshots(&storage);
    assert_eq!(files.len(), 2);
    storage.flip(&files[1], 100, 1);
    assert_eq!(reopened(&storage).unwrap(), marks);
    // Also when the newest is half written.
    let half = storage.contents(&files[1]).unwrap();
    storage.plant(&files[1], &half[..half.len() / 2]);
    assert_eq!(reopened(&storage).unwrap(), marks);
}

#[test]
fn without_any_snapshot_it_does_not_begin_anew() {
    let (storage, _) = filled();
    let files = snapshots(&storage);
    files.iter().for_each(|file| storage.flip(file, 50, 1));
    let error = reopened(&storage).unwrap_err();
    assert!(error.to_string().ends_with("no snapshot can be read"), "{error}");
    files.iter().for_each(|file| storage.remove(file).unwrap());
    let error = reopened(&storage).unwrap_err();
    assert!(error.to_string().ends_with("there is a log and no snapshot"), "{error}");
}

#[test]
fn an_emptied_log_is_noticed() {
    let (storage, _) = filled();
    let dir = Path::new("/data/raft/log");
    for file in storage.list(dir).unwrap() {
        storage.remove(&dir.join(file.name)).unwrap();
    }
    let error = reopened(&storage).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_newer_snapshot_is_refused_in_a_sentence() {
    let (storage, _) = filled();
    let newest = snapshots(&storage).pop().unwrap();
    let mut bytes = storage.contents(&newest).unwrap();
    bytes[4] = 9;
    storage.plant(&newest, &bytes);
    let error = reopened(&storage).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("newer release"), "{source}");
}

#[test]
fn a_flipped_bit_in_the_log_never_panics_and_is_never_applied() {
    let dir = Path::new("/data/raft/log");
    let (storage, _) = filled();
    let mut refused = 0;
    for segment in storage.list(dir).unwrap() {
        let path = dir.join(&segment.name);
        let bytes = storage.contents(&path).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        for at in used.iter().step_by(used.len() / 40 + 1) {
            // The same seed makes the same disk.
            let (storage, marks) = filled();
            storage.kill();
            storage.flip(&path, *at as u64, 0x10);
            match reopened(&storage) {
                // It was in a part that nobody needs, or stands there twice.
                Ok(found) => assert_eq!(found, marks, "{} at {at}", segment.name),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 0, "no flipped bit mattered");
}
