//! How fast each flow takes events in.

use super::{BookRow, Figures, freshness};
use crate::rate::Rate;
use sdk_event::Lineage;
use server_cluster::FlowId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the counters are looked at when nobody asks.
const EVERY: Duration = Duration::from_secs(1);

/// What is kept of a flow from one look to the next.
#[derive(Default)]
pub(super) struct FlowRates {
    events: Rate,
    bytes: Rate,
    pub(super) bytes_stored: BTreeMap<Lineage, u64>,
    /// Of lineages that are gone, so that the sum never falls.
    bytes_gone: u64,
    pub(super) quiet: freshness::Quiet,
}

/// A flow's events at one look.
pub(super) struct FlowRate {
    pub(super) acknowledged: u64,
    pub(super) events_per_second: f64,
    pub(super) bytes_per_second: f64,
}

impl FlowRates {
    /// All bytes that the flow ever stored, those of its present lineages given.
    fn ever_stored(&mut self, stored: BTreeMap<Lineage, u64>) -> u64 {
        let gone = self.bytes_stored.iter().filter(|(lineage, _)| !stored.contains_key(lineage));
        self.bytes_gone += gone.map(|(_, bytes)| bytes).sum::<u64>();
        self.bytes_stored = stored;
        self.bytes_gone + self.bytes_stored.values().sum::<u64>()
    }
}

impl Figures {
    /// Looks at the counters until `stop`: whoever asks first hears of the seconds before, too.
    pub(crate) async fn follow_rates(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let books = self.books();
            let mut rates = self.rates.lock().expect("no panic while the lock is held");
            for (_, flow) in self.flows.all().iter() {
                self.rate(flow.id, &books, rates.entry(flow.id).or_default());
            }
        }
    }

    pub(super) fn rate(&self, flow: FlowId, books: &[BookRow], known: &mut FlowRates) -> FlowRate {
        let now = self.clock.monotonic();
        let own = self.lineages.all().into_iter().filter(|(lineage, _)| lineage.flow == flow);
        let stored = own.map(|(lineage, held)| (lineage, held.held.totals().1.log_bytes));
        let bytes = known.ever_stored(stored.collect());
        let books = books.iter().filter(|book| book.row.flow == flow);
        let acknowledged = books.map(|book| book.stored).max().unwrap_or(0);
        FlowRate {
            acknowledged,
            events_per_second: known.events.sample(now, acknowledged),
            bytes_per_second: known.bytes.sample(now, bytes),
        }
    }
}
