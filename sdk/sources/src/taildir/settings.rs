//! What a `taildir` is told, ready for use.

use std::time::Duration;

use sdk_config::{OverLong, StartAt, TaildirSource};
use sdk_event::ProducerId;
use sdk_event::limits::{BODY_BYTES_MAX, EVENTS_MAX};
use sdk_flow::SourceStart;

use super::glob::{Excludes, FileGlob};
use super::split::{Flush, Splitter};
use super::{BuildError, Taildir};

/// What stays the same while the source runs.
pub(super) struct Settings {
    pub(super) source: String,
    pub(super) ids: (ProducerId, u64),
    pub(super) groups: Vec<Group>,
    pub(super) excludes: Excludes,
    pub(super) from_end: bool,
    /// The header that has a file's path.
    pub(super) file_header: Option<String>,
    pub(super) byte_offset: bool,
    /// Whether the events of all files have the same headers.
    pub(super) uniform: bool,
    /// Events that one put takes from a file.
    pub(super) batch_events: usize,
    /// Puts that a file fills in its turn.
    pub(super) batches_max: u64,
    pub(super) poll_interval: Duration,
    idle_timeout: Option<Duration>,
    /// How long an event waits for a further line.
    pub(super) join_timeout: Option<Duration>,
    pub(super) splitter: Splitter,
    pub(super) line_bytes_max: usize,
    pub(super) over_long: OverLong,
    pub(super) open_files_max: usize,
}

/// One group of files.
pub(super) struct Group {
    pub(super) files: FileGlob,
    pub(super) headers: Vec<(String, String)>,
}

/// A file out of sight is closed after so long without growth if no
/// `idle_timeout` is set: until then its writer may hold it.
const GONE_IDLE: Duration = Duration::from_secs(300);

impl Settings {
    pub(super) fn new(spec: &TaildirSource, start: &SourceStart) -> Result<Settings, BuildError> {
        let mut groups = Vec::new();
        for (name, pattern) in &spec.filegroups {
            if !pattern.starts_with('/') {
                return Err(BuildError::Relative { group: name.clone() });
            }
            let files = FileGlob::new(pattern)
                .map_err(|error| BuildError::Glob { group: name.clone(), error })?;
            let headers = spec.headers.get(name).into_iter().flatten();
            let headers = headers.map(|(key, value)| (key.clone(), value.clone())).collect();
            groups.push(Group { files, headers });
        }
        let line_bytes_max = usize::try_from(spec.max_line_length.bytes()).unwrap_or(usize::MAX);
        let line_bytes_max = line_bytes_max.clamp(1, BODY_BYTES_MAX);
        let multiline = spec.multiline.as_ref();
        let same_headers = groups.windows(2).all(|pair| pair[0].headers == pair[1].headers);
        Ok(Settings {
            source: start.name.clone(),
            ids: (start.producer, start.generation),
            uniform: same_headers && !spec.file_header,
            groups,
            excludes: Excludes::new(&spec.exclude).map_err(BuildError::Exclude)?,
            from_end: spec.start == StartAt::End,
            file_header: spec.file_header.then(|| spec.file_header_key.clone()),
            byte_offset: spec.byte_offset_header,
            batch_events: (spec.batch_size as usize).clamp(1, EVENTS_MAX),
            batches_max: if spec.max_batch_count == 0 { u64::MAX } else { spec.max_batch_count },
            poll_interval: spec.poll_interval.get().max(POLL_MIN),
            idle_timeout: spec.idle_timeout.non_zero(),
            join_timeout: multiline.map(|multiline| multiline.timeout.get()),
            splitter: Splitter::new(line_bytes_max, multiline).map_err(BuildError::Pattern)?,
            line_bytes_max,
            over_long: spec.over_long,
            open_files_max: Taildir::OPEN_FILES_MAX,
        })
    }

    /// What is taken of a file that has been quiet for so long.
    pub(super) fn flush(&self, found: bool, quiet: Duration) -> Flush {
        if self.is_idle(found, quiet) {
            return Flush::All;
        }
        match self.join_timeout {
            Some(timeout) if quiet >= timeout => Flush::Lines,
            _ => Flush::Nothing,
        }
    }

    /// Whether a file that has been quiet for so long is closed.
    pub(super) fn is_idle(&self, found: bool, quiet: Duration) -> bool {
        let timeout = match (found, self.idle_timeout) {
            (_, Some(timeout)) => timeout,
            (false, None) => GONE_IDLE,
            (true, None) => return false,
        };
        quiet >= timeout
    }
}

/// Files are looked for no more often than this.
const POLL_MIN: Duration = Duration::from_millis(1);
