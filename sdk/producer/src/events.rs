//! Events, one at a time, batched into blocks.

mod batch;
mod blocking;
mod builder;
mod delivery;
mod producer;

pub use blocking::{BlockingDelivery, BlockingProducer};
pub use builder::{BuildError, OnFull, ProducerBuilder};
pub use delivery::{Delivery, Receipt};
pub use producer::{FlushError, Producer};
