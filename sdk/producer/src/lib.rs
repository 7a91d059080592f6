//! The Rust SDK: events from an application to a collector node.
//!
//! ```no_run
//! use sdk_producer::{Event, Producer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let producer = Producer::builder().header("app", "shop").start()?;
//! let delivery = producer.send(Event::new("GET /cart 200")).await?;
//! let receipt = delivery.await?;
//! println!("{} is stored, {}", receipt.id, receipt.level);
//! producer.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What holds when
//!
//! | when | then |
//! |---|---|
//! | [`Producer::send`] has returned | the event has an id and a place in the window of what may be unanswered; nothing is promised yet |
//! | its [`Delivery`] gives a [`Receipt`] | it is stored as [`Receipt::level`] says, once, under [`Receipt::id`] |
//! | its [`Delivery`] gives an error with [`is_certain`](DeliveryError::is_certain) | it is certainly not stored |
//! | any other error | it may be stored: sending it again may store it twice |
//! | [`Producer::flush`] has returned | every event sent before has its answer |
//! | [`Producer::close`] has returned | the same, and the node may forget the producer |
//!
//! Until then everything is sent again with the same ids, over new connections and to other
//! endpoints, so that it is stored once; until its deadline passes. Events are stored in the order in which
//! they were sent.
//!
//! # Which type
//!
//! - [`Producer`] in asynchronous programs, [`BlockingProducer`] in plain threads: events, batched
//!   into blocks.
//! - [`BlockStream`] for programs that make their own blocks and keep their own ids: agents, load
//!   generators.

mod breaker;
mod endpoint;
mod error;
mod metrics;
mod retry;
mod stream;

mod events;

pub use breaker::{BreakerOptions, BreakerState};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{DeliveryError, Rejected, SendError};
pub use events::{
    BlockingDelivery, BlockingProducer, BuildError, Delivery, FlushError, OnFull, Producer,
    ProducerBuilder, Receipt,
};
pub use metrics::ProducerMetrics;
pub use retry::RetryOptions;
pub use sdk_event::{Event, EventId, Level, ProducerId};
pub use sdk_tls::{Client, ClientFiles, LoadError};
pub use stream::{
    BlockAnswer, BlockStream, OnExpired, OnRejected, Stored, StreamOptions, with_generation,
};
