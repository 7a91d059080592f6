//! The seam to the ordered maps that may be lost at any time.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// A failure of a view. Whoever uses one treats it as a miss.
pub type ViewError = Box<dyn std::error::Error + Send + Sync>;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Named trees of byte keys, in order, that hold what is derived from the log.
///
/// A view promises nothing: it may be empty, miss what was put, or answer with something else. It is never
/// asked what was acknowledged, and every answer is checked against the log. Whoever owns one empties it at
/// every start. Values stay under 4 KiB.
pub trait View: Send + Sync {
    /// Sets a key.
    fn put(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), ViewError>;

    /// The value of a key.
    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    /// Removes a key, if there.
    fn remove(&self, tree: &str, key: &[u8]) -> Result<(), ViewError>;

    /// Up to `max` keys from `from` (inclusive) to `to` (exclusive), ascending.
    fn range(
        &self,
        tree: &str,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<KeyValue>, ViewError>;

    /// The greatest key that is not above `key`.
    fn last_at_or_below(&self, tree: &str, key: &[u8]) -> Result<Option<KeyValue>, ViewError>;

    /// Empties a tree.
    fn clear(&self, tree: &str) -> Result<(), ViewError>;
}

type Tree = BTreeMap<Vec<u8>, Vec<u8>>;

/// A view in memory: for tests, simulation, and logs so small that they need no other.
#[derive(Debug, Default)]
pub struct MemoryView {
    trees: RwLock<BTreeMap<String, Tree>>,
}

impl MemoryView {
    /// An empty view.
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, tree: &str, read: impl FnOnce(&Tree) -> T) -> Option<T> {
        self.trees.read().unwrap_or_else(PoisonError::into_inner).get(tree).map(read)
    }

    fn write(&self, tree: &str, write: impl FnOnce(&mut Tree)) {
        let mut trees = self.trees.write().unwrap_or_else(PoisonError::into_inner);
        if !trees.contains_key(tree) {
            trees.insert(tree.to_owned(), Tree::new());
        }
        write(trees.get_mut(tree).expect("inserted above"));
    }
}

impl View for MemoryView {
    fn put(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
        self.write(tree, |tree| {
            tree.insert(key.to_vec(), value.to_vec());
        });
        Ok(())
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.read(tree, |tree| tree.get(key).cloned()).flatten())
    }

    fn remove(&self, tree: &str, key: &[u8]) -> Result<(), ViewError> {
        self.write(tree, |tree| {
            tree.remove(key);
        });
        Ok(())
    }

    fn range(
        &self,
        tree: &str,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<KeyValue>, ViewError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let pairs = self.read(tree, |tree| {
            let range = tree.range(from.to_vec()..to.to_vec());
            range.take(max).map(|(key, value)| (key.clone(), value.clone())).collect()
        });
        Ok(pairs.unwrap_or_default())
    }

    fn last_at_or_below(&self, tree: &str, key: &[u8]) -> Result<Option<KeyValue>, ViewError> {
        let found = self.read(tree, |tree| {
            let last = tree.range(..=key.to_vec()).next_back();
            last.map(|(key, value)| (key.clone(), value.clone()))
        });
        Ok(found.flatten())
    }

    fn clear(&self, tree: &str) -> Result<(), ViewError> {
        self.write(tree, Tree::clear);
        Ok(())
    }
}
