//! Blocks put together byte by byte, also such as no builder makes.

use sdk_event::BlockHeader;

/// The fields of a block, each to be set at will.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) codec: u8,
    pub(crate) flags: u16,
    pub(crate) count: u32,
    pub(crate) raw_bytes: Option<u32>,
    pub(crate) stored_bytes: Option<u32>,
    pub(crate) events_bytes: Option<u32>,
    pub(crate) min_max: (i64, i64),
    pub(crate) first_sequence: u64,
    pub(crate) span: u32,
    pub(crate) events: Vec<u8>,
    pub(crate) trailer: Vec<u8>,
    /// In place of `events` and `trailer`.
    pub(crate) stored: Option<Vec<u8>>,
}

impl Default for Forge {
    /// One event with the body "x" and nothing else.
    fn default() -> Self {
        Forge {
            codec: 0,
            flags: 0,
            count: 1,
            raw_bytes: None,
            stored_bytes: None,
            events_bytes: None,
            min_max: (0, 0),
            first_sequence: 1,
            span: 0,
            events: b"\x00\x01x".to_vec(),
            trailer: vec![0, 0],
            stored: None,
        }
    }
}

impl Forge {
    pub(crate) fn raw(&self) -> Vec<u8> {
        [&self.events[..], &self.trailer].concat()
    }

    /// The bytes, with lengths where none is set, and the right CRC.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let raw = self.raw();
        let stored = self.stored.clone().unwrap_or_else(|| raw.clone());
        let mut block = b"CLBK\x01".to_vec();
        block.push(self.codec);
        block.extend(self.flags.to_le_bytes());
        block.extend(self.count.to_le_bytes());
        block.extend(self.raw_bytes.unwrap_or(raw.len() as u32).to_le_bytes());
        block.extend(self.stored_bytes.unwrap_or(stored.len() as u32).to_le_bytes());
        block.extend(self.events_bytes.unwrap_or(self.events.len() as u32).to_le_bytes());
        block.extend(self.min_max.0.to_le_bytes());
        block.extend(self.min_max.1.to_le_bytes());
        block.extend([0x5a; 16]);
        block.extend(1_u64.to_le_bytes());
        block.extend(self.first_sequence.to_le_bytes());
        block.extend(self.span.to_le_bytes());
        block.extend([0; 4]);
        block.extend(stored);
        seal(&mut block);
        block
    }
}

/// Puts the right CRC into a block long enough to have one.
pub(crate) fn seal(block: &mut [u8]) {
    if block.len() < BlockHeader::BYTES {
        return;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..76]), &block[80..]);
    block[76..80].copy_from_slice(&crc.to_le_bytes());
}

/// A number as blocks have it.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A length and that many bytes.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&varint(bytes.as_ref().len() as u64)[..], bytes.as_ref()].concat()
}

/// Keys and shared headers, as they stand behind the events.
pub(crate) fn trailer<K: AsRef<[u8]>>(keys: &[K], shared: &[(u64, &str)]) -> Vec<u8> {
    let mut bytes = varint(keys.len() as u64);
    for key in keys {
        bytes.extend(text(key));
    }
    bytes.extend(varint(shared.len() as u64));
    for (key, value) in shared {
        bytes.extend(varint(*key));
        bytes.extend(text(value));
    }
    bytes
}

/// An event without gap or timestamp.
pub(crate) fn event(own: &[(u64, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut bytes = varint((own.len() as u64) << 2);
    for (key, value) in own {
        bytes.extend(varint(*key));
        bytes.extend(text(value));
    }
    bytes.extend(text(body));
    bytes
}
