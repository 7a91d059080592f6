//! A number of bytes as people write it: `"128MiB"`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A number of bytes. Written with its unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`, or the decimal `KB`,
/// `MB`, `GB`, `TB`); only zero may stand alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// `count` binary kilobytes.
    pub const fn kib(count: u64) -> ByteSize {
        ByteSize(count << 10)
    }

    /// `count` binary megabytes.
    pub const fn mib(count: u64) -> ByteSize {
        ByteSize(count << 20)
    }

    /// `count` binary gigabytes.
    pub const fn gib(count: u64) -> ByteSize {
        ByteSize(count << 30)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Whether this is zero, which mostly means "off".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> u64 {
        size.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let exact = UNITS.iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes));
        let (unit, bytes) = exact.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A number alone.
    #[error("a size has a unit\nhelp: write `\"{0}B\"`, `\"{0}KiB\"` or `\"{0}MiB\"`")]
    NoUnit(u64),
    /// Letters that are no unit.
    #[error("`{unit}` is not a unit of size\nhelp: {help}")]
    Unit {
        /// What stands after the number.
        unit: String,
        /// What to write.
        help: String,
    },
    /// No number in front.
    #[error("a size is a whole number and a unit\nhelp: for example `\"128MiB\"`")]
    Number,
    /// More than 2⁶⁴ bytes.
    #[error("the size is too large\nhelp: the largest is `\"16777215TiB\"`")]
    Overflow,
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<ByteSize, SizeError> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits);
        if digits.is_empty() {
            return Err(SizeError::Number);
        }
        let number: u64 = digits.parse().map_err(|_| SizeError::Overflow)?;
        let unit = unit.trim();
        if unit.is_empty() {
            return if number == 0 { Ok(ByteSize(0)) } else { Err(SizeError::NoUnit(number)) };
        }
        let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let Some((_, bytes)) = known else {
            return Err(SizeError::Unit { unit: unit.to_owned(), help: unit_help(number, unit) });
        };
        number.checked_mul(*bytes).map(ByteSize).ok_or(SizeError::Overflow)
    }
}

fn unit_help(number: u64, unit: &str) -> String {
    let known = ["KiB", "MiB", "GiB", "TiB"];
    let same = |name: &&str| unit.len() == 1 && name[..1].eq_ignore_ascii_case(unit);
    match known.into_iter().find(same) {
        Some(name) => format!("did you mean `\"{number}{name}\"`?"),
        None => "the units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB".to_owned(),
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"128MiB\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ByteSize, E> {
                if number == 0 {
                    Ok(ByteSize(0))
                } else {
                    Err(E::custom(SizeError::NoUnit(number)))
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ByteSize, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::custom(SizeError::Number)),
                }
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}
