//! Who sent an event, and which of theirs it is.

use std::fmt;
use std::str::FromStr;

/// 128 random bits that name a producer. Written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProducerId(pub [u8; 16]);

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProducerId({self})")
    }
}

impl FromStr for ProducerId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(digits) {
            return Err(ParseIdError::Producer(text.to_owned()));
        }
        let bits = u128::from_str_radix(text, 16);
        bits.map(|bits| ProducerId(bits.to_be_bytes()))
            .map_err(|_| ParseIdError::Producer(text.to_owned()))
    }
}

/// Names one event for ever: whatever happens to the block around it, its id stays.
///
/// Written `<producer>-<generation>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Who sent it.
    pub producer: ProducerId,
    /// Which numbering of that producer.
    pub generation: u64,
    /// Its number in that generation.
    pub sequence: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.producer, self.generation, self.sequence)
    }
}

impl FromStr for EventId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = || ParseIdError::Event(text.to_owned());
        let mut parts = text.split('-');
        let (Some(producer), Some(generation), Some(sequence), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        Ok(EventId {
            producer: producer.parse()?,
            generation: decimal(generation).ok_or_else(wrong)?,
            sequence: decimal(sequence).ok_or_else(wrong)?,
        })
    }
}

/// A number as we print it: digits alone, no sign, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Wanted a producer id.
    #[error("\"{0}\" is no producer id: 32 lower-case hex digits")]
    Producer(String),
    /// Wanted an event id.
    #[error("\"{0}\" is no event id: <producer>-<generation>-<sequence>")]
    Event(String),
    /// Wanted a lineage.
    #[error("\"{0}\" is no lineage: <flow>/<shard>/<epoch>")]
    Lineage(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_written() {
        let mut bytes = [0; 16];
        bytes[0] = 0x0a;
        bytes[15] = 0xff;
        let id = EventId { producer: ProducerId(bytes), generation: 7, sequence: u64::MAX };
        assert_eq!(id.to_string(), "0a0000000000000000000000000000ff-7-18446744073709551615");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn only_the_written_form_is_an_id() {
        let upper = "0A0000000000000000000000000000ff";
        assert!(upper.parse::<ProducerId>().is_err());
        assert!("+a0000000000000000000000000000ff".parse::<ProducerId>().is_err());
        for tail in ["-7", "-07-1", "-+7-1", "-7-1-1", "-7-", "-7-18446744073709551616"] {
            let text = format!("0a0000000000000000000000000000ff{tail}");
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
