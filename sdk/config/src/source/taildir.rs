//! `type = "taildir"`: lines of files as they grow.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::{ByteSize, DurationText, SelectorSpec};

/// Follows files by inode and the CRC of their first KiB, through rename and copytruncate. Positions
/// travel in the put record, so there is no position file to configure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaildirSource {
    /// The channels this source puts into. Required.
    pub channels: Vec<String>,
    /// The interceptors its events pass, in this order.
    pub interceptors: Vec<String>,
    /// Which of the channels an event goes into.
    pub selector: SelectorSpec,
    /// Groups of files: a name, and an absolute path or glob (`*`, `?`, `[…]`, `{a,b}`, `**`).
    /// Required.
    pub filegroups: BTreeMap<String, String>,
    /// Headers that every event of a group gets.
    pub headers: BTreeMap<String, BTreeMap<String, String>>,
    /// Globs of files to leave alone; one without a `/` is matched against the file's name alone.
    pub exclude: Vec<String>,
    /// Where to begin in files that are there at the first start; newer ones are read from their
    /// beginning. `skip_to_end = true` is Flume's way of writing `start = "end"`.
    #[serde(alias = "skip_to_end")]
    pub start: StartAt,
    /// Whether each event gets the absolute path of its file in a header.
    pub file_header: bool,
    /// The name of that header.
    pub file_header_key: String,
    /// Whether each event gets the offset at which its line begins, in the header `byteoffset`.
    pub byte_offset_header: bool,
    /// How many lines one put takes from a file at most.
    pub batch_size: u32,
    /// How many puts a file may fill before the next file has its turn; 0 = as long as it has lines.
    pub max_batch_count: u64,
    /// How often to look for growth and new files when the system does not tell.
    pub poll_interval: DurationText,
    /// A file without growth for this long is closed, and a last line without its newline is taken;
    /// 0 = never.
    pub idle_timeout: DurationText,
    /// The longest body; longer lines are treated as `over_long` says.
    pub max_line_length: ByteSize,
    /// What becomes of a line over `max_line_length`.
    pub over_long: OverLong,
    /// Joins lines into one event (stack traces). Off unless written.
    pub multiline: Option<Multiline>,
}

impl Default for TaildirSource {
    fn default() -> TaildirSource {
        TaildirSource {
            channels: Vec::new(),
            interceptors: Vec::new(),
            selector: SelectorSpec::default(),
            filegroups: BTreeMap::new(),
            headers: BTreeMap::new(),
            exclude: Vec::new(),
            start: StartAt::Beginning,
            file_header: false,
            file_header_key: "file".to_owned(),
            byte_offset_header: false,
            batch_size: 1000,
            max_batch_count: 16,
            poll_interval: DurationText::from_millis(500),
            idle_timeout: DurationText::from_secs(120),
            max_line_length: ByteSize::mib(1),
            over_long: OverLong::Split,
            multiline: None,
        }
    }
}

/// Where reading begins in a file that is there at the first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At its first byte.
    #[default]
    Beginning,
    /// Behind its last byte: only what is written from now on.
    End,
}

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StartAt, D::Error> {
        struct StartVisitor;

        impl Visitor<'_> for StartVisitor {
            type Value = StartAt;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"beginning\" or \"end\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StartAt, E> {
                match text {
                    "beginning" => Ok(StartAt::Beginning),
                    "end" => Ok(StartAt::End),
                    _ => Err(E::unknown_variant(text, &["beginning", "end"])),
                }
            }

            // Flume's `skip_to_end` is a boolean.
            fn visit_bool<E: de::Error>(self, skip_to_end: bool) -> Result<StartAt, E> {
                Ok(if skip_to_end { StartAt::End } else { StartAt::Beginning })
            }
        }

        deserializer.deserialize_any(StartVisitor)
    }
}

/// What becomes of a line that is too long for an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverLong {
    /// Several events, each marked with a header.
    #[default]
    Split,
    /// One dead letter.
    DeadLetter,
}

/// Joins lines into one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Multiline {
    /// A line that this regular expression finds something in belongs to its neighbour. Required.
    pub pattern: String,
    /// Turns that round: a line in which nothing is found belongs to its neighbour.
    pub negate: bool,
    /// Which neighbour.
    pub what: MultilineWhat,
    /// An event that waits this long for a further line is complete.
    pub timeout: DurationText,
    /// An event of this many lines is complete.
    pub max_lines: u32,
}

impl Default for Multiline {
    fn default() -> Multiline {
        Multiline {
            pattern: String::new(),
            negate: false,
            what: MultilineWhat::Previous,
            timeout: DurationText::from_secs(5),
            max_lines: 500,
        }
    }
}

/// The neighbour a line belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultilineWhat {
    /// The line before it.
    #[default]
    Previous,
    /// The line after it.
    Next,
}
