//! What is seen of the parts while they run.

mod sink;
mod source;

pub(crate) use sink::{SharedSink, SinkWatch};
pub(crate) use source::SourceWatch;
