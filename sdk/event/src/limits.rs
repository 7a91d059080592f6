//! What a block and its events may hold. Builder and decoder enforce the same numbers.

use std::time::Duration;

/// Bytes of a block with its body uncompressed, header included.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;

/// Bytes of a message that carries one block over the wire.
pub const MESSAGE_BYTES_MAX: usize = BLOCK_BYTES_MAX + (64 << 10);

/// Events of a block.
pub const EVENTS_MAX: usize = 65_536;

/// Distinct header keys of a block.
pub const KEYS_MAX: usize = 1_024;

/// Bytes of an event's body.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Headers of an event, those it shares with its block included.
pub const HEADERS_MAX: usize = 64;

/// Bytes of a header's key. A key has at least one.
pub const HEADER_KEY_BYTES_MAX: usize = 128;

/// Bytes of a header's value.
pub const HEADER_VALUE_BYTES_MAX: usize = 4_096;

/// Bytes of an event's keys and values together, those it shares with its block included.
pub const HEADER_BYTES_MAX: usize = 16 << 10;

/// Bytes at which a producer closes a block and begins the next.
pub const BLOCK_TARGET_BYTES: usize = 256 << 10;

/// How long a producer waits for a block to fill.
pub const LINGER: Duration = Duration::from_millis(5);
