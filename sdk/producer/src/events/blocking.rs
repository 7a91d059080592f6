//! Events from a plain thread.

use std::sync::Arc;
use std::time::Duration;

use sdk_event::Event;
use tokio::runtime::{Builder, Runtime};

use super::builder::{BuildError, ProducerBuilder};
use super::{Delivery, FlushError, Producer, Receipt};
use crate::error::{DeliveryError, SendError};
use crate::metrics::ProducerMetrics;

/// A [`Producer`] for programs without a runtime: its calls block the calling thread.
///
/// Cheap to clone, and to share between threads. Its network work is done by one thread of its own,
/// which ends when the last clone is dropped; [`close`](Self::close) first, or what is still under
/// way then is lost.
///
/// Must not be used inside an asynchronous function: that blocks its runtime, and panics.
///
/// ```no_run
/// use sdk_producer::{Event, Producer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::builder().endpoint("http://node-1:7400").start_blocking()?;
/// std::thread::scope(|scope| {
///     for worker in 0..4 {
///         let producer = producer.clone();
///         scope.spawn(move || {
///             let receipt = producer.send(Event::new(format!("worker {worker}")))?.wait();
///             println!("{receipt:?}");
///             Ok::<_, sdk_producer::SendError>(())
///         });
///     }
/// });
/// producer.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BlockingProducer {
    producer: Producer,
    runtime: Arc<Runtime>,
}

/// The fate of one event, for a thread to wait for.
#[must_use = "without looking at it nobody knows whether the event was stored"]
#[derive(Debug)]
pub struct BlockingDelivery {
    delivery: Delivery,
    runtime: Arc<Runtime>,
}

impl BlockingProducer {
    pub(super) fn start(options: ProducerBuilder) -> Result<BlockingProducer, BuildError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("collector-producer")
            .enable_all()
            .build()
            .map_err(BuildError::Thread)?;
        let producer = {
            let _inside = runtime.enter();
            options.start()?
        };
        Ok(BlockingProducer { producer, runtime: Arc::new(runtime) })
    }

    /// Sends an event; as [`Producer::send`].
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, event: Event) -> Result<BlockingDelivery, SendError> {
        let delivery = self.runtime.block_on(self.producer.send(event))?;
        Ok(self.delivery(delivery))
    }

    /// Sends an event with a deadline of its own.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send_within(
        &self,
        event: Event,
        deadline: Duration,
    ) -> Result<BlockingDelivery, SendError> {
        let delivery = self.runtime.block_on(self.producer.send_within(event, deadline))?;
        Ok(self.delivery(delivery))
    }

    /// Sends an event if there is room now.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, event: Event) -> Result<BlockingDelivery, SendError> {
        Ok(self.delivery(self.producer.try_send(event)?))
    }

    /// As [`Producer::flush`].
    ///
    /// # Errors
    /// How many events were not acknowledged since the flush before.
    pub fn flush(&self) -> Result<(), FlushError> {
        self.runtime.block_on(self.producer.flush())
    }

    /// As [`Producer::close`].
    ///
    /// # Errors
    /// How many events were not acknowledged since the flush before.
    pub fn close(&self) -> Result<(), FlushError> {
        self.runtime.block_on(self.producer.close())
    }

    /// What has happened so far.
    #[must_use]
    pub fn metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }

    fn delivery(&self, delivery: Delivery) -> BlockingDelivery {
        BlockingDelivery { delivery, runtime: Arc::clone(&self.runtime) }
    }
}

impl BlockingDelivery {
    /// Waits until the event's fate is known.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub fn wait(self) -> Result<Receipt, DeliveryError> {
        self.runtime.block_on(self.delivery)
    }
}
