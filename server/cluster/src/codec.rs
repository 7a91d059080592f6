//! The bytes of commands and snapshots: a magic, a version, then postcard.
//!
//! A version stands for the exact shape of the types behind it. Whoever changes that shape raises
//! the version, keeps reading the ones before, and lets the cluster write the new one only once its
//! feature level says that every node reads it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Command, State};

const COMMAND_MAGIC: [u8; 4] = *b"CLcm";
const SNAPSHOT_MAGIC: [u8; 4] = *b"CLst";
/// The newest command version this build reads, and the one it writes.
pub const COMMAND_VERSION: u16 = 1;
/// The newest snapshot version this build reads, and the one it writes.
pub const SNAPSHOT_VERSION: u16 = 1;

/// Why bytes were not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Stop: these are other bytes than they were taken for.
    #[error("not a {what} of the replicated state")]
    Foreign {
        /// What they were taken for.
        what: &'static str,
    },
    /// Stop and upgrade this program.
    #[error(
        "this {what} was written by a newer release (format {version}, this one reads up to \
         {newest}): start that release instead"
    )]
    Newer {
        /// What it is.
        what: &'static str,
        /// The version found.
        version: u16,
        /// The newest version known here.
        newest: u16,
    },
    /// Stop: the bytes are damaged.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// What it is.
        what: &'static str,
        /// Where reading failed.
        reason: String,
    },
}

/// The bytes of a command.
pub fn encode_command(command: &Command) -> Vec<u8> {
    encode(COMMAND_MAGIC, COMMAND_VERSION, command)
}

/// Reads a command.
pub fn decode_command(bytes: &[u8]) -> Result<Command, DecodeError> {
    decode("command", COMMAND_MAGIC, COMMAND_VERSION, bytes)
}

/// The bytes of the whole state. Equal states have equal bytes.
pub fn encode_snapshot(state: &State) -> Vec<u8> {
    encode(SNAPSHOT_MAGIC, SNAPSHOT_VERSION, state)
}

/// Reads a whole state.
pub fn decode_snapshot(bytes: &[u8]) -> Result<State, DecodeError> {
    let mut state: State = decode("snapshot", SNAPSHOT_MAGIC, SNAPSHOT_VERSION, bytes)?;
    state.recount();
    Ok(state)
}

fn encode<T: Serialize>(magic: [u8; 4], version: u16, value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&version.to_le_bytes());
    postcard::to_extend(value, bytes).expect("plain data in memory always encodes")
}

fn decode<T: DeserializeOwned>(
    what: &'static str,
    magic: [u8; 4],
    newest: u16,
    bytes: &[u8],
) -> Result<T, DecodeError> {
    let Some((head, body)) = bytes.split_at_checked(6) else {
        return Err(DecodeError::Foreign { what });
    };
    if head[..4] != magic {
        return Err(DecodeError::Foreign { what });
    }
    let version = u16::from_le_bytes([head[4], head[5]]);
    if version > newest {
        return Err(DecodeError::Newer { what, version, newest });
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => {
            Err(DecodeError::Damaged { what, reason: format!("{} bytes left over", rest.len()) })
        }
        Err(error) => Err(DecodeError::Damaged { what, reason: error.to_string() }),
    }
}
