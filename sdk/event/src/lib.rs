//! Events, and the blocks they travel in.
//!
//! An [`Event`] is headers, a body and a time. Producers put many into a [`Block`] with a
//! [`BlockBuilder`]; from there on the block's bytes are stored and forwarded as they are, and
//! whoever must look reads them in place as [`EventRef`]s. `FORMAT.md` beside this crate specifies
//! the bytes, `vectors/` has examples for every language.
//!
//! ```
//! use sdk_event::{Block, BlockBuilder, Codec, ProducerId};
//!
//! let mut builder = BlockBuilder::new(ProducerId([7; 16]), 1, 1);
//! builder.shared_header("host", "web-1")?;
//! builder.push(Some(1_700_000_000_000), [("path", "/")], b"GET / 200")?;
//! builder.push(Some(1_700_000_000_010), [("host", "web-2")], b"GET /cart 200")?;
//! let bytes = builder.finish(Codec::Zstd).bytes().clone();
//!
//! let block = Block::decode(bytes)?;
//! let hosts: Vec<_> = block.events().map(|event| event.header("host")).collect();
//! assert_eq!(hosts, [Some("web-1"), Some("web-2")]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - [`Block::decode`] checks everything once; reading a block afterwards cannot fail and allocates
//!   nothing. An uncompressed block is never copied.
//! - A block is refused whole, with the field, its value and the limit in the [`BlockError`].
//! - An event keeps its [`EventId`] whatever happens to the block around it: [`Block::thin`],
//!   [`BlockBuilder::push_event`], [`BlockBuilder::push_with_sequence`].
//! - `Debug` of blocks and events in them shows where, never what: it may be logged.
//!
//! # Hostile bytes
//!
//! The decoder neither panics nor allocates beyond the limits of [`limits`] whatever it is given. A
//! test mutates the vectors, puts lengths and CRC right again so that the inside is reached, and
//! counts what each decode allocates: 300,000 inputs in a normal run,
//!
//! ```text
//! COLLECTOR_MUTATIONS=10000000 cargo test --release -p sdk-event mutated -- --nocapture
//! ```
//!
//! ten million (14 s on the machine below). It prints its seed; a failure names the
//! `COLLECTOR_SEED` and `COLLECTOR_MUTATION` that repeat it. What zstd allocates itself is not counted: one context per
//! thread that ever decompressed or compressed, of a size that does not depend on the input, since
//! it decompresses in one step into the buffer given.
//!
//! # What it costs
//!
//! Nanoseconds per event, best of 300: blocks of 470 events of 490 bytes, uncompressed, one core of
//! a virtual machine (AMD EPYC), November 2026.
//! `cargo test --release -p sdk-event -- --ignored --nocapture speed` prints them.
//!
//! | own headers | build | decode | walk | walk and look up a header | thin by half |
//! |---|---|---|---|---|---|
//! | 0 | 41 | 24 | 7 | 20 | 34 |
//! | 3 | 71 | 42 | 15 | 31 | 72 |
//!
//! Of decode, 18 are the CRC.

mod block;
mod codec;
mod event;
mod headers;
mod id;
mod level;
pub mod limits;
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
