//! Whole numbers of varying length, and a bounded reader over bytes.

use crate::block::{BlockError, Place};

/// Appends `value` as unsigned LEB128: seven bits a byte, lowest first, no byte more than needed.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put`] takes for `value`.
#[inline]
pub(crate) const fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Signed to unsigned so that small numbers of either sign stay small.
#[inline]
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads along bytes and never past their end.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// What a read met.
#[derive(Debug)]
pub(crate) enum Fault {
    Truncated { wanted: u64, left: u64 },
    Varint,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    #[inline]
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One varint. A longer form than needed is a fault, so that a value has one form.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        match *self.rest {
            [low, ref rest @ ..] if low < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low))
            }
            [low, high @ 1..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().enumerate() {
            let shift = 7 * index as u32;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) || (byte == 0 && index > 0) {
                return Err(Fault::Varint);
            }
            value |= bits << shift;
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Fault::Truncated { wanted: self.rest.len() as u64 + 1, left: self.rest.len() as u64 })
    }

    /// The next `length` bytes.
    #[inline]
    pub(crate) fn take(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let left = self.rest.len() as u64;
        let taken = usize::try_from(length).ok().and_then(|at| self.rest.split_at_checked(at));
        let (taken, rest) = taken.ok_or(Fault::Truncated { wanted: length, left })?;
        self.rest = rest;
        Ok(taken)
    }
}

impl Fault {
    /// The fault as an error about `place`.
    #[cold]
    pub(crate) fn at(self, place: Place) -> BlockError {
        match self {
            Fault::Truncated { wanted, left } => BlockError::Truncated { place, wanted, left },
            Fault::Varint => BlockError::Varint { place },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_form_and_reads_back() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, !(1 << shift), u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put(&mut bytes, value);
                assert_eq!(bytes.len(), len(value), "{value}");
                let mut reader = Reader::new(&bytes);
                assert_eq!(reader.varint().unwrap(), value);
                assert_eq!(reader.left(), 0);
                assert_eq!(zigzag(unzigzag(value)), value);
            }
        }
    }

    #[test]
    fn long_and_cut_forms_are_faults() {
        let read = |bytes: &[u8]| Reader::new(bytes).varint();
        assert!(matches!(read(&[]), Err(Fault::Truncated { .. })));
        assert!(matches!(read(&[0x80]), Err(Fault::Truncated { .. })));
        assert!(matches!(read(&[0x80, 0]), Err(Fault::Varint)));
        assert!(matches!(read(&[0x81, 0x80, 0]), Err(Fault::Varint)));
        assert!(matches!(read(&[0xff; 11]), Err(Fault::Varint)));
        let mut above = [0xff; 10];
        above[9] = 2;
        assert!(matches!(read(&above), Err(Fault::Varint)));
    }
}
