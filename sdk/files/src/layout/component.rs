//! Header values in paths: hostile until encoded.

/// Appends `value` as part of one path component.
///
/// Letters, digits and `-_.=,+@` stand for themselves, except a leading `.` or `_`; every other byte
/// is `%XX`. Two values never give the same text, and no value gives a slash, `.` or `..`.
pub fn encode_component(value: &str, out: &mut String) {
    for (index, byte) in value.bytes().enumerate() {
        let plain = match byte {
            b'.' | b'_' => index > 0,
            b'-' | b'=' | b',' | b'+' | b'@' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

const HEX: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
