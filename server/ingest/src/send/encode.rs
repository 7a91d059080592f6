//! Calls into a block.

use sdk_event::{Block, BlockBuilder, Codec, PushError};

use super::Call;

/// Encodes the events of the first calls of `calls`, as many as fit in one block; returns the block
/// and how many that were. No block if the first call alone does not fit, with the reason.
///
/// # Errors
/// Why the first call does not fit.
pub(super) fn encode(
    builder: &mut BlockBuilder,
    mut reset: impl FnMut(&mut BlockBuilder),
    calls: &[Call],
) -> Result<(Block, usize), PushError> {
    let mut count = calls.len();
    loop {
        reset(builder);
        match push_all(builder, &calls[..count]) {
            Ok(()) => return Ok((builder.finish(Codec::None), count)),
            // Part of a call is in the builder: begin again without that call.
            Err((0, error)) => return Err(error),
            Err((full, _)) => count = full,
        }
    }
}

/// On an error the number of the call that it is about.
fn push_all(builder: &mut BlockBuilder, calls: &[Call]) -> Result<(), (usize, PushError)> {
    for (index, call) in calls.iter().enumerate() {
        for event in &call.events {
            let headers = event.headers.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            builder
                .push(event.timestamp_ms, headers, &event.body)
                .map_err(|error| (index, error))?;
        }
    }
    Ok(())
}
