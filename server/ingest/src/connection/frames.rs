//! Tells DATA from the rest in a stream of HTTP/2 frames.

/// The bytes that every HTTP/2 client sends first.
const PREFACE_BYTES: usize = 24;

/// The header of a frame: length (3), type, flags, stream (4).
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;

/// Counts the bytes that belong to the payload of DATA frames.
///
/// It only counts: whether the bytes make sense is decided by the HTTP/2 library behind it.
#[derive(Debug)]
pub(super) struct Frames {
    preface_left: usize,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    payload_left: usize,
    is_data: bool,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames {
            preface_left: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_len: 0,
            payload_left: 0,
            is_data: false,
        }
    }

    /// Whether the preface has not come in full.
    pub(super) fn is_before_first_frame(&self) -> bool {
        self.preface_left > 0
    }

    /// Moves on over `bytes`; returns how many of them are DATA payload.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        bytes = &bytes[preface..];
        let mut data = 0;
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let payload = self.payload_left.min(bytes.len());
                self.payload_left -= payload;
                data += if self.is_data { payload } else { 0 };
                bytes = &bytes[payload..];
                continue;
            }
            let part = (HEADER_BYTES - self.header_len).min(bytes.len());
            self.header[self.header_len..self.header_len + part].copy_from_slice(&bytes[..part]);
            self.header_len += part;
            bytes = &bytes[part..];
            if self.header_len == HEADER_BYTES {
                self.header_len = 0;
                let [high, middle, low, kind, ..] = self.header;
                self.payload_left = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.is_data = kind == DATA;
            }
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload).expect("small").to_be_bytes();
        let mut frame = vec![high, middle, low, kind, 0, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + payload, 7);
        frame
    }

    #[test]
    fn counts_data_however_the_bytes_are_cut() {
        let mut stream = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, payload) in [(4, 0), (1, 30), (DATA, 1000), (DATA, 0), (8, 4), (DATA, 17)] {
            stream.extend(frame(kind, payload));
        }
        for size in [1, 2, 7, 9, 24, 25, 100, stream.len()] {
            let mut frames = Frames::new();
            let data: usize = stream.chunks(size).map(|bytes| frames.feed(bytes)).sum();
            assert_eq!(data, 1017, "in pieces of {size}");
            assert!(!frames.is_before_first_frame());
        }
    }
}
