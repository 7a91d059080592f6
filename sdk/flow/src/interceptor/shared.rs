//! The headers that all events of a block share, while interceptors work on them.

use std::borrow::Cow;

use sdk_event::Block;
use smallvec::SmallVec;

/// The shared layer of a block's headers.
pub struct SharedHeaders<'a> {
    headers: SmallVec<[(&'a str, Cow<'a, str>); 8]>,
    changed: bool,
    now_ms: i64,
}

impl<'a> SharedHeaders<'a> {
    pub(crate) fn of(block: &'a Block, now_ms: i64) -> SharedHeaders<'a> {
        let headers = block.shared_headers().map(|(key, value)| (key, Cow::Borrowed(value)));
        SharedHeaders { headers: headers.collect(), changed: false, now_ms }
    }

    /// The time at which the block is worked on: the same for all its events.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The value that events without a `key` of their own have.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == key).map(|(_, value)| &**value)
    }

    /// Sets `key` for all events without one of their own.
    pub fn set(&mut self, key: &'a str, value: Cow<'a, str>) {
        match self.headers.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) if *old == value => return,
            Some((_, old)) => *old = value,
            None => self.headers.push((key, value)),
        }
        self.changed = true;
    }

    /// Removes the keys for which `remove` says so.
    pub fn remove_where(&mut self, mut remove: impl FnMut(&str) -> bool) {
        let before = self.headers.len();
        self.headers.retain(|(key, _)| !remove(key));
        self.changed |= self.headers.len() != before;
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(key, value)| (*key, &**value))
    }

    /// Whether this is no longer what the block came with.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }
}
