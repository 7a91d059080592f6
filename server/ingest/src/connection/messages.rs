//! Tells one gRPC message from the next in a request's body.

use std::collections::VecDeque;

/// A flag and a length.
const HEADER_BYTES: usize = 5;

/// A message longer than this is given out apart from its header and from what comes behind it.
const SHORT_BYTES_MAX: usize = 4096;

/// Counts what each message takes on the wire, and says where a body is to be cut. What is in it says less: fields that are not known are
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
    /// Moves on over `bytes`, up to the end of a long message's header or content; returns how many of
    /// them that is.
    ///
    /// tonic gathers a message in a buffer for which it asks when it has read the header. What stands in
    /// its buffer by then is copied again, and room for the message is made a second time behind it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut fed = 0;
        while fed < bytes.len() {
            let bytes = &bytes[fed..];
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
            fed += part;
            let header = self.bytes == HEADER_BYTES;
            let long = self.bytes + self.content_left > HEADER_BYTES + SHORT_BYTES_MAX;
            let end = self.header_len == HEADER_BYTES && self.content_left == 0;
            if end {
                self.complete.push_back(std::mem::take(&mut self.bytes));
                self.header_len = 0;
            }
            if long && (header || end) {
                break;
            }
        }
        fed
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
            for mut bytes in body.chunks(size) {
                while !bytes.is_empty() {
                    bytes = &bytes[messages.feed(bytes)..];
                }
            }
            for length in lengths {
                assert_eq!(messages.take(), length + 5, "in pieces of {size}");
            }
            assert_eq!(messages.take(), 0, "the last is not complete");
        }
    }

    #[test]
    fn a_long_message_stands_apart_and_short_ones_together() {
        let mut body = Vec::new();
        for length in [10, 20, 70_000, 30, 40] {
            body.push(0);
            body.extend(u32::to_be_bytes(length));
            body.resize(body.len() + length as usize, 7);
        }
        let mut messages = Messages::default();
        let mut cuts = Vec::new();
        let mut at = 0;
        while at < body.len() {
            let fed = messages.feed(&body[at..]);
            cuts.push(fed);
            at += fed;
        }
        assert_eq!(cuts, [15 + 25 + 5, 70_000, 35 + 45]);
    }
}
