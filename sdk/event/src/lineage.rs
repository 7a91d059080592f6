//! One numbering of offsets: a shard of a flow in one epoch.

use std::fmt;
use std::str::FromStr;

use crate::id::{ParseIdError, decimal};

/// A shard of a flow in one epoch. Offsets begin at 0 in each.
///
/// Orders by flow, shard, epoch. Written `<flow>/<shard>/<epoch>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage {
    /// The Raft index at which the flow was created.
    pub flow: u64,
    /// Which shard of the flow.
    pub shard: u32,
    /// Which ownership of the shard.
    pub epoch: u64,
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.flow, self.shard, self.epoch)
    }
}

impl FromStr for Lineage {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let mut parts = text.split('/').map(decimal);
            let (flow, shard, epoch) = (parts.next()??, parts.next()??, parts.next()??);
            let shard = u32::try_from(shard).ok()?;
            parts.next().is_none().then_some(Lineage { flow, shard, epoch })
        };
        parse().ok_or_else(|| ParseIdError::Lineage(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_reads_back_as_written() {
        let lineage = Lineage { flow: 12, shard: 3, epoch: 40 };
        assert_eq!(lineage.to_string(), "12/3/40");
        assert_eq!("12/3/40".parse(), Ok(lineage));
        for text in ["12/3", "12/3/40/1", "12/4294967296/1", "12/03/1", ""] {
            assert!(text.parse::<Lineage>().is_err(), "{text}");
        }
    }
}
