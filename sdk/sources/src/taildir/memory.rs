//! Positions of files that are not there at the moment.

use std::collections::{BTreeMap, HashMap};

use tracing::warn;

use super::disk::{self, Identity, OpenFile};
use super::mark::{Mark, Position};

/// Remembers where reading stopped in files that were followed and are not now:
/// after a start all of them, later those that moved out of sight. One that
/// comes back goes on where it was.
#[derive(Default)]
pub(super) struct Memory {
    positions: BTreeMap<u64, Position>,
    by_inode: HashMap<u64, Vec<u64>>,
}

/// So many files are remembered; beyond that those seen longest ago are not.
pub(super) const REMEMBERED_MAX: usize = 65_536;

/// A file not seen for so long is forgotten at a start, if its directory is there.
const FORGET_AFTER_MS: i64 = 30 * 24 * 3600 * 1000;

/// What memory says about a file that has come into sight.
pub(super) enum Recognised {
    /// It is this one, and goes on here.
    Known(u64, Mark),
    /// It was never seen.
    New,
}

impl Memory {
    /// Remembers a file. Returns the key of one that is forgotten for it.
    pub(super) fn insert(&mut self, key: u64, position: Position) -> Option<u64> {
        self.by_inode.entry(position.identity.inode).or_default().push(key);
        self.positions.insert(key, position);
        if self.positions.len() <= REMEMBERED_MAX {
            return None;
        }
        let oldest = self.positions.iter().min_by_key(|(_, position)| position.seen_ms);
        let oldest = oldest.map(|(key, _)| *key)?;
        warn!(limit = REMEMBERED_MAX, "too many files are remembered, forgetting the oldest");
        self.remove(oldest);
        Some(oldest)
    }

    /// Looks for the file with this identity. Keys of others that cannot exist
    /// any more, because this one has their inode, go to `forget`.
    pub(super) fn recognise(
        &mut self,
        identity: Identity,
        size: u64,
        file: &OpenFile,
        forget: &mut Vec<u64>,
    ) -> std::io::Result<Recognised> {
        let mut candidates = self.by_inode.get(&identity.inode).cloned().unwrap_or_default();
        // A device may get another number at a boot, so it only decides
        // between two that fit.
        candidates.sort_by_key(|key| {
            let position = self.positions.get(key);
            position.is_none_or(|position| position.identity.device != identity.device)
        });
        let mut known = None;
        for key in candidates {
            let Some(position) = self.positions.get(&key) else { continue };
            let mark = position.mark;
            if known.is_none() && mark.print.matches(file)? {
                // Shorter than what was read: truncated while nobody looked.
                let mark = if size < mark.offset { Mark::default() } else { mark };
                known = Some((key, mark));
                self.remove(key);
            } else if position.identity == identity {
                self.remove(key);
                forget.push(key);
            }
        }
        Ok(known.map_or(Recognised::New, |(key, mark)| Recognised::Known(key, mark)))
    }

    /// Forgets files that have not been seen for a long time and are not where
    /// they were, though their directory is. Returns their keys.
    pub(super) fn prune(&mut self, now_ms: i64) -> Vec<u64> {
        let old = |position: &Position| {
            now_ms.saturating_sub(position.seen_ms) > FORGET_AFTER_MS
                && position.path.parent().is_some_and(|directory| {
                    let look = disk::look(directory);
                    look.is_ok_and(|look| look.identity.device == position.identity.device)
                })
        };
        let forgotten: Vec<u64> = self
            .positions
            .iter()
            .filter(|(_, position)| old(position))
            .map(|(key, _)| *key)
            .collect();
        for key in &forgotten {
            self.remove(*key);
        }
        forgotten
    }

    /// The highest key that is remembered.
    pub(super) fn last_key(&self) -> Option<u64> {
        self.positions.keys().next_back().copied()
    }

    fn remove(&mut self, key: u64) {
        let Some(position) = self.positions.remove(&key) else { return };
        let inode = position.identity.inode;
        if let Some(keys) = self.by_inode.get_mut(&inode) {
            keys.retain(|known| *known != key);
            if keys.is_empty() {
                self.by_inode.remove(&inode);
            }
        }
    }
}
