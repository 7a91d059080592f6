//! What builds an edge's sinks.

use std::sync::Arc;

use sdk_config::SinkSpec;
use sdk_flow::{BoxError, Entropy, Sink};
use sdk_sinks::{Collector, Logger, Null};

/// Builds sinks from their specs. Another one than [`StandardSinks`] adds sinks
/// that are not of `sdk`, or stands in for them in tests.
pub trait SinkBuilder: Send + Sync {
    /// The sink `name` of `flow`. Called once for each sink at the start; it need
    /// not reach its destination for that.
    ///
    /// # Errors
    /// When there can be no such sink here.
    fn build(&self, flow: &str, name: &str, spec: &SinkSpec) -> Result<Box<dyn Sink>, BoxError>;
}

/// The sinks `collector`, `logger` and `null`.
pub struct StandardSinks {
    entropy: Arc<dyn Entropy>,
}

impl StandardSinks {
    /// Sinks that draw their randomness there.
    #[must_use]
    pub fn new(entropy: Arc<dyn Entropy>) -> StandardSinks {
        StandardSinks { entropy }
    }
}

impl SinkBuilder for StandardSinks {
    fn build(&self, flow: &str, _name: &str, spec: &SinkSpec) -> Result<Box<dyn Sink>, BoxError> {
        Ok(match spec {
            SinkSpec::Collector(spec) => {
                Box::new(Collector::new(spec, flow, Arc::clone(&self.entropy))?)
            }
            SinkSpec::Logger(spec) => Box::new(Logger::new(spec)),
            SinkSpec::Null(spec) => Box::new(Null::new(spec)),
            SinkSpec::Files(_) => return Err("a sink of type `files` runs on a node".into()),
        })
    }
}
