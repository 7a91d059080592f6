//! Sources that agents and nodes both run.
//!
//! A source here fetches: it puts, waits for the receipt, and moves on by it.
//! Where it stands travels in the put record, so that one which is killed at any
//! moment begins again exactly where its last stored put ended.

mod putter;
mod seq;
mod taildir;

use std::sync::Arc;

use sdk_config::SourceSpec;
use sdk_flow::{Clock, Source, SourceStart};

pub use seq::Seq;
pub use taildir::{BuildError, FileLag, Taildir, TaildirCounts, TaildirStats};

/// The source that `spec` describes, ready to run, or `None` for one that is
/// not of this crate (`collector`).
///
/// # Errors
/// When a glob or a pattern is none.
pub fn build(
    spec: &SourceSpec,
    start: SourceStart,
    clock: Arc<dyn Clock>,
) -> Result<Option<Built>, BuildError> {
    Ok(match spec {
        SourceSpec::Seq(spec) => Some(Built { source: Box::new(Seq::new(spec, start)), lag: None }),
        SourceSpec::Taildir(spec) => {
            let source = Taildir::build(spec, start, clock)?;
            let lag = Some(source.stats());
            Some(Built { source: Box::new(source), lag })
        }
        SourceSpec::Collector(_) => None,
    })
}

/// A source that has not begun, and what can be watched of it.
pub struct Built {
    /// The source.
    pub source: Box<dyn Source>,
    /// For `taildir`: how far behind each file it is.
    pub lag: Option<Arc<TaildirStats>>,
}
