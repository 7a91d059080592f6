//! Numbers of variable length, Avro's and Hadoop's.

use std::io::{Error, ErrorKind, Read};

use bytes::{BufMut as _, BytesMut};

/// Appends a number as Avro does: zigzag, seven bits to a byte, the lowest first.
#[inline]
pub(super) fn put_long(value: i64, out: &mut BytesMut) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag > 0x7f {
        out.put_u8(low_byte(zigzag) | 0x80);
        zigzag >>= 7;
    }
    out.put_u8(low_byte(zigzag));
}

/// Reads one.
pub(super) fn long(input: &mut impl Read) -> Result<i64, Error> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = byte(input)?;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    Err(Error::new(ErrorKind::InvalidData, "a number is too long"))
}

/// Appends a length as Hadoop does (`WritableUtils.writeVLong`): itself if it fits into a byte, else
/// the number of bytes and then those.
#[inline]
pub(super) fn put_vlong(value: u64, out: &mut BytesMut) {
    if value <= 127 {
        out.put_u8(low_byte(value));
        return;
    }
    let bytes = vlong_bytes(value) - 1;
    out.put_i8(-112 - i8::try_from(bytes).expect("at most eight bytes"));
    out.put_slice(&value.to_be_bytes()[8 - bytes..]);
}

/// How many bytes that takes.
#[inline]
pub(super) fn vlong_bytes(value: u64) -> usize {
    if value <= 127 { 1 } else { 1 + (64 - value.leading_zeros() as usize).div_ceil(8) }
}

/// Reads one that is not negative.
pub(super) fn vlong(input: &mut impl Read) -> Result<u64, Error> {
    let first = byte(input)?.cast_signed();
    let bytes = match first {
        0.. => return Ok(u64::from(first.cast_unsigned())),
        -120..=-113 => usize::from((-112 - first).cast_unsigned()),
        _ => return Err(Error::new(ErrorKind::InvalidData, "a length is negative")),
    };
    let mut value = [0; 8];
    input.read_exact(&mut value[8 - bytes..])?;
    Ok(u64::from_be_bytes(value))
}

fn byte(input: &mut impl Read) -> Result<u8, Error> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn low_byte(value: u64) -> u8 {
    u8::try_from(value & 0xff).expect("eight bits are a byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_avro_has_them() {
        for (value, bytes) in
            [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[0x7f]), (64, &[0x80, 1])]
        {
            let mut out = BytesMut::new();
            put_long(value, &mut out);
            assert_eq!(&out[..], bytes, "{value}");
        }
        for value in [i64::MIN, i64::MAX, 1 << 40, -(1 << 40)] {
            let mut out = BytesMut::new();
            put_long(value, &mut out);
            assert_eq!(long(&mut &out[..]).unwrap(), value);
        }
        assert!(long(&mut &[0xff; 11][..]).is_err());
    }

    #[test]
    fn lengths_are_as_hadoop_has_them() {
        for (value, bytes) in
            [(0, &[0][..]), (127, &[127]), (128, &[0x8f, 0x80]), (0x1234, &[0x8e, 0x12, 0x34])]
        {
            let mut out = BytesMut::new();
            put_vlong(value, &mut out);
            assert_eq!((&out[..], vlong_bytes(value)), (bytes, bytes.len()), "{value}");
        }
        for value in [u64::MAX, 1 << 33, 255, 256, 65_535, 65_536] {
            let mut out = BytesMut::new();
            put_vlong(value, &mut out);
            assert_eq!(vlong(&mut &out[..]).unwrap(), value);
            assert_eq!(vlong_bytes(value), out.len());
        }
        assert!(vlong(&mut &[0x80][..]).is_err());
    }
}
