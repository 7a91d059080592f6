//! The CRC32C of two pieces from the CRC32Cs of each.
//!
//! `crc32c_combine` of the crate takes longer than to read 256 KiB again; with its operators kept it takes a fraction
//! of a microsecond.

use std::sync::LazyLock;

/// The polynomial of CRC32C, least significant bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What a number of zero bytes does to a CRC, as the images of its 32 bits.
type Operator = [u32; 32];

/// For one byte, two, four, eight …
static ZEROS: LazyLock<[Operator; 32]> = LazyLock::new(|| {
    let mut bit = [0; 32];
    bit[0] = POLYNOMIAL;
    for (n, image) in bit.iter_mut().enumerate().skip(1) {
        *image = 1 << (n - 1);
    }
    let byte = (0..3).fold(bit, |operator, _| square(&operator));
    let mut operators = [byte; 32];
    for n in 1..operators.len() {
        operators[n] = square(&operators[n - 1]);
    }
    operators
});

/// The CRC of two pieces, the second `length` bytes long.
pub(crate) fn combine(first: u32, second: u32, length: u32) -> u32 {
    let bits = (0..32).filter(|bit| length >> bit & 1 == 1);
    bits.fold(first, |crc, bit| apply(&ZEROS[bit], crc)) ^ second
}

fn apply(operator: &Operator, crc: u32) -> u32 {
    let images = operator.iter().enumerate();
    images.fold(0, |sum, (bit, image)| sum ^ (image & (crc >> bit & 1).wrapping_neg()))
}

fn square(operator: &Operator) -> Operator {
    operator.map(|image| apply(operator, image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pieces_are_as_good_as_one() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(n) >> 5) as u8).collect();
        for length in [0, 1, 2, 3, 255, 256, 4095, 4096, 65_535, 69_999] {
            for split in [0, length / 3, length] {
                let (first, second) = bytes[..length].split_at(split);
                let [first, second_crc] = [first, second].map(crc32c::crc32c);
                let combined = combine(first, second_crc, second.len() as u32);
                assert_eq!(combined, crc32c::crc32c(&bytes[..length]), "{split} of {length}");
            }
        }
    }
}
