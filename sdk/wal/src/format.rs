//! Numbers of the format that several of its parts share. The bytes are in `FORMAT.md`.

use sdk_event::Lineage;

/// The version written, and the highest one read.
pub(crate) const VERSION: u16 = 1;

/// Flushes and footers begin on a multiple of this.
pub(crate) const BLOCK: u32 = 4096;

/// Rounds up to a whole block.
pub(crate) const fn blocks(length: u64) -> u64 {
    length.next_multiple_of(BLOCK as u64)
}

/// Takes little-endian numbers off the front of a slice whose length was checked.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_at(N);
        self.0 = rest;
        head.try_into().expect("split to this length")
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.bytes())
    }

    /// A lineage as it stands everywhere: flow, epoch, shard.
    pub(crate) fn lineage(&mut self) -> Lineage {
        let (flow, epoch, shard) = (self.u64(), self.u64(), self.u32());
        Lineage { flow, shard, epoch }
    }
}

/// Appends little-endian numbers.
pub(crate) trait PutFields {
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_lineage(&mut self, lineage: &Lineage);
}

impl PutFields for Vec<u8> {
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_lineage(&mut self, lineage: &Lineage) {
        self.put_u64(lineage.flow);
        self.put_u64(lineage.epoch);
        self.put_u32(lineage.shard);
    }
}

/// Sets four bytes of a buffer.
pub(crate) fn set_u32(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
