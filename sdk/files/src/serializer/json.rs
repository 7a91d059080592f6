//! JSON lines.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};
use sdk_event::EventRef;

use crate::layout::DeadReason;

/// Appends `{"id"?, "reason"?, "timestamp", "headers", "body" or "body_base64"}` and a newline.
pub(super) fn write(
    event: &EventRef<'_>,
    ids: bool,
    reason: Option<DeadReason>,
    out: &mut BytesMut,
) {
    out.put_u8(b'{');
    if ids {
        write!(out, "\"id\":\"{}\",", event.id()).expect("a buffer grows");
    }
    if let Some(reason) = reason {
        write!(out, "\"reason\":\"{reason}\",").expect("a buffer grows");
    }
    out.put_slice(b"\"timestamp\":");
    match event.timestamp_ms() {
        Some(timestamp_ms) => write!(out, "{timestamp_ms}").expect("a buffer grows"),
        None => out.put_slice(b"null"),
    }
    out.put_slice(b",\"headers\":{");
    for (index, (key, value)) in event.headers().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        string(key, out);
        out.put_u8(b':');
        string(value, out);
    }
    match std::str::from_utf8(event.body()) {
        Ok(body) => {
            out.put_slice(b"},\"body\":");
            string(body, out);
        }
        Err(_) => {
            out.put_slice(b"},\"body_base64\":\"");
            base64(event.body(), out);
            out.put_u8(b'"');
        }
    }
    out.put_slice(b"}\n");
}

/// What a byte of a string becomes: 0 itself, `u` six characters, anything else `\` and that.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[b'\x08' as usize] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[b'\x0c' as usize] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

fn string(text: &str, out: &mut BytesMut) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.put_u8(b'"');
    let mut plain_from = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.put_slice(&bytes[plain_from..index]);
        plain_from = index + 1;
        if escape == b'u' {
            write!(out, "\\u{byte:04x}").expect("a buffer grows");
        } else {
            out.put_slice(&[b'\\', escape]);
        }
    }
    out.put_slice(&bytes[plain_from..]);
    out.put_u8(b'"');
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(bytes.len().div_ceil(3) * 4 + 1);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let sixtet = (word >> (18 - 6 * place)) & 63;
            out.put_u8(if place <= chunk.len() { BASE64[sixtet as usize] } else { b'=' });
        }
    }
}
