//! Where an edge keeps events that it could neither put nor deliver.

mod letter;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sdk_event::Event;
use sdk_flow::{Batch, BoxError, Clock, DeadLetters, Exhaustion, PutError};
use sdk_wal::{Storage, is_full, write_all_at};

pub(crate) use self::letter::Letter;

/// All dead letters together. At it, sources and sinks wait until somebody has
/// looked at them and taken them away: none is dropped.
pub const DEAD_LETTERS_BYTES_MAX: u64 = 1 << 30;

/// When to ask again whether there is room.
const RETRY: Duration = Duration::from_secs(5);

/// A letter is one line; the end of a file is looked at in steps of this.
const TAIL_BYTES: u64 = 64 << 10;

/// Files of JSON lines, one for each day (UTC), `<day>.jsonl`.
///
/// Nothing is held open between two letters, so files may be moved away at any
/// time. A line that a crash has cut short was never promised; the next one is
/// written over it.
pub struct DeadLetterBox {
    folder: PathBuf,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    bytes_max: u64,
    writing: Arc<Mutex<()>>,
    kept: AtomicU64,
}

/// Why letters were not kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// There is no room for more.
    #[error("the dead letters in {} take {bytes} bytes: move them away", folder.display())]
    Full { folder: PathBuf, bytes: u64 },
    /// The disk said no.
    #[error("cannot write to {}", folder.display())]
    Io {
        folder: PathBuf,
        #[source]
        error: io::Error,
    },
}

impl DeadLetterBox {
    /// A box in `folder`, which is made with the first letter, of at most `bytes_max`.
    #[must_use]
    pub fn new(
        folder: PathBuf,
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        bytes_max: u64,
    ) -> DeadLetterBox {
        let (writing, kept) = (Arc::default(), AtomicU64::new(0));
        DeadLetterBox { folder, storage, clock, bytes_max, writing, kept }
    }

    /// Events kept since the start.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Bytes of all files. Reads the directory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        folder_bytes(&*self.storage, &self.folder).unwrap_or(0)
    }

    /// An event that a source could not put.
    ///
    /// # Errors
    /// When it is not kept; at the limit with the time to ask again.
    pub async fn keep_event(
        &self,
        flow: &str,
        source: &str,
        event: &Event,
        reason: &str,
    ) -> Result<(), PutError> {
        let letter = Letter::of_event(flow, source, event, reason);
        match self.keep(letter.line(), 1).await {
            Ok(()) => Ok(()),
            Err(KeepError::Full { .. }) => {
                Err(PutError::Exhausted { reason: Exhaustion::Disk, retry_after: RETRY })
            }
            Err(KeepError::Io { error, .. }) if is_full(&error) => {
                Err(PutError::Exhausted { reason: Exhaustion::Disk, retry_after: RETRY })
            }
            Err(error) => Err(PutError::Unknown(error.into())),
        }
    }

    /// The events of a batch that a sink refused, all of them with the same reason.
    ///
    /// # Errors
    /// When none of them is kept: there is no room, or the disk said no.
    pub async fn keep_batch(
        &self,
        flow: &str,
        sink: &str,
        batch: &Batch,
        reason: &BoxError,
    ) -> Result<(), BoxError> {
        let reason = sdk_flow::with_causes(&**reason);
        let mut lines = Vec::new();
        let mut events = 0;
        for (_, event) in batch.events() {
            lines.extend(Letter::of_stored(flow, sink, &event, &reason).line());
            events += 1;
        }
        Ok(self.keep(lines, events).await?)
    }

    /// Keeps lines; they are durable when it returns.
    async fn keep(&self, lines: Vec<u8>, events: u64) -> Result<(), KeepError> {
        let (folder, storage) = (self.folder.clone(), Arc::clone(&self.storage));
        let (wall_ms, bytes_max) = (self.clock.wall_ms(), self.bytes_max);
        let writing = Arc::clone(&self.writing);
        let kept = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = writing.lock().expect("no panic while the lock is held");
            keep(&*storage, &folder, wall_ms, &lines, bytes_max)
        });
        kept.await.map_err(|error| KeepError::Io {
            folder: self.folder.clone(),
            error: io::Error::other(error),
        })??;
        self.kept.fetch_add(events, Ordering::Relaxed);
        Ok(())
    }
}

/// The dead letters of one flow's sinks.
pub(crate) struct SinkLetters {
    pub(crate) flow: String,
    pub(crate) letters: Arc<DeadLetterBox>,
}

#[async_trait]
impl DeadLetters for SinkLetters {
    async fn bury(&self, sink: &str, batch: &Batch, reason: &BoxError) -> Result<(), BoxError> {
        self.letters.keep_batch(&self.flow, sink, batch, reason).await
    }
}

fn keep(
    storage: &dyn Storage,
    folder: &Path,
    wall_ms: i64,
    lines: &[u8],
    bytes_max: u64,
) -> Result<(), KeepError> {
    let failed = |error| KeepError::Io { folder: folder.to_owned(), error };
    storage.create_dir_all(folder).map_err(failed)?;
    let bytes = folder_bytes(storage, folder).map_err(failed)?;
    if bytes.saturating_add(lines.len() as u64) > bytes_max {
        return Err(KeepError::Full { folder: folder.to_owned(), bytes });
    }
    append(storage, folder, &format!("{}.jsonl", day(wall_ms)), lines).map_err(failed)
}

fn append(storage: &dyn Storage, folder: &Path, name: &str, lines: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    let (file, new) = match storage.open(&path, false) {
        Ok(file) => (file, false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (storage.create(&path)?, true),
        Err(error) => return Err(error),
    };
    let length = file.length()?;
    let end = last_line_end(&*file, length)?;
    let torn = (length - end) as usize;
    // Blanks between a letter and its newline are still JSON.
    let (body, newline) = lines.split_at(lines.len().saturating_sub(1));
    let blanks = vec![b' '; torn.saturating_sub(lines.len())];
    let mut slices = [IoSlice::new(body), IoSlice::new(&blanks), IoSlice::new(newline)];
    write_all_at(&*file, &mut slices, end)?;
    file.sync_all()?;
    if new {
        storage.sync_dir(folder)?;
    }
    Ok(())
}

/// The offset behind the last newline.
fn last_line_end(file: &dyn sdk_wal::StorageFile, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(TAIL_BYTES);
        let mut tail = Vec::new();
        file.read_at(&mut tail, (end - from) as usize, from)?;
        if let Some(at) = tail.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

fn folder_bytes(storage: &dyn Storage, folder: &Path) -> io::Result<u64> {
    match storage.list(folder) {
        Ok(files) => Ok(files.iter().map(|file| file.length).sum()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn day(wall_ms: i64) -> String {
    let now = jiff::Timestamp::from_millisecond(wall_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    now.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_flow::ManualClock;
    use sdk_wal::RealStorage;

    fn letters(folder: &Path, bytes_max: u64) -> DeadLetterBox {
        let clock = Arc::new(ManualClock::new(1_340_421_394_234));
        DeadLetterBox::new(folder.to_owned(), Arc::new(RealStorage), clock, bytes_max)
    }

    fn event(body: &[u8]) -> Event {
        let headers = [("a".to_owned(), "1".to_owned())].into_iter().collect();
        Event { timestamp_ms: Some(5), headers, body: body.to_vec().into() }
    }

    #[tokio::test]
    async fn a_letter_is_a_line_of_json_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let letters = letters(folder.path(), u64::MAX);
        letters.keep_event("web", "log", &event(b"x\"y"), "too long").await.unwrap();
        letters.keep_event("web", "log", &event(&[0xff, 0]), "too long").await.unwrap();
        let text = std::fs::read_to_string(folder.path().join("2012-06-23.jsonl")).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"flow":"web","source":"log","reason":"too long","timestamp":5,"#,
                r#""headers":{"a":"1"},"body":"x\"y"}"#,
                "\n",
                r#"{"flow":"web","source":"log","reason":"too long","timestamp":5,"#,
                r#""headers":{"a":"1"},"body_base64":"/wA="}"#,
                "\n"
            )
        );
        assert_eq!(letters.kept(), 2);
        assert_eq!(letters.bytes(), text.len() as u64);
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "plays a crash")]
    async fn a_line_cut_short_is_written_over() {
        for torn in [3, 5_000, 200_000] {
            let folder = tempfile::tempdir().unwrap();
            let letters = letters(folder.path(), u64::MAX);
            letters.keep_event("web", "log", &event(b"first"), "r").await.unwrap();
            let path = folder.path().join("2012-06-23.jsonl");
            let mut cut = std::fs::read(&path).unwrap();
            cut.extend(vec![b'{'; torn]);
            std::fs::write(&path, cut).unwrap();
            letters.keep_event("web", "log", &event(b"second"), "r").await.unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let bodies: Vec<String> = text
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .map(|letter| letter["body"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(bodies, ["first", "second"]);
            assert!(text.ends_with('\n'));
        }
    }

    #[tokio::test]
    async fn a_full_box_makes_its_senders_wait() {
        let folder = tempfile::tempdir().unwrap();
        let letters = letters(folder.path(), 150);
        letters.keep_event("web", "log", &event(b"first"), "r").await.unwrap();
        let refused = letters.keep_event("web", "log", &event(b"second"), "r").await;
        assert!(matches!(refused, Err(PutError::Exhausted { .. })), "{refused:?}");
        assert_eq!(letters.kept(), 1);
    }
}
