//! A length of time as people write it: `"30s"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A length of time in whole milliseconds. Written with its units (`ms`, `s`, `m`, `h`, `d`; several
/// may follow each other, as in `"1h30m"`); only zero may stand alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationText(Duration);

/// `ms` stands before `m` and `s`: the first that fits is taken.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

impl DurationText {
    /// No time at all, which mostly means "off".
    pub const ZERO: DurationText = DurationText(Duration::ZERO);

    /// `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> DurationText {
        DurationText(Duration::from_millis(millis))
    }

    /// `seconds` seconds.
    pub const fn from_secs(seconds: u64) -> DurationText {
        DurationText(Duration::from_secs(seconds))
    }

    /// The length of time.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The length of time, or `None` for zero where zero means "off".
    pub const fn non_zero(self) -> Option<Duration> {
        if self.0.is_zero() { None } else { Some(self.0) }
    }

    /// Whether this is zero.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Whole milliseconds.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl From<DurationText> for Duration {
    fn from(text: DurationText) -> Duration {
        text.0
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.millis();
        if millis == 0 {
            return f.write_str("0");
        }
        let largest_first = [UNITS[0], UNITS[1], UNITS[3], UNITS[4], UNITS[2]];
        let exact = largest_first.iter().find(|(_, unit)| millis.is_multiple_of(*unit));
        let (name, unit) = exact.copied().unwrap_or(UNITS[2]);
        write!(f, "{}{name}", millis / unit)
    }
}

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number alone.
    #[error("a duration has a unit\nhelp: write `\"{0}s\"`, or `\"{0}ms\"` for milliseconds")]
    NoUnit(u64),
    /// Letters that are no unit.
    #[error("`{0}` is not a unit of time\nhelp: the units are ms, s, m, h and d")]
    Unit(String),
    /// No number in front.
    #[error("a duration is a whole number and a unit\nhelp: for example `\"30s\"`")]
    Number,
    /// More than a million years.
    #[error("the duration is too long\nhelp: the longest is `\"1000000d\"`")]
    Overflow,
}

/// Longer texts are refused as a mistake, and every sum below stays far from overflow.
const MILLIS_MAX: u64 = 1_000_000 * 86_400_000;

impl FromStr for DurationText {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<DurationText, DurationError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(DurationError::Number);
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, after) = rest.split_at(digits);
            if digits.is_empty() {
                return Err(DurationError::Number);
            }
            let number: u64 = digits.parse().map_err(|_| DurationError::Overflow)?;
            let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let unit = unit.trim();
            if unit.is_empty() {
                let zero = number == 0 && total == 0 && after.is_empty();
                return if zero { Ok(Self::ZERO) } else { Err(DurationError::NoUnit(number)) };
            }
            let known = UNITS.iter().find(|(name, _)| *name == unit);
            let Some((_, millis)) = known else {
                return Err(DurationError::Unit(unit.to_owned()));
            };
            let part = number.checked_mul(*millis).ok_or(DurationError::Overflow)?;
            total = total.saturating_add(part);
            if total > MILLIS_MAX {
                return Err(DurationError::Overflow);
            }
            rest = after.trim_start();
        }
        Ok(DurationText::from_millis(total))
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DurationText, D::Error> {
        struct DurationVisitor;

        impl Visitor<'_> for DurationVisitor {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"30s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<DurationText, E> {
                match number {
                    0 => Ok(DurationText::ZERO),
                    _ => Err(E::custom(DurationError::NoUnit(number))),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<DurationText, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::custom(DurationError::Number)),
                }
            }
        }

        deserializer.deserialize_any(DurationVisitor)
    }
}
