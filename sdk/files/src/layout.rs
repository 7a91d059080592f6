//! Where an event of a sink goes: directory and file prefix, as a function of the record alone.

mod calendar;
mod component;
mod host;
mod placer;

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use sdk_config::{FilesSink, Piece, Round, RoundUnit, Template, TemplateError, TimeEscape};
use sdk_event::EventRef;

pub use calendar::Window;
pub use component::encode_component;
pub use host::resolve_host;
pub use placer::{Place, Placer};

use crate::name::{FIXED_BYTES_MAX, MARKER, STAGING};
use calendar::{Calendar, Moment, Unit};

/// The number of the function that this module is: rendering, escaping and the time zone data
/// together. A spec version fixes it; it is raised only with the cluster's feature level.
pub const RENDERING: u32 = 1;

/// The longest rendered path in bytes, file name included.
pub const PATH_BYTES_MAX: usize = 1024;

/// How deep a directory may lie: the number of its components.
pub const PATH_DEPTH_MAX: usize = 16;

/// The longest component of a path and the longest file name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Where the dead letters of all sinks live, below a root.
const DEAD: &str = "_dead";

/// What the names of dead letters begin with.
pub const DEAD_PREFIX: &str = "dead-letters";

/// What they end with.
pub const DEAD_SUFFIX: &str = ".json";

/// The fewest components of a root.
const ROOT_COMPONENTS_MIN: usize = 2;

/// A sink's path, prefix, suffix, rounding and time zone, ready to render.
#[derive(Debug, Clone)]
pub struct Layout {
    root: String,
    directory: Vec<Part>,
    prefix: Vec<Part>,
    suffix: String,
    dead_directory: String,
    headers: Vec<String>,
    calendar: Calendar,
    /// How long a rendering stays the same; `None` if time is not in it.
    unit: Option<Unit>,
    require_timestamp: bool,
    future_limit_ms: Option<i64>,
    late_limit_ms: Option<i64>,
    /// How long after its directory's time has passed an event counts as late.
    late_after_ms: i64,
}

/// A piece of a path after the root, or of a prefix.
#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Time(TimeEscape),
    Timestamp,
    /// The header at this place in [`Layout::headers`].
    Header(usize),
}

/// Why a path cannot be used, whatever the events are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// An escape is wrong.
    #[error("{field}: {error}")]
    Template {
        /// The key.
        field: &'static str,
        /// What is wrong.
        error: TemplateError,
    },
    /// A host escape was not resolved when the spec was applied.
    #[error("{0}: `%[…]` must be resolved before the sink is built")]
    UnresolvedHost(&'static str),
    /// The path does not begin with a slash or a scheme.
    #[error("path: `{0}` is not absolute\nhelp: begin with `/`, or with `hdfs://NAME/`")]
    Relative(String),
    /// The literal beginning is too short.
    #[error(
        "path: `{0}` is the whole literal beginning\nhelp: at least two directories must come before the first escape, as in `/data/logs/%Y`"
    )]
    ShallowRoot(String),
    /// `.` or `..` as a component.
    #[error("path: `{0}` is no component of a path here")]
    Dots(String),
    /// The root is reserved by Hadoop or by us.
    #[error("path: the root may not lie in `{0}`")]
    Reserved(String),
    /// Too long or too deep already.
    #[error("path: the literal beginning is too long or too deep")]
    TooLong,
    /// A prefix or suffix with a slash.
    #[error("{0}: a slash cannot be part of a file name")]
    Slash(&'static str),
    /// No prefix: the name would begin with a dot, and jobs pass over such files.
    #[error("file_prefix: it is empty\nhelp: a name that begins with a dot is not read by jobs")]
    EmptyPrefix,
    /// A control character in a literal.
    #[error("{0}: a control character cannot be part of a path")]
    Control(&'static str),
    /// Rounding that Flume does not know either.
    #[error("round: {0} is out of range\nhelp: 1 to 60 seconds or minutes, 1 to 24 hours")]
    Round(u32),
    /// No such time zone.
    #[error(
        "time_zone: `{0}` is not in the IANA time zone data\nhelp: names are like `Europe/Berlin`"
    )]
    Zone(String),
}

/// Why an event cannot be placed. It becomes a dead letter, with this as its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DeadReason {
    /// It has no timestamp and the sink wants one.
    #[error("no timestamp")]
    NoTimestamp,
    /// Its timestamp is too far ahead of its put time.
    #[error("timestamp too far ahead of its put time")]
    Ahead,
    /// Its timestamp is too far behind its put time.
    #[error("timestamp too far behind its put time")]
    Behind,
    /// Its timestamp is in no year between 1 and 9999.
    #[error("timestamp outside the years 1 to 9999")]
    OutOfRange,
    /// A directory or the prefix would have no name.
    #[error("empty path component")]
    EmptyComponent,
    /// A directory would be `.` or `..`.
    #[error("path component of dots")]
    Dots,
    /// A directory's or the file's name would be too long.
    #[error("path component longer than 255 bytes")]
    ComponentTooLong,
    /// The directory is one of ours.
    #[error("path component reserved")]
    Reserved,
    /// The path would be too long.
    #[error("path longer than 1024 bytes")]
    PathTooLong,
    /// The path would be too deep.
    #[error("path deeper than 16 directories")]
    TooDeep,
}

/// What an event gets, for `check --event` and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explained {
    /// A place.
    At {
        /// The directory.
        directory: String,
        /// What the file's name begins with.
        prefix: String,
    },
    /// None.
    Dead(DeadReason),
}

impl Layout {
    /// Reads a sink's spec. `flow` is the flow's name, for its dead letters.
    pub fn new(spec: &FilesSink, flow: &str) -> Result<Layout, LayoutError> {
        let zone = zone(&spec.time_zone)?;
        check_round(spec.round)?;
        let mut headers = Vec::new();
        let path = parts("path", &spec.path, &mut headers)?;
        let prefix = parts("file_prefix", &spec.file_prefix, &mut headers)?;
        let (root, directory) = split_root(path)?;
        check_prefix(&prefix)?;
        if spec.file_suffix.contains('/') {
            return Err(LayoutError::Slash("file_suffix"));
        }
        if spec.file_suffix.contains(char::is_control) {
            return Err(LayoutError::Control("file_suffix"));
        }
        let mut finest = directory.iter().chain(&prefix).filter_map(Part::unit).min();
        if headers.iter().any(|name| name == TIMESTAMP_HEADER) {
            finest = Some(Unit::Millisecond);
        }
        let calendar = Calendar::new(zone, spec.round);
        let mut dead_directory = format!("{root}/{DEAD}/");
        encode_component(flow, &mut dead_directory);
        Ok(Layout {
            unit: finest,
            dead_directory,
            root,
            directory,
            prefix,
            suffix: format!("{}{}", spec.file_suffix, spec.extension()),
            headers,
            calendar,
            require_timestamp: spec.require_timestamp,
            future_limit_ms: limit_ms(spec.future_limit),
            late_limit_ms: limit_ms(spec.late_limit),
            late_after_ms: i64::try_from(spec.roll_interval.millis()).unwrap_or(i64::MAX),
        })
    }

    /// The longest literal directory: where staging and the marker live.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What the names of the sink's files end with, the format's extension included.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// The directory of the dead letters of the day of `put_time_ms`, in UTC.
    pub fn dead_directory(&self, put_time_ms: i64) -> String {
        let date = match Moment::utc(put_time_ms) {
            Some(moment) => moment.date(),
            // A put time outside the years 1 to 9999 is a broken clock, not a reason to lose it.
            None => jiff::civil::date(1970, 1, 1),
        };
        let directory = &self.dead_directory;
        format!("{directory}/{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    }

    /// Whether a directory is one of dead letters. No event renders to one.
    pub fn is_dead_directory(&self, directory: &str) -> bool {
        directory.strip_prefix(self.dead_directory.as_str()).is_some_and(|it| it.starts_with('/'))
    }

    /// Where `event` goes if it is put at `put_time_ms`.
    pub fn explain(&self, event: &EventRef<'_>, put_time_ms: i64) -> Explained {
        let mut directory = String::new();
        let mut prefix = String::new();
        let timestamp_ms = match self.timestamp(event, put_time_ms) {
            Ok(timestamp_ms) => timestamp_ms,
            Err(reason) => return Explained::Dead(reason),
        };
        let header = |name: &str| header(event, name, timestamp_ms);
        match self.render(timestamp_ms, header, &mut directory, &mut prefix) {
            Ok(()) => Explained::At { directory, prefix },
            Err(reason) => Explained::Dead(reason),
        }
    }

    /// The time that places the event.
    fn timestamp(&self, event: &EventRef<'_>, put_time_ms: i64) -> Result<i64, DeadReason> {
        let Some(timestamp_ms) = event.timestamp_ms() else {
            return if self.require_timestamp {
                Err(DeadReason::NoTimestamp)
            } else {
                Ok(put_time_ms)
            };
        };
        if timestamp_ms > self.ahead_limit(put_time_ms) {
            return Err(DeadReason::Ahead);
        }
        if timestamp_ms < self.behind_limit(put_time_ms) {
            return Err(DeadReason::Behind);
        }
        Ok(timestamp_ms)
    }

    fn ahead_limit(&self, put_time_ms: i64) -> i64 {
        self.future_limit_ms.map_or(i64::MAX, |limit| put_time_ms.saturating_add(limit))
    }

    fn behind_limit(&self, put_time_ms: i64) -> i64 {
        self.late_limit_ms.map_or(i64::MIN, |limit| put_time_ms.saturating_sub(limit))
    }

    /// Writes directory and prefix, and checks both.
    fn render<'e>(
        &self,
        timestamp_ms: i64,
        header: impl Fn(&str) -> HeaderValue<'e>,
        directory: &mut String,
        prefix: &mut String,
    ) -> Result<(), DeadReason> {
        // Without time escapes any timestamp will do.
        let moment = match self.unit {
            Some(_) => self.calendar.moment(timestamp_ms).ok_or(DeadReason::OutOfRange)?,
            None => self.calendar.moment(0).expect("1970 is between the years 1 and 9999"),
        };
        directory.clear();
        directory.push_str(&self.root);
        self.write(&self.directory, &moment, &header, directory);
        prefix.clear();
        self.write(&self.prefix, &moment, &header, prefix);
        if prefix.contains('/') {
            // `%D` in a prefix: its slashes make no directories there.
            *prefix = prefix.replace('/', "%2F");
        }
        self.check(directory, prefix)
    }

    fn write<'e>(
        &self,
        parts: &[Part],
        moment: &Moment,
        header: &impl Fn(&str) -> HeaderValue<'e>,
        out: &mut String,
    ) {
        for part in parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Time(escape) => moment.write(*escape, out),
                Part::Timestamp => write!(out, "{}", moment.exact_ms()).expect("a String grows"),
                Part::Header(index) => match header(&self.headers[*index]) {
                    HeaderValue::Text(value) => encode_component(value, out),
                    HeaderValue::Number(number) => {
                        write!(out, "{number}").expect("a String grows");
                    }
                    HeaderValue::Missing => (),
                },
            }
        }
    }

    fn check(&self, directory: &str, prefix: &str) -> Result<(), DeadReason> {
        let below = directory[self.root.len()..].split('/').skip(1);
        for (index, component) in below.enumerate() {
            match component {
                DEAD | STAGING | MARKER if index == 0 => return Err(DeadReason::Reserved),
                "" => return Err(DeadReason::EmptyComponent),
                "." | ".." => return Err(DeadReason::Dots),
                _ if component.len() > NAME_BYTES_MAX => return Err(DeadReason::ComponentTooLong),
                _ => (),
            }
        }
        if prefix.is_empty() {
            return Err(DeadReason::EmptyComponent);
        }
        let name_bytes = prefix.len() + FIXED_BYTES_MAX + self.suffix.len();
        if name_bytes > NAME_BYTES_MAX {
            return Err(DeadReason::ComponentTooLong);
        }
        if directory.len() + 1 + name_bytes > PATH_BYTES_MAX {
            return Err(DeadReason::PathTooLong);
        }
        if depth(directory) > PATH_DEPTH_MAX {
            return Err(DeadReason::TooDeep);
        }
        Ok(())
    }
}

/// A header as the path sees it.
enum HeaderValue<'e> {
    Text(&'e str),
    /// Flume's `timestamp` header is the event's timestamp here.
    Number(i64),
    Missing,
}

fn header<'e>(event: &EventRef<'e>, name: &str, timestamp_ms: i64) -> HeaderValue<'e> {
    match event.header(name) {
        Some(value) => HeaderValue::Text(value),
        None if name == TIMESTAMP_HEADER => HeaderValue::Number(timestamp_ms),
        None => HeaderValue::Missing,
    }
}

const TIMESTAMP_HEADER: &str = "timestamp";

impl Part {
    /// How long it stays the same.
    fn unit(&self) -> Option<Unit> {
        match self {
            Part::Literal(_) => None,
            Part::Header(_) => None,
            Part::Timestamp => Some(Unit::Millisecond),
            Part::Time(escape) => Some(Unit::of(*escape)),
        }
    }
}

fn limit_ms(limit: sdk_config::DurationText) -> Option<i64> {
    (!limit.is_zero()).then(|| i64::try_from(limit.millis()).unwrap_or(i64::MAX))
}

fn check_round(round: Option<Round>) -> Result<(), LayoutError> {
    let Some(Round { value, unit }) = round else { return Ok(()) };
    let most = if unit == RoundUnit::Hour { 24 } else { 60 };
    if (1..=most).contains(&value) { Ok(()) } else { Err(LayoutError::Round(value)) }
}

fn zone(name: &str) -> Result<TimeZone, LayoutError> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| LayoutError::Zone(name.to_owned()))
}

fn parts(
    field: &'static str,
    text: &str,
    headers: &mut Vec<String>,
) -> Result<Vec<Part>, LayoutError> {
    let template = Template::parse(text).map_err(|error| LayoutError::Template { field, error })?;
    let parts = template.pieces.into_iter().map(|piece| match piece {
        Piece::Literal(text) if text.contains(char::is_control) => Err(LayoutError::Control(field)),
        Piece::Literal(text) => Ok(Part::Literal(text)),
        Piece::Time(escape) => Ok(Part::Time(escape)),
        Piece::Timestamp => Ok(Part::Timestamp),
        Piece::Header(name) => Ok(Part::Header(header_index(name, headers))),
        Piece::Host(_) => Err(LayoutError::UnresolvedHost(field)),
    });
    parts.collect()
}

fn header_index(name: String, headers: &mut Vec<String>) -> usize {
    headers.iter().position(|known| *known == name).unwrap_or_else(|| {
        headers.push(name);
        headers.len() - 1
    })
}

fn check_prefix(parts: &[Part]) -> Result<(), LayoutError> {
    let slash = |part: &Part| matches!(part, Part::Literal(text) if text.contains('/'));
    if parts.iter().any(slash) {
        return Err(LayoutError::Slash("file_prefix"));
    }
    if parts.is_empty() { Err(LayoutError::EmptyPrefix) } else { Ok(()) }
}

/// Splits the literal directory off, and takes doubled and closing slashes out of what is left.
fn split_root(parts: Vec<Part>) -> Result<(String, Vec<Part>), LayoutError> {
    let mut parts = parts;
    let literal = match parts.first_mut() {
        Some(Part::Literal(text)) => std::mem::take(text),
        _ => return Err(LayoutError::Relative(String::new())),
    };
    let (scheme, path) = split_scheme(&literal)?;
    let only_literal = parts.len() == 1;
    // The last component is the root's only if nothing is written on to it.
    let (head, tail) = match path.rsplit_once('/') {
        _ if only_literal => (path, ""),
        Some((head, tail)) => (head, tail),
        None => return Err(LayoutError::Relative(literal.clone())),
    };
    let components: Vec<&str> = head.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(dots) = components.iter().find(|part| matches!(**part, "." | "..")) {
        return Err(LayoutError::Dots((*dots).to_owned()));
    }
    if components.first() == Some(&".reserved") {
        return Err(LayoutError::Reserved("/.reserved".to_owned()));
    }
    let root = format!("{scheme}/{}", components.join("/"));
    if components.len() < ROOT_COMPONENTS_MIN {
        return Err(LayoutError::ShallowRoot(root));
    }
    if root.len() > PATH_BYTES_MAX / 2 || components.len() > PATH_DEPTH_MAX {
        return Err(LayoutError::TooLong);
    }
    parts[0] = Part::Literal(format!("/{tail}"));
    Ok((root, tidy(parts)?))
}

/// `hdfs://nn/a/b` is (`hdfs://nn`, `/a/b`); `file:` is the local disk and has no scheme here.
fn split_scheme(literal: &str) -> Result<(&str, &str), LayoutError> {
    let relative = || LayoutError::Relative(literal.to_owned());
    if literal.starts_with('/') {
        return Ok(("", literal));
    }
    let (scheme, rest) = literal.split_once("://").ok_or_else(relative)?;
    let slash = rest.find('/').ok_or_else(relative)?;
    if scheme == "file" {
        return if slash == 0 { Ok(("", rest)) } else { Err(relative()) };
    }
    let valid = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
    if !valid || slash == 0 {
        return Err(relative());
    }
    Ok(literal.split_at(scheme.len() + 3 + slash))
}

/// `//` in a literal is `/`, a slash at the end is nothing, and no component is of dots alone.
fn tidy(parts: Vec<Part>) -> Result<Vec<Part>, LayoutError> {
    let mut tidied: Vec<Part> = Vec::with_capacity(parts.len());
    let mut after_slash = false;
    for part in parts {
        let Part::Literal(text) = part else {
            after_slash = false;
            tidied.push(part);
            continue;
        };
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            if c == '/' && after_slash {
                continue;
            }
            after_slash = c == '/';
            clean.push(c);
        }
        if !clean.is_empty() {
            tidied.push(Part::Literal(clean));
        }
    }
    if let Some(Part::Literal(text)) = tidied.last_mut()
        && text.ends_with('/')
    {
        text.pop();
        if text.is_empty() {
            tidied.pop();
        }
    }
    // A component that is literal from slash to slash can be judged now.
    for (index, part) in tidied.iter().enumerate() {
        let Part::Literal(text) = part else { continue };
        let last = index + 1 == tidied.len();
        let mut components = text.split('/').skip(1).peekable();
        while let Some(component) = components.next() {
            let whole = components.peek().is_some() || last;
            if whole && matches!(component, "." | "..") {
                return Err(LayoutError::Dots(component.to_owned()));
            }
        }
    }
    Ok(tidied)
}

/// How many directories deep an absolute path is, scheme and authority left out.
fn depth(directory: &str) -> usize {
    let path = match directory.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => directory.trim_start_matches('/'),
    };
    path.split('/').count()
}
