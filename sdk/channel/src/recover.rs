//! What a start reads back from the log.
//!
//! All of this reads the disk on its caller's thread, and little of it: checkpoints
//! are listed by the log, and a table is rebuilt from the latest one on.

mod books;
mod rebuild;

pub use books::{first_put_time, lost_events, sequences_behind, totals_below};
pub use rebuild::{Rebuilt, rebuild};

pub(crate) use books::bytes_below;

use sdk_event::Lineage;
use sdk_wal::{AppendError, Body, Entry, Log, LogReadError, Purpose};

use crate::record::{RecordError, encode_stop, kind};

/// Why the log could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk failed, or the log is not what it should be.
    #[error("the log cannot be read")]
    Log(#[source] LogReadError),
    /// A record is not one of ours, or a later program wrote it.
    #[error("record {offset} of lineage {lineage} cannot be read")]
    Record {
        /// Its lineage.
        lineage: Lineage,
        /// Its offset.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// The view failed while the table was being rebuilt.
    #[error("the view lost what it was given")]
    View,
}

/// Promises that this log takes no more of a lineage, and returns the lineage's
/// length here: what lies below the promise. A promise made before counts.
///
/// An heir does this before it measures: whoever measures first can lose what is
/// acknowledged in between.
///
/// # Errors
/// When the promise could not be stored.
pub async fn stop_lineage(log: &Log, lineage: Lineage, now_ms: i64) -> Result<u64, AppendError> {
    let end = log.end(lineage);
    if let Some(last) = end.checked_sub(1)
        && let Ok(Some(record)) = log.reader(lineage, last).next()
        && record.kind == kind::STOP
    {
        return Ok(record.first_offset);
    }
    let stop = Entry {
        lineage,
        kind: kind::STOP,
        purpose: Purpose::Drain,
        first_offset: end,
        count: 1,
        put_time_ms: now_ms,
        identity: None,
        body: Body::from(encode_stop()),
    };
    log.append(stop)?.await?;
    Ok(end)
}
