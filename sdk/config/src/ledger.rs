//! What a file sink and the replicated ledger tell each other: plain data, no behaviour of its own.
//!
//! A **ledger** belongs to one (sink group, lineage). It says up to where everything is final (the
//! *floor*), which files of which buckets are recorded above it, and who may add to it (the holder
//! of the newest *token*). A holder works like this:
//!
//! 1. acquire a fresh token: the [`Grant`] says what earlier holders have left;
//! 2. fence: delete the staging directories in [`Grant::earlier`], wait, and say so;
//! 3. resolve every [`OpenIntent`]: the file is there = commit it, absent = build the same range of
//!    the same bucket again and propose an [`Intent`] with the same name under the new token;
//! 4. read from the floor, skip what a range in [`Grant::buckets`] covers (at any sink of the
//!    group), write files in staging, and for each: [`Intent`], rename, [`CommitFile`];
//! 5. raise the floor.
//!
//! Offsets are the lineage's. A range of a file is *inclusive* at both ends, as in its name; a floor
//! and a sealed end are *exclusive*: the first offset that is not below them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One series of files: everything after expansion that decides where an event goes.
///
/// Serializer and codec are not repeated here: within one lineage they are fixed by the sink, and
/// the dead letters of a sink stand in a directory of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BucketKey {
    /// The sink's number, never used again within its flow.
    pub sink: u32,
    /// The finals' directory as rendered: absolute, or with scheme and authority; no slash at the end.
    pub directory: String,
    /// The rendered prefix of the file names.
    pub prefix: String,
    /// The rendered suffix of the file names, with the codec's extension.
    pub suffix: String,
}

/// A range of offsets, inclusive at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first offset in the range.
    pub first: u64,
    /// The last offset in the range.
    pub last: u64,
}

impl Span {
    /// Whether `offset` lies in the range.
    pub fn contains(&self, offset: u64) -> bool {
        self.first <= offset && offset <= self.last
    }

    /// Whether the two ranges share an offset.
    pub fn overlaps(&self, other: Span) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The announcement of a rename: proposed when the file is closed and durable in staging, before it
/// gets its final name.
///
/// Once accepted, the holder may do exactly one thing with the file under this token: this rename,
/// as often as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The bucket the file belongs to.
    pub bucket: BucketKey,
    /// The final file name, without its directory. The same range of the same bucket always has the
    /// same name.
    pub name: String,
    /// The length of the file in bytes.
    pub length: u64,
    /// CRC32C of the file's bytes.
    pub crc: u32,
    /// Offset of the first event in the file.
    pub first: u64,
    /// Offset of the last event in the file (inclusive).
    pub last: u64,
    /// How many events are in the file.
    pub events: u64,
    /// `last` of the Intent before this one in the same bucket and lineage; `None` for the first. An
    /// end that lies below the floor and whose bucket the ledger has folded is accepted as well.
    pub previous_end: Option<u64>,
    /// True when every event of this bucket between `previous_end` and `first` is accounted for
    /// here, so that the ledger may join the two ranges: always so in a group of one. False when
    /// some of them went to another sink of the group.
    pub continues: bool,
    /// True for a file of dead letters: its events count as dead-lettered, not as in files.
    pub dead_letters: bool,
}

impl Intent {
    /// The file's range.
    pub fn span(&self) -> Span {
        Span { first: self.first, last: self.last }
    }
}

/// Says that a file stands under its final name and is durable there.
///
/// Commits of one bucket go in the order of its Intents. `length` and `crc` are those of the file
/// that was found, which may be one that an earlier token has built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFile {
    /// The bucket.
    pub bucket: BucketKey,
    /// [`Intent::first`].
    pub first: u64,
    /// [`Intent::last`].
    pub last: u64,
    /// The length of the final file.
    pub length: u64,
    /// CRC32C of the final file.
    pub crc: u32,
}

/// One build of a file, by one token. A final with the length and CRC of any of its attempts is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The token under which the file was built.
    pub token: u64,
    /// Its length in bytes.
    pub length: u64,
    /// CRC32C of its bytes.
    pub crc: u32,
}

/// An accepted [`Intent`] whose file has not been committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIntent {
    /// The newest Intent with this name.
    pub intent: Intent,
    /// The token of that Intent.
    pub token: u64,
    /// Every recorded build with this name, oldest first, the newest included.
    pub attempts: Vec<Attempt>,
}

/// Events below the floor that are not in a file yet: the floor passes them, trimming does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The range; only the events of the hole's bucket in it are meant.
    pub span: Span,
    /// How many events that is.
    pub events: u64,
    /// Whether those are dead letters.
    pub dead_letters: bool,
}

/// What the ledger knows of one bucket above the floor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketState {
    /// The bucket.
    pub bucket: BucketKey,
    /// `last` of its newest Intent: what the next one must name as `previous_end`.
    pub end: Option<u64>,
    /// What is committed or given up, ascending, joined where ranges continue each other. Open Intents
    /// are listed apart, in [`Grant::intents`].
    pub committed: Vec<Span>,
    /// Ranges that the floor has passed or may pass without them, ascending.
    pub holes: Vec<Hole>,
    /// Why the bucket is quarantined, if it is: nothing but its holes and open Intents is touched
    /// until somebody resolves it or a retry of the same rename works.
    pub quarantine: Option<String>,
}

/// Events below a new floor that are in no file, counted by the holder while it read them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Dropped by policy, by the name of the rule.
    pub by_rule: BTreeMap<String, u64>,
    /// Lost: inside ranges that a Lost command has listed.
    pub lost: u64,
}

impl Drops {
    /// Whether nothing was dropped and nothing lost.
    pub fn is_empty(&self) -> bool {
        self.lost == 0 && self.by_rule.values().all(|count| *count == 0)
    }

    /// Counts `events` more under `rule`.
    pub fn add(&mut self, rule: &str, events: u64) {
        if events == 0 {
            return;
        }
        match self.by_rule.get_mut(rule) {
            Some(count) => *count = count.saturating_add(events),
            None => {
                self.by_rule.insert(rule.to_owned(), events);
            }
        }
    }

    /// All events dropped by policy.
    pub fn dropped(&self) -> u64 {
        self.by_rule.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// The identity of a sink's root directory: random, written in a marker file there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RootId(pub [u8; 16]);

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RootId {
    type Err = RootIdError;

    fn from_str(text: &str) -> Result<RootId, RootIdError> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(RootIdError);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| RootIdError)?;
        Ok(RootId(value.to_be_bytes()))
    }
}

/// The text is not a root id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootIdError;

impl fmt::Display for RootIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a root id is 32 hexadecimal digits")
    }
}

impl std::error::Error for RootIdError {}

/// A root as the cluster has recorded it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Root {
    /// The longest literal directory of the sink's path, as in [`BucketKey::directory`].
    pub path: String,
    /// The id in its marker.
    pub id: RootId,
}

/// A root as a node sees it when it asks for a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RootClaim {
    /// The root's path.
    pub path: String,
    /// The id in the marker the node has read there; `None` when it found no marker or could not
    /// look.
    pub id: Option<RootId>,
}

/// What a fresh token comes with. Everything in it is as of the moment the token was granted, and
/// nobody but its holder changes the ledger afterwards (an operator's resolution and a Lost range
/// excepted).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The token: greater than every earlier one, never granted again.
    pub token: u64,
    /// Everything below is final (holes excepted).
    pub floor: u64,
    /// The lineage's length if it is sealed.
    pub sealed_end: Option<u64>,
    /// (token, root) pairs whose staging directories must be deleted before anything else is done
    /// at that root.
    pub earlier: Vec<(u64, Root)>,
    /// Accepted Intents that are not committed, per bucket in order.
    pub intents: Vec<OpenIntent>,
    /// What is known of each bucket above the floor.
    pub buckets: Vec<BucketState>,
    /// Ranges of the lineage that are lost: readers pass them.
    pub lost: Vec<Span>,
    /// The roots this token may be used at.
    pub roots: Vec<Root>,
    /// Claimed roots it may not be used at, each with the reason. They delay no other; show them
    /// later, under the same token.
    pub refused_roots: Vec<(String, Refusal)>,
}

/// Why the ledger said no, split by what the holder has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A newer token exists. Stop at once: touch nothing, acquire a fresh one if still assigned.
    StaleToken {
        /// The newest token.
        current: u64,
    },
    /// The lineage has left the state (drained, or its flow was removed). Stop, forget it.
    Gone,
    /// Another node drains this lineage for this group. Do not acquire until that changes.
    NotAssigned {
        /// The node that is assigned.
        node: u64,
    },
    /// A staging directory of an earlier token at this bucket's root has not been reported fenced.
    /// Fence it, say so, propose again.
    NotFenced {
        /// The earlier token.
        token: u64,
        /// The root.
        root: String,
    },
    /// The claimed root has no marker. Write one, record it, claim again; if one was recorded
    /// before, the volume may not be mounted: wait, and say so.
    NoMarker {
        /// The id recorded, if any.
        recorded: Option<RootId>,
    },
    /// The marker shows another id than the recorded one: this is not the same volume. Stay away
    /// until it is, or until an operator adopts the new root.
    OtherRoot {
        /// The id recorded.
        recorded: RootId,
    },
    /// The marker is not recorded yet. Record it, claim again.
    UnrecordedRoot,
    /// The bucket's previous Intent is not the one named. Build the range again, from behind `end`.
    Gap {
        /// `last` of the bucket's newest accepted Intent.
        end: Option<u64>,
    },
    /// The range begins inside what is already recorded. Skip to behind `end`.
    Overlap {
        /// `last` of the bucket's newest accepted Intent.
        end: u64,
    },
    /// The range begins below the floor (and in no hole of its bucket). Throw the file away.
    BelowFloor {
        /// The floor.
        floor: u64,
    },
    /// The range or floor ends beyond the sealed lineage. Throw the file away, read to the end again.
    BeyondEnd {
        /// The lineage's length.
        end: u64,
    },
    /// The ledger is at its cap. Roll the oldest buckets so that the floor rises, propose again.
    Full,
    /// The same name was announced under this token with other content. A bug: take a fresh token.
    Changed,
    /// The bucket is quarantined. Leave it alone, go on with the others.
    Quarantined,
    /// An older Intent of the bucket is still open. Commit that one first.
    NotOldest {
        /// `first` of the oldest open Intent.
        first: u64,
    },
    /// There is no such open Intent or hole (it may be committed already). Read the ledger again
    /// with a fresh token.
    Unknown,
    /// No recorded attempt has this length and CRC. The file is not ours: quarantine the bucket.
    Mismatch,
    /// `from` is not the floor. Continue from the floor given.
    Floor {
        /// The floor.
        floor: u64,
    },
    /// An open Intent begins below the proposed floor. Resolve it, or turn it into a hole, first.
    OpenBelow {
        /// `first` of that Intent.
        first: u64,
    },
    /// Offsets counted as lost were never listed as lost. Propose the Lost command first.
    NotLost,
    /// A proposal arrived out of turn. Repeat what is missing, from `expected` on.
    OutOfTurn {
        /// The number the ledger waits for.
        expected: u64,
    },
    /// The proposal breaks a limit or makes no sense. Trying again cannot help.
    Invalid(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::StaleToken { current } => write!(f, "a newer token exists ({current})"),
            Refusal::Gone => f.write_str("the lineage has left the state"),
            Refusal::NotAssigned { node } => write!(f, "node {node} is assigned to drain it"),
            Refusal::NotFenced { token, root } => {
                write!(f, "token {token} is not fenced at {root}")
            }
            Refusal::NoMarker { recorded: None } => f.write_str("the root has no marker"),
            Refusal::NoMarker { recorded: Some(id) } => {
                write!(f, "the root's marker has vanished (recorded as {id})")
            }
            Refusal::OtherRoot { recorded } => {
                write!(f, "the root's marker is not the recorded one ({recorded})")
            }
            Refusal::UnrecordedRoot => f.write_str("the root's marker is not recorded"),
            Refusal::Gap { end: Some(end) } => {
                write!(f, "the bucket's previous range ends at {end}")
            }
            Refusal::Gap { end: None } => f.write_str("the bucket has no previous range"),
            Refusal::Overlap { end } => write!(f, "the bucket is recorded up to {end} already"),
            Refusal::BelowFloor { floor } => write!(f, "the range begins below the floor {floor}"),
            Refusal::BeyondEnd { end } => write!(f, "the lineage is sealed at {end}"),
            Refusal::Full => f.write_str("the ledger is full"),
            Refusal::Changed => {
                f.write_str("the name was announced with other content under this token")
            }
            Refusal::Quarantined => f.write_str("the bucket is quarantined"),
            Refusal::NotOldest { first } => {
                write!(f, "the bucket's file from {first} on must be committed first")
            }
            Refusal::Unknown => f.write_str("nothing like that is open"),
            Refusal::Mismatch => f.write_str("no recorded attempt has this length and checksum"),
            Refusal::Floor { floor } => write!(f, "the floor is {floor}"),
            Refusal::OpenBelow { first } => write!(f, "a file from {first} on is not committed"),
            Refusal::NotLost => f.write_str("the range is not listed as lost"),
            Refusal::OutOfTurn { expected } => write!(f, "proposal {expected} comes first"),
            Refusal::Invalid(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}
