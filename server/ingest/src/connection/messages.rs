//! Tells one gRPC message from the next in a request's body.

use std::collections::VecDeque;

/// A flag and a length.
const HEADER_BYTES: usize = 5;

/// Counts what each message takes on the wire. What is in it says less: fields that are not known are
/// dropped when it is read.
#[derive(Debug, Default)]
pub(super) struct Messages {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    content_left: usize,
    /// Bytes of the message that is coming.
    bytes: usize,
    /// Those that are complete and were not taken, in their order.
    complete: VecDeque<usize>,
}

impl Messages {
    /// Moves on over `bytes`.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let part = if self.header_len < HEADER_BYTES {
                let part = (HEADER_BYTES - self.header_len).min(bytes.len());
                self.header[self.header_len..self.header_len + part]
                    .copy_from_slice(&bytes[..part]);
                self.header_len += part;
                let [_, length @ ..] = self.header;
                self.content_left = u32::from_be_bytes(length) as usize;
                part
            } else {
                let part = self.content_left.min(bytes.len());
                self.content_left -= part;
                part
            };
            self.bytes += part;
            bytes = &bytes[part..];
            if self.header_len == HEADER_BYTES && self.content_left == 0 {
                self.complete.push_back(std::mem::take(&mut self.bytes));
                self.header_len = 0;
            }
        }
    }

    /// What the next message took, its header included.
    pub(super) fn take(&mut self) -> usize {
        self.complete.pop_front().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_the_bytes_are_cut() {
        let lengths = [0, 300, 1, 0, 70_000, 5];
        let mut body = Vec::new();
        for length in lengths {
            body.push(0);
            body.extend(u32::try_from(length).expect("small").to_be_bytes());
            body.resize(body.len() + length, 7);
        }
        body.extend([0, 0, 0]);
        for size in [1, 4, 5, 6, 299, 4096, body.len()] {
            let mut messages = Messages::default();
            body.chunks(size).for_each(|bytes| messages.feed(bytes));
            for length in lengths {
                assert_eq!(messages.take(), length + 5, "in pieces of {size}");
            }
            assert_eq!(messages.take(), 0, "the last is not complete");
        }
    }
}
