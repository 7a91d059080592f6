//! What a node asks of the state to know what it has to do, and what people are shown.

mod audit;
mod drains;
mod shards;
mod status;

pub use self::audit::{AuditRow, LineageBook};
pub use self::drains::Drain;
pub use self::shards::SealDue;
pub use self::status::{BucketStatus, PenaltyStatus};
