//! Sinks that agents and nodes both run, each a few lines. The file sink is `sdk-files`.

mod collector;
mod logger;
mod null;

pub use collector::Collector;
pub use logger::Logger;
pub use null::Null;
