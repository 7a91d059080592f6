//! One file: what reads see, what is durable, and what lies between.

use super::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// What a power cut does to what was not synced.
#[derive(Clone, Copy)]
pub(super) enum Survival {
    All,
    None,
    AnyMix,
}

#[derive(Default)]
pub(super) struct Inode {
    /// What reads see.
    pub(super) current: Vec<u8>,
    durable: Vec<u8>,
    /// By sector, every version written since the last sync.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Sectors that fail to be read until they are written.
    unreadable: BTreeSet<usize>,
}

impl Inode {
    pub(super) fn durable(contents: &[u8]) -> Self {
        let (current, durable) = (contents.to_vec(), contents.to_vec());
        Self { current, durable, ..Self::default() }
    }

    pub(super) fn spoil(&mut self, bytes: Range<usize>) {
        self.unreadable.extend(bytes.start / SECTOR..bytes.end.div_ceil(SECTOR));
    }

    pub(super) fn can_read(&self, bytes: Range<usize>) -> bool {
        let sectors = bytes.start / SECTOR..bytes.end.div_ceil(SECTOR);
        sectors.is_empty() || self.unreadable.range(sectors).next().is_none()
    }

    pub(super) fn grow(&mut self, length: usize) {
        if length > self.current.len() {
            self.current.resize(length, 0);
        }
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        self.grow(end);
        self.current[at..end].copy_from_slice(bytes);
        for sector in at / SECTOR..end.div_ceil(SECTOR) {
            let start = sector * SECTOR;
            self.unreadable.remove(&sector);
            let version = self.current[start..(start + SECTOR).min(self.current.len())].to_vec();
            self.dirty.entry(sector).or_default().push(version);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.current.len());
            self.durable[start..end].copy_from_slice(&self.current[start..end]);
        }
    }

    /// A sync that failed: any part of it may have happened, and nothing is dirty any more.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        self.durable.resize(self.current.len(), 0);
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if rng.one_in(2) {
                let last = versions.last().expect("a dirty sector was written");
                self.restore(sector, last);
            }
        }
    }

    /// Leaves what survived; everything is durable then.
    pub(super) fn power_cut(&mut self, survival: Survival, rng: &mut Rng) {
        let keeps = |rng: &mut Rng| match survival {
            Survival::All => true,
            Survival::None => false,
            Survival::AnyMix => rng.one_in(2),
        };
        if keeps(rng) {
            self.durable.resize(self.current.len(), 0);
        }
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if keeps(rng) {
                let which = match survival {
                    Survival::AnyMix => rng.below(versions.len() as u64) as usize,
                    _ => versions.len() - 1,
                };
                self.restore(sector, &versions[which]);
            }
        }
        self.current = self.durable.clone();
    }

    fn restore(&mut self, sector: usize, version: &[u8]) {
        let start = sector * SECTOR;
        if start < self.durable.len() {
            let length = version.len().min(self.durable.len() - start);
            self.durable[start..start + length].copy_from_slice(&version[..length]);
        }
    }

    pub(super) fn flip(&mut self, at: usize, mask: u8) {
        self.current[at] ^= mask;
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= mask;
        }
    }
}
