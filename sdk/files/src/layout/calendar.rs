//! Timestamps as the parts of a path: time zone, rounding, Flume's letters.

use std::fmt::Write as _;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use sdk_config::{Round, RoundUnit, TimeEscape};

/// A stretch of time in which nothing that is rendered changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first millisecond.
    pub start_ms: i64,
    /// The first that is not in it.
    pub end_ms: i64,
}

impl Window {
    /// All of time.
    pub const EVER: Window = Window { start_ms: i64::MIN, end_ms: i64::MAX };

    /// Whether `timestamp_ms` lies in it.
    #[inline]
    pub fn contains(&self, timestamp_ms: i64) -> bool {
        self.start_ms <= timestamp_ms && timestamp_ms < self.end_ms
    }
}

/// How long a rendered escape stays the same, the shortest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    pub(super) fn of(escape: TimeEscape) -> Unit {
        match escape {
            TimeEscape::DateTime | TimeEscape::Seconds | TimeEscape::Second => Unit::Second,
            TimeEscape::Minute => Unit::Minute,
            TimeEscape::Hour
            | TimeEscape::Hour12
            | TimeEscape::HourUnpadded
            | TimeEscape::Hour12Unpadded
            | TimeEscape::AmPm => Unit::Hour,
            TimeEscape::WeekdayShort
            | TimeEscape::Weekday
            | TimeEscape::MonthShort
            | TimeEscape::Month
            | TimeEscape::Day
            | TimeEscape::Date
            | TimeEscape::DayUnpadded
            | TimeEscape::DayOfYear
            | TimeEscape::MonthNumber
            | TimeEscape::MonthUnpadded
            | TimeEscape::YearShort
            | TimeEscape::Year
            | TimeEscape::Offset => Unit::Day,
        }
    }

    fn millis(self) -> i64 {
        match self {
            Unit::Millisecond => 1,
            Unit::Second => SECOND_MS,
            Unit::Minute => MINUTE_MS,
            Unit::Hour => HOUR_MS,
            Unit::Day => DAY_MS,
        }
    }
}

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A time zone and a rounding.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    zone: TimeZone,
    round: Option<Round>,
}

/// A timestamp in the zone, rounded down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    exact_ms: i64,
    rounded_ms: i64,
    local: DateTime,
    offset: Offset,
}

impl Calendar {
    pub(super) fn new(zone: TimeZone, round: Option<Round>) -> Calendar {
        Calendar { zone, round }
    }

    /// `timestamp_ms` in the zone, rounded down; `None` outside the years 1 to 9999.
    pub(super) fn moment(&self, timestamp_ms: i64) -> Option<Moment> {
        let timestamp = Timestamp::from_millisecond(timestamp_ms).ok()?;
        let offset = self.zone.to_offset(timestamp);
        let local_ms = timestamp_ms.checked_add(offset_ms(offset))?;
        let rounded_local_ms = self.round_down(local_ms).0;
        let local = local_time(rounded_local_ms)?;
        let rounded_ms = timestamp_ms - (local_ms - rounded_local_ms);
        Some(Moment { exact_ms: timestamp_ms, rounded_ms, local, offset })
    }

    /// The longest stretch around `timestamp_ms` that is sure to render alike when `unit` is the
    /// shortest that is rendered.
    pub(super) fn window(&self, timestamp_ms: i64, unit: Unit) -> Option<Window> {
        if unit == Unit::Millisecond {
            return Some(Window { start_ms: timestamp_ms, end_ms: timestamp_ms.checked_add(1)? });
        }
        let timestamp = Timestamp::from_millisecond(timestamp_ms).ok()?;
        let offset_ms = offset_ms(self.zone.to_offset(timestamp));
        let local_ms = timestamp_ms.checked_add(offset_ms)?;
        local_time(local_ms)?;
        let by_unit = floor(local_ms, unit.millis());
        // What is rounded to ten minutes stays for ten minutes, and what shows only the day stays
        // for a day however it is rounded.
        let (start, end) = match self.round {
            Some(_) if self.round_millis() > unit.millis() => self.round_down(local_ms),
            _ => (by_unit, by_unit + unit.millis()),
        };
        // Local time runs evenly only between two changes of the offset.
        let just_after = timestamp.checked_add(SignedDuration::from_nanos(1)).unwrap_or(timestamp);
        let before = self.zone.preceding(just_after).next();
        let after = self.zone.following(timestamp).next();
        let since = before.map_or(i64::MIN, |change| change.timestamp().as_millisecond());
        let until = after.map_or(i64::MAX, |change| change.timestamp().as_millisecond());
        Some(Window {
            start_ms: (start - offset_ms).max(since),
            end_ms: (end - offset_ms).min(until),
        })
    }

    fn round_millis(&self) -> i64 {
        self.round.map_or(1, |round| i64::from(round.value) * round_unit_ms(round.unit))
    }

    /// The multiple of the rounding at or below a local time, and the next one above. Multiples are
    /// counted within the next larger field, as in Flume: 25 minutes are :00, :25 and :50.
    fn round_down(&self, local_ms: i64) -> (i64, i64) {
        let Some(round) = self.round else { return (local_ms, local_ms + 1) };
        let larger = match round.unit {
            RoundUnit::Second => MINUTE_MS,
            RoundUnit::Minute => HOUR_MS,
            RoundUnit::Hour => DAY_MS,
        };
        let base = floor(local_ms, larger);
        let step = self.round_millis();
        let start = base + floor(local_ms - base, step);
        (start, (start + step).min(base + larger))
    }
}

fn round_unit_ms(unit: RoundUnit) -> i64 {
    match unit {
        RoundUnit::Second => SECOND_MS,
        RoundUnit::Minute => MINUTE_MS,
        RoundUnit::Hour => HOUR_MS,
    }
}

fn floor(value: i64, step: i64) -> i64 {
    value - value.rem_euclid(step)
}

fn offset_ms(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * SECOND_MS
}

/// The clock's face for milliseconds that have the offset in them already.
fn local_time(local_ms: i64) -> Option<DateTime> {
    let local = Offset::UTC.to_datetime(Timestamp::from_millisecond(local_ms).ok()?);
    (1..=9999).contains(&local.year()).then_some(local)
}

impl Moment {
    /// A timestamp in UTC, not rounded.
    pub(super) fn utc(timestamp_ms: i64) -> Option<Moment> {
        Calendar::new(TimeZone::UTC, None).moment(timestamp_ms)
    }

    pub(super) fn date(&self) -> Date {
        self.local.date()
    }

    /// The timestamp before rounding.
    pub(super) fn exact_ms(&self) -> i64 {
        self.exact_ms
    }

    /// Appends one escape as Flume writes it in English.
    pub(super) fn write(&self, escape: TimeEscape, out: &mut String) {
        let local = &self.local;
        let hour12 = match local.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        let written = match escape {
            TimeEscape::WeekdayShort => write!(out, "{}", &weekday(local.weekday())[..3]),
            TimeEscape::Weekday => write!(out, "{}", weekday(local.weekday())),
            TimeEscape::MonthShort => write!(out, "{}", &month(local)[..3]),
            TimeEscape::Month => write!(out, "{}", month(local)),
            TimeEscape::DateTime => write!(
                out,
                "{} {} {} {:02}:{:02}:{:02} {}",
                &weekday(local.weekday())[..3],
                &month(local)[..3],
                local.day(),
                local.hour(),
                local.minute(),
                local.second(),
                local.year()
            ),
            TimeEscape::Day => write!(out, "{:02}", local.day()),
            TimeEscape::Date => write!(
                out,
                "{:02}/{:02}/{:02}",
                local.month(),
                local.day(),
                local.year().rem_euclid(100)
            ),
            TimeEscape::DayUnpadded => write!(out, "{}", local.day()),
            TimeEscape::Hour => write!(out, "{:02}", local.hour()),
            TimeEscape::Hour12 => write!(out, "{hour12:02}"),
            TimeEscape::DayOfYear => write!(out, "{:03}", local.day_of_year()),
            TimeEscape::HourUnpadded => write!(out, "{}", local.hour()),
            TimeEscape::Hour12Unpadded => write!(out, "{hour12}"),
            TimeEscape::MonthNumber => write!(out, "{:02}", local.month()),
            TimeEscape::MonthUnpadded => write!(out, "{}", local.month()),
            TimeEscape::Minute => write!(out, "{:02}", local.minute()),
            TimeEscape::AmPm => write!(out, "{}", if local.hour() < 12 { "AM" } else { "PM" }),
            TimeEscape::Seconds => write!(out, "{}", self.rounded_ms.div_euclid(SECOND_MS)),
            TimeEscape::Second => write!(out, "{:02}", local.second()),
            TimeEscape::YearShort => write!(out, "{:02}", local.year().rem_euclid(100)),
            TimeEscape::Year => write!(out, "{:04}", local.year()),
            TimeEscape::Offset => {
                let minutes = self.offset.seconds() / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                write!(out, "{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        };
        written.expect("a String grows");
    }
}

fn weekday(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn month(local: &DateTime) -> &'static str {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    MONTHS[usize::try_from(local.month() - 1).expect("months begin at 1")]
}
