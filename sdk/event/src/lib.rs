//! Events, and the blocks they travel in.

pub mod limits;

mod block;
mod codec;
mod event;
mod headers;
mod id;
mod level;
mod lineage;
mod varint;

pub use block::{
    Block, BlockBuilder, BlockError, BlockHeader, EventRef, Events, HeaderKey, Place, PushError,
};
pub use codec::{Codec, ParseCodecError};
pub use event::Event;
pub use headers::Headers;
pub use id::{EventId, ParseIdError, ProducerId};
pub use level::{Level, ParseLevelError};
pub use lineage::Lineage;
