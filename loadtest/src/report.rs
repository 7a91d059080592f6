//! What a run says at its end. The names are the fields of the JSON.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Of `run`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunReport {
    pub(crate) offered_per_second: f64,
    pub(crate) acked_events: u64,
    pub(crate) acked_events_per_second: f64,
    pub(crate) rejected: u64,
    pub(crate) unknown: u64,
    pub(crate) ack_ms: Quantiles,
    pub(crate) client_cpu_seconds: f64,
    /// Blocks that were sent more than once, each time counted.
    pub(crate) retried_blocks: u64,
}

/// Of `calls`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallsReport {
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    pub(crate) failed: u64,
    pub(crate) call_ms: Quantiles,
    pub(crate) client_cpu_seconds: f64,
}

/// How soon, in milliseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    /// Of a histogram of microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1_000.0;
        Self {
            p50: ms(histogram.value_at_quantile(0.5)),
            p99: ms(histogram.value_at_quantile(0.99)),
            p999: ms(histogram.value_at_quantile(0.999)),
            max: ms(histogram.max()),
        }
    }
}
