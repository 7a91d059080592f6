//! A disk in memory, for tests and simulation: the same contract, and a power cut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sdk_flow::Entropy;

use super::{
    Capabilities, Entry, EntryKind, FileReader, FileSystem, FileWriter, FsError, FsErrorKind,
    Status,
};

/// A file system in memory. Clones are the same disk. Every call is done when its future is first
/// polled.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything that is there, by path; `/` is not in it.
    nodes: BTreeMap<String, Node>,
    /// Every file that was ever created, by number, so that a writer goes on with its file whatever
    /// name it has by now.
    files: BTreeMap<u64, File>,
    files_made: u64,
    /// Below these paths nothing can be changed, for this reason.
    refused: Vec<(String, FsErrorKind)>,
    /// In these directories no name can be made or taken away, for this reason.
    refused_new: Vec<(String, FsErrorKind)>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// `None` is a directory.
    file: Option<u64>,
    /// Whether the name survives a power cut.
    durable: bool,
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// How much of it survives a power cut.
    durable_bytes: usize,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Every file with its bytes, by path.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let files = state.nodes.iter().filter_map(|(path, node)| {
            let file = state.files.get(&node.file?)?;
            Some((path.clone(), file.bytes.clone()))
        });
        files.collect()
    }

    /// Puts a file there, as somebody else would, with the directories above it.
    pub fn plant(&self, path: &str, bytes: &[u8]) {
        let mut state = self.lock();
        if let Some((parent, _)) = path.rsplit_once('/') {
            state.mkdirs(parent).expect("the parent is a directory");
        }
        let number = state.add_file(path);
        let file = File { bytes: bytes.to_vec(), durable_bytes: bytes.len() };
        state.files.insert(number, file);
    }

    /// Deletes whatever stands there, as somebody else would.
    pub fn uproot(&self, path: &str) {
        self.lock().remove(path);
    }

    /// Refuses every change at and below `path`, like a volume that is full or read-only.
    pub fn refuse(&self, path: &str, kind: FsErrorKind) {
        self.lock().refused.push((path.to_owned(), kind));
    }

    /// Refuses every change of the names in a directory, but not below them, like a directory that
    /// is immutable.
    pub fn refuse_new(&self, directory: &str, kind: FsErrorKind) {
        self.lock().refused_new.push((directory.to_owned(), kind));
    }

    /// Ends every [`MemoryDisk::refuse`] and [`MemoryDisk::refuse_new`] of `path`.
    pub fn accept(&self, path: &str) {
        let mut state = self.lock();
        state.refused.retain(|(refused, _)| refused != path);
        state.refused_new.retain(|(refused, _)| refused != path);
    }

    /// A power cut: of every name and byte that was not made durable, any part may be gone.
    pub fn power_cut(&self, entropy: &dyn Entropy) {
        let mut state = self.lock();
        let State { nodes, files, .. } = &mut *state;
        for file in files.values_mut() {
            let unsure = (file.bytes.len() - file.durable_bytes) as u64;
            let kept = file.durable_bytes as u64 + entropy.below(unsure + 1);
            file.bytes.truncate(usize::try_from(kept).expect("no longer than it was"));
        }
        let lost: Vec<String> = nodes
            .iter()
            .filter(|(_, node)| !node.durable && entropy.below(2) == 0)
            .map(|(path, _)| path.clone())
            .collect();
        for path in lost {
            state.remove(&path);
        }
        for node in state.nodes.values_mut() {
            node.durable = true;
        }
        for file in state.files.values_mut() {
            file.durable_bytes = file.bytes.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}

type Outcome<T> = Result<T, FsErrorKind>;

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl State {
    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.nodes.get(path).is_some_and(|node| node.file.is_none())
    }

    /// Whether a name may be made at `path`.
    fn check_parent(&self, path: &str) -> Outcome<()> {
        let parent = parent(path);
        if self.is_directory(parent) {
            return self.check_writable(path);
        }
        let mut above = parent;
        while !above.is_empty() {
            if self.nodes.get(above).is_some_and(|node| node.file.is_some()) {
                return Err(FsErrorKind::NotADirectory);
            }
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
        }
        Err(FsErrorKind::NotFound)
    }

    fn check_writable(&self, path: &str) -> Outcome<()> {
        let below = |(root, _): &&(String, FsErrorKind)| {
            path.strip_prefix(root.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let here = |(directory, _): &&(String, FsErrorKind)| parent(path) == directory;
        let refused = self.refused.iter().find(below);
        let refused = refused.or_else(|| self.refused_new.iter().find(here));
        refused.map_or(Ok(()), |(_, kind)| Err(*kind))
    }

    fn mkdirs(&mut self, path: &str) -> Outcome<()> {
        let mut end = 0;
        while end < path.len() {
            end = path[end + 1..].find('/').map_or(path.len(), |slash| end + 1 + slash);
            let directory = &path[..end];
            match self.nodes.get(directory) {
                Some(node) if node.file.is_some() => return Err(FsErrorKind::NotADirectory),
                Some(_) => (),
                None => {
                    self.check_writable(directory)?;
                    let node = Node { file: None, durable: false };
                    self.nodes.insert(directory.to_owned(), node);
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &str) -> u64 {
        self.files_made += 1;
        let number = self.files_made;
        self.files.insert(number, File::default());
        self.nodes.insert(path.to_owned(), Node { file: Some(number), durable: false });
        number
    }

    fn remove(&mut self, path: &str) -> bool {
        let below = format!("{path}/");
        let there = self.nodes.remove(path).is_some();
        self.nodes.retain(|name, _| !name.starts_with(&below));
        there
    }
}

#[async_trait]
impl FileSystem for MemoryDisk {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            open_files_max: 1024,
            writer_bytes: 0,
            sync_progress_bytes: Some(1 << 20),
            chunks_at_once: 2,
            name_bytes_max: 255,
        }
    }

    async fn mkdirs(&self, path: &str) -> Result<(), FsError> {
        let made = self.lock().mkdirs(path);
        made.map_err(|kind| FsError::new(kind, "make directory", path))
    }

    async fn create(&self, path: &str) -> Result<Box<dyn FileWriter>, FsError> {
        let mut state = self.lock();
        let outcome = state.check_parent(path).and_then(|()| match state.nodes.get(path) {
            Some(_) => Err(FsErrorKind::AlreadyExists),
            None => Ok(state.add_file(path)),
        });
        drop(state);
        match outcome {
            Ok(number) => {
                let disk = self.clone();
                let written = Vec::new();
                Ok(Box::new(MemoryWriter { disk, path: path.to_owned(), number, written }))
            }
            Err(kind) => Err(FsError::new(kind, "create", path)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let mut state = self.lock();
        let error = |kind| FsError::new(kind, "rename a file to", to);
        let node = *state.nodes.get(from).ok_or_else(|| error(FsErrorKind::NotFound))?;
        state.check_parent(to).map_err(error)?;
        state.check_writable(from).map_err(error)?;
        if state.nodes.contains_key(to) {
            return Err(error(FsErrorKind::AlreadyExists));
        }
        if node.file.is_none() {
            return Err(error(FsErrorKind::NotADirectory));
        }
        state.nodes.remove(from);
        state.nodes.insert(to.to_owned(), Node { file: node.file, durable: false });
        Ok(())
    }

    async fn status(&self, path: &str) -> Result<Option<Status>, FsError> {
        let state = self.lock();
        Ok(state.nodes.get(path).map(|node| status(&state, node)))
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let mut state = self.lock();
        if state.nodes.contains_key(path) {
            state.check_writable(path).map_err(|kind| FsError::new(kind, "delete", path))?;
        }
        Ok(state.remove(path))
    }

    async fn fence(&self, directory: &str) -> Result<(), FsError> {
        // Calls have no middle here, so that to delete is to fence.
        self.delete(directory).await.map(|_| ())
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, FsError> {
        let state = self.lock();
        if !state.is_directory(directory) {
            return Err(FsError::new(FsErrorKind::NotFound, "list", directory));
        }
        let below = format!("{directory}/");
        let inside = state.nodes.range(below.clone()..);
        let inside = inside.take_while(|(path, _)| path.starts_with(&below));
        let entries = inside.filter_map(|(path, node)| {
            let name = &path[below.len()..];
            (!name.contains('/'))
                .then(|| Entry { name: name.to_owned(), status: status(&state, node) })
        });
        Ok(entries.collect())
    }

    async fn open(&self, path: &str) -> Result<Box<dyn FileReader>, FsError> {
        let state = self.lock();
        let file = state.nodes.get(path).and_then(|node| state.files.get(&node.file?));
        match file {
            Some(file) => {
                Ok(Box::new(MemoryReader { left: BytesMut::from(file.bytes.as_slice()) }))
            }
            None => Err(FsError::new(FsErrorKind::NotFound, "open", path)),
        }
    }

    async fn make_durable(&self, files: &[String], root: &str) -> Result<(), FsError> {
        let mut state = self.lock();
        for path in files {
            let Some(number) = state.nodes.get(path).and_then(|node| node.file) else {
                return Err(FsError::new(FsErrorKind::NotFound, "make durable", path));
            };
            let file = state.files.get_mut(&number).expect("a node's file is there");
            file.durable_bytes = file.bytes.len();
            let mut above = path.as_str();
            while !above.is_empty() && above != parent(root) {
                state.nodes.get_mut(above).expect("parents are there").durable = true;
                above = parent(above);
            }
        }
        Ok(())
    }
}

fn status(state: &State, node: &Node) -> Status {
    match node.file.and_then(|number| state.files.get(&number)) {
        Some(file) => Status { kind: EntryKind::File, length: file.bytes.len() as u64 },
        None => Status { kind: EntryKind::Directory, length: 0 },
    }
}

struct MemoryWriter {
    disk: MemoryDisk,
    path: String,
    number: u64,
    /// Nobody else sees what a writer was given before it is closed; on HDFS and past the page cache
    /// that is so, too.
    written: Vec<u8>,
}

#[async_trait]
impl FileWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let writable = self.disk.lock().check_writable(&self.path);
        writable.map_err(|kind| FsError::new(kind, "write", self.path.as_str()))?;
        self.written.extend_from_slice(&bytes);
        Ok(())
    }

    async fn sync_progress(&mut self) -> Result<(), FsError> {
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), FsError> {
        let mut state = self.disk.lock();
        let file = state.files.get_mut(&self.number).expect("files are kept");
        file.bytes.extend_from_slice(&self.written);
        file.durable_bytes = file.bytes.len();
        Ok(())
    }
}

struct MemoryReader {
    left: BytesMut,
}

#[async_trait]
impl FileReader for MemoryReader {
    async fn read(&mut self, bytes_max: usize) -> Result<Bytes, FsError> {
        let count = bytes_max.min(self.left.len());
        Ok(self.left.split_to(count).freeze())
    }
}
