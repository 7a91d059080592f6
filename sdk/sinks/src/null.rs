//! `null`: nowhere.

use async_trait::async_trait;
use sdk_config::NullSink;
use sdk_flow::{Batch, Sink, SinkError};
use tracing::info;

/// Takes everything and keeps nothing but the count.
pub struct Null {
    log_every: u64,
    events: u64,
}

impl Null {
    /// A sink as `spec` says.
    #[must_use]
    pub fn new(spec: &NullSink) -> Null {
        Null { log_every: spec.log_every_n_events, events: 0 }
    }
}

#[async_trait]
impl Sink for Null {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let before = self.events;
        self.events += batch.len() as u64;
        let passed = |events: u64| events.checked_div(self.log_every).unwrap_or(0);
        if passed(self.events) > passed(before) {
            info!(events = self.events, "null sink has dropped events");
        }
        Ok(())
    }
}
