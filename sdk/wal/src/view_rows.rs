//! Where each lineage's offsets begin in which segment, kept in a view.

use crate::core::Core;
use crate::format::Fields;
use crate::index::Found;
use sdk_event::Lineage;
use std::sync::{Mutex, PoisonError};

/// Rows that wait to be put. Of more, the rest is missed by readers, who then ask the index.
const WAITING_MAX: usize = 65_536;

/// A change of the view.
enum Change {
    Put(Vec<u8>, u64),
    Remove(Vec<u8>),
}

/// Rows on their way into the view: put there off the writer's path.
#[derive(Default)]
pub(crate) struct ViewRows {
    waiting: Mutex<Vec<Change>>,
}

impl ViewRows {
    /// Notes that a run begins in a segment.
    pub(crate) fn put(&self, lineage: &Lineage, first: u64, segment: u64) {
        self.push(Change::Put(key(lineage, first), segment));
    }

    /// Notes that a run is gone.
    pub(crate) fn remove(&self, lineage: &Lineage, first: u64) {
        self.push(Change::Remove(key(lineage, first)));
    }

    fn push(&self, change: Change) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(change);
        }
    }

    /// Puts what waits. A view that fails is a view that misses.
    pub(crate) fn apply(&self, core: &Core) {
        let changes = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        let (view, tree) = (&*core.options.view, core.options.view_tree.as_str());
        for change in changes {
            let _ = match change {
                Change::Put(key, segment) => view.put(tree, &key, &segment.to_le_bytes()),
                Change::Remove(key) => view.remove(tree, &key),
            };
        }
    }
}

/// Where an offset stands: as the view says, if the index agrees, otherwise as the index says.
pub(crate) fn find(core: &Core, lineage: &Lineage, offset: u64) -> Option<Found> {
    let said = ask(core, lineage, offset);
    let index = core.index();
    let found = said.and_then(|segment| index.find_in(segment, lineage, offset));
    found.or_else(|| {
        core.metrics.view_misses.inc();
        index.find(lineage, offset, u64::MAX)
    })
}

fn ask(core: &Core, lineage: &Lineage, offset: u64) -> Option<u64> {
    let view = &*core.options.view;
    let row = view.last_at_or_below(&core.options.view_tree, &key(lineage, offset)).ok()??;
    let (found, value) = row;
    let same =
        found.len() == KEY_BYTES && found[..LINEAGE_BYTES] == key(lineage, 0)[..LINEAGE_BYTES];
    (same && value.len() == 8).then(|| Fields(&value).u64())
}

const LINEAGE_BYTES: usize = 20;
const KEY_BYTES: usize = LINEAGE_BYTES + 8;

/// Big-endian, so that keys order as lineages and offsets do.
fn key(lineage: &Lineage, offset: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_BYTES);
    key.extend_from_slice(&lineage.flow.to_be_bytes());
    key.extend_from_slice(&lineage.shard.to_be_bytes());
    key.extend_from_slice(&lineage.epoch.to_be_bytes());
    key.extend_from_slice(&offset.to_be_bytes());
    key
}
