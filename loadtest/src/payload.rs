//! Bodies that say which event they are, and whether a byte of them has changed.
//!
//! `<producer> <sequence> <filler> <crc>`: producer and CRC32C are 8 hex digits, the sequence is
//! decimal, the CRC covers all before its blank. No newline, so that a body is a line of a text file.

use sdk_event::ProducerId;

/// The shortest body: nothing of the identity may be cut.
pub(crate) const BODY_BYTES_MIN: usize = 40;

/// Makes the bodies of one producer, all of one length, in one buffer.
///
/// A CRC is linear: what a digit at a place adds to it is the same whatever the others are. So each
/// body costs only the digits in which its sequence differs from the one before.
pub(crate) struct Payload {
    body: Vec<u8>,
    prefix: usize,
    /// The sequence that the body has now.
    sequence: u64,
    crc: u32,
    /// What a digit at a place of the sequence adds to the CRC.
    digits: [[u32; 10]; SEQUENCE_DIGITS],
}

/// Which event a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer: u32,
    pub(crate) sequence: u64,
}

impl Payload {
    pub(crate) fn new(producer: ProducerId, body_bytes: usize) -> Self {
        let mut body = format!("{:08x} {:0SEQUENCE_DIGITS$} ", short(producer), 0).into_bytes();
        let prefix = PRODUCER_DIGITS + 1;
        // The filler is text like a log's, and compresses like one.
        let filler = b"GET /products/42?color=green&size=11 HTTP/1.1 200 5123 - Mozilla/5.0 (X11; Linux x86_64) ";
        let length = body_bytes.max(BODY_BYTES_MIN) - CRC_DIGITS - 1 - body.len();
        body.extend(filler.iter().cycle().take(length));
        let crc = crc32c::crc32c(&body);
        let mut digits = [[0; 10]; SEQUENCE_DIGITS];
        for (place, crcs) in digits.iter_mut().enumerate() {
            for (digit, added) in (b'0'..).zip(crcs) {
                body[prefix + place] = digit;
                *added = crc32c::crc32c(&body) ^ crc;
            }
            body[prefix + place] = b'0';
        }
        body.push(b' ');
        body.extend([0; CRC_DIGITS]);
        Self { body, prefix, sequence: 0, crc, digits }
    }

    /// The body of the event with this sequence, below 10^15.
    pub(crate) fn body(&mut self, sequence: u64) -> &[u8] {
        let (mut new, mut old) = (sequence, self.sequence);
        self.sequence = sequence;
        for (place, crcs) in self.digits.iter().enumerate().rev() {
            if new == old {
                break;
            }
            let digit = (new % 10) as usize;
            self.crc ^= crcs[digit] ^ crcs[(old % 10) as usize];
            self.body[self.prefix + place] = b'0' + digit as u8;
            (new, old) = (new / 10, old / 10);
        }
        let crc_at = self.body.len() - CRC_DIGITS;
        for (at, digit) in self.body[crc_at..].iter_mut().enumerate() {
            *digit = HEX[(self.crc >> (28 - 4 * at)) as usize & 15];
        }
        &self.body
    }
}

const PRODUCER_DIGITS: usize = 8;
const SEQUENCE_DIGITS: usize = 15;
const CRC_DIGITS: usize = 8;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// What a body says of its producer.
pub(crate) fn short(producer: ProducerId) -> u32 {
    let ProducerId(bytes) = producer;
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// What a line of a file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A body as it was made.
    Body(Identity),
    /// It was one, or a part of one.
    Damaged,
    /// It never was one.
    Foreign,
}

/// Tells what a line is. One that still has the beginning of a body was one, or its end and most of
/// its beginning.
pub(crate) fn recognise(line: &[u8]) -> Line {
    let (begins, ends) = (begins_as_body(line), end_of(line));
    if let (Some(identity), Some((checked, crc))) = (&begins, ends)
        && crc32c::crc32c(checked) == crc
    {
        return Line::Body(*identity);
    }
    let was_body = begins.is_some() || ends.is_some() && resembles_body(line);
    if was_body { Line::Damaged } else { Line::Foreign }
}

/// Whether most of the beginning is as a body's.
fn resembles_body(line: &[u8]) -> bool {
    const BEGIN: &[u8] = b"00000000 000000000000000 ";
    let alike = line.iter().zip(BEGIN).filter(|(byte, place)| match place {
        b' ' => **byte == b' ',
        _ => HEX.contains(byte),
    });
    alike.count() >= BEGIN.len() - 5
}

fn begins_as_body(line: &[u8]) -> Option<Identity> {
    let (producer, rest) = line.split_at_checked(PRODUCER_DIGITS)?;
    let (sequence, rest) = rest.strip_prefix(b" ")?.split_at_checked(SEQUENCE_DIGITS)?;
    let sequence = sequence.iter().try_fold(0, |number: u64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })?;
    rest.starts_with(b" ").then_some(Identity { producer: hex(producer)?, sequence })
}

/// What the CRC at the end covers, and the CRC.
fn end_of(line: &[u8]) -> Option<(&[u8], u32)> {
    let (checked, crc) = line.split_at_checked(line.len().checked_sub(CRC_DIGITS + 1)?)?;
    Some((checked, hex(crc.strip_prefix(b" ")?)?))
}

/// A number as [`Payload`] writes it: no sign, no capitals.
fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        let value = HEX.iter().position(|known| known == digit)?;
        Some(number << 4 | value as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_which_event_it_is_and_notices_any_change() {
        let producer = ProducerId([7; 16]);
        for bytes in [BODY_BYTES_MIN, 500] {
            let mut payload = Payload::new(producer, bytes);
            let identity = |sequence| Line::Body(Identity { producer: 0x0707_0707, sequence });
            for sequence in [0, 1, 9, 10, 7, 99_999, 100_000, 999_999_999_999_999, 3] {
                assert_eq!(recognise(payload.body(sequence)), identity(sequence));
            }
            let body = payload.body(1_234_567).to_vec();
            assert_eq!(body.len(), bytes);
            assert_eq!(recognise(&body), identity(1_234_567));
            for at in 0..body.len() {
                let mut changed = body.clone();
                changed[at] ^= 1;
                assert_eq!(recognise(&changed), Line::Damaged, "byte {at}");
            }
            for cut in 26..bytes {
                assert_eq!(recognise(&body[..cut]), Line::Damaged, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_somebody_else_sent_is_foreign() {
        for line in [
            "",
            "after",
            "1",
            "GET /products/42 HTTP/1.1 200",
            "something happened on 20261121",
            "deadbeef",
            "07070707 12 x",
        ] {
            assert_eq!(recognise(line.as_bytes()), Line::Foreign, "{line}");
        }
    }
}
