//! Events that a node could neither put nor deliver, and that have no files sink to keep them.

use async_trait::async_trait;
use sdk_edge::{DEAD_LETTERS_BYTES_MAX, DeadLetterBox};
use sdk_event::Event;
use sdk_flow::{Batch, BoxError, Clock, DeadLetters, PutError};
use sdk_wal::RealStorage;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// JSON lines in the data directory, a folder for each flow. At [`DEAD_LETTERS_BYTES_MAX`] in one of
/// them its sources and sinks wait until somebody has looked at them and taken them away.
pub(crate) struct Letters {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    boxes: Mutex<BTreeMap<String, Arc<DeadLetterBox>>>,
}

/// A file of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LetterFile {
    pub(crate) flow: String,
    pub(crate) path: String,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Letters {
    /// Those in `folder`, which need not be there.
    pub(crate) fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { folder, clock, boxes: Mutex::default() })
    }

    /// Keeps an event that a source could not put; durable when it returns.
    pub(crate) async fn keep_event(
        &self,
        flow: &str,
        source: &str,
        event: &Event,
        reason: &str,
    ) -> Result<(), PutError> {
        self.of(flow).keep_event(flow, source, event, reason).await
    }

    /// Where the sinks of a flow put what they refuse.
    pub(crate) fn of_sinks(&self, flow: &str) -> Arc<dyn DeadLetters> {
        Arc::new(SinkLetters { flow: flow.to_owned(), letters: self.of(flow) })
    }

    /// Every file, by path. Reads them.
    pub(crate) fn files(&self) -> std::io::Result<Vec<LetterFile>> {
        let mut files = Vec::new();
        for flow in children(&self.folder)? {
            let name = flow.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for path in children(&flow)? {
                let file = std::fs::OpenOptions::new().read(true).open(&path)?;
                let bytes = file.metadata()?.len();
                let lines = BufReader::new(file).split(b'\n');
                let events = lines.map_while(Result::ok).count() as u64;
                let path = path.display().to_string();
                files.push(LetterFile { flow: name.clone(), path, events, bytes });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    fn of(&self, flow: &str) -> Arc<DeadLetterBox> {
        let mut boxes = self.boxes.lock().expect("no panic while the lock is held");
        let known = boxes.entry(flow.to_owned()).or_insert_with(|| {
            let (folder, clock) = (self.folder.join(flow), Arc::clone(&self.clock));
            let storage = Arc::new(RealStorage);
            Arc::new(DeadLetterBox::new(folder, storage, clock, DEAD_LETTERS_BYTES_MAX))
        });
        Arc::clone(known)
    }
}

fn children(folder: &std::path::Path) -> std::io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The dead letters of one flow's sinks.
struct SinkLetters {
    flow: String,
    letters: Arc<DeadLetterBox>,
}

#[async_trait]
impl DeadLetters for SinkLetters {
    async fn bury(&self, sink: &str, batch: &Batch, reason: &BoxError) -> Result<(), BoxError> {
        self.letters.keep_batch(&self.flow, sink, batch, reason).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_flow::SystemClock;

    #[tokio::test]
    async fn what_is_kept_is_listed_with_the_very_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let letters = Letters::new(folder.path().join("new"), Arc::new(SystemClock::new()));
        assert_eq!(letters.files().unwrap(), []);
        letters.keep_event("web", "log", &Event::new(vec![0xff, 0]), "no").await.unwrap();
        letters.keep_event("web", "log", &Event::new("text"), "no").await.unwrap();
        let files = letters.files().unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].flow.as_str(), files[0].events), ("web", 2));
        let text = std::fs::read_to_string(&files[0].path).unwrap();
        assert!(text.contains("\"body_base64\":\"/wA=\""), "{text}");
    }
}
