//! What an acknowledgement promises.

use std::fmt;
use std::str::FromStr;

/// Where the bytes are when a block is acknowledged. A later one promises more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// In the memory of one node: nothing is promised.
    Received,
    /// In the log of one node, `fdatasync` returned: survives kill and power cut of that node.
    Local,
    /// The same on every replica: survives the loss of any one node.
    Replicated,
    /// In final files (or dead letters): survives the loss of all aggregators' disks.
    Committed,
}

impl Level {
    /// Every level, weakest first.
    pub const ALL: [Level; 4] =
        [Level::Received, Level::Local, Level::Replicated, Level::Committed];

    /// Its name in configuration, flags and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Received => "received",
            Level::Local => "local",
            Level::Replicated => "replicated",
            Level::Committed => "committed",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, ParseLevelError> {
        let named = Level::ALL.into_iter().find(|level| level.name() == text);
        named.ok_or_else(|| ParseLevelError(text.to_owned()))
    }
}

/// The text names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no level: received, local, replicated or committed")]
pub struct ParseLevelError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_order_by_promise_and_read_back_as_written() {
        assert!(Level::ALL.is_sorted());
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("Local".parse::<Level>().is_err());
    }
}
