//! The footer of a full segment: its contents, so that a start need not read it.

use crate::contents::{Contents, LISTED_MAX, ListedRow, Row, Run};
use crate::format::{Fields, PutFields, VERSION, blocks};
use std::io;

use crate::storage::{StorageFile, read_exact_at};

/// The last bytes of a segment that has a footer.
const TRAILER_BYTES: usize = 64;
const RUN_BYTES: usize = 56;
const ROW_BYTES: usize = 16;
const LISTED_BYTES: usize = 20;
const MAGIC: [u8; 4] = *b"CLFT";
const FLAG_COPIED: u32 = 1;

/// More runs or rows than this is damage, not a footer.
const ROWS_MAX: u32 = 1 << 22;

/// The bytes that a footer takes at the end of a segment.
pub(crate) fn footer_bytes(contents: &Contents) -> u64 {
    bytes(contents.runs.len(), contents.rows.len(), contents.listed.len())
}

/// The same, once `records` more are in the segment, whatever they are.
pub(crate) fn footer_bytes_with(contents: &Contents, records: usize) -> u64 {
    let listed = (contents.listed.len() + records).min(LISTED_MAX);
    bytes(contents.runs.len() + records, contents.rows.len() + records, listed)
}

fn bytes(runs: usize, rows: usize, listed: usize) -> u64 {
    blocks((runs * RUN_BYTES + rows * ROW_BYTES + listed * LISTED_BYTES + TRAILER_BYTES) as u64)
}

/// The footer of a segment: the bytes for its end.
pub(crate) fn encode(life: u64, number: u64, contents: &Contents) -> Vec<u8> {
    let length = footer_bytes(contents) as usize;
    let mut buffer = Vec::with_capacity(length);
    for run in &contents.runs {
        buffer.put_lineage(&run.lineage);
        buffer.put_u32(run.at);
        buffer.put_u64(run.first);
        buffer.put_u64(run.end);
        buffer.put_u64(run.bytes);
        buffer.put_u32(if run.copied { FLAG_COPIED } else { 0 });
        buffer.put_u32(0);
    }
    for row in &contents.rows {
        buffer.put_u64(row.offset);
        buffer.put_u32(row.run);
        buffer.put_u32(row.at);
    }
    for listed in &contents.listed {
        buffer.put_u64(listed.first_offset);
        buffer.put_u32(listed.run);
        buffer.put_u32(listed.count);
        buffer.put_u32(u32::from(listed.kind));
    }
    buffer.resize(length - TRAILER_BYTES, 0);
    buffer.put_u64(life);
    buffer.put_u64(number);
    buffer.put_u64(contents.first_flush);
    buffer.put_u64(contents.last_flush);
    buffer.put_u32(contents.end);
    buffer.put_u32(contents.runs.len() as u32);
    buffer.put_u32(contents.rows.len() as u32);
    buffer.put_u32(contents.listed.len() as u32);
    buffer.put_u32(0);
    buffer.extend_from_slice(&MAGIC);
    buffer.put_u16(VERSION);
    buffer.put_u16(0);
    let crc = crc32c::crc32c(&buffer);
    buffer.put_u32(crc);
    debug_assert_eq!(buffer.len(), length);
    buffer
}

/// Reads the footer of a segment, if it has a good one.
pub(crate) fn read(
    file: &dyn StorageFile,
    life: u64,
    number: u64,
    segment_bytes: u32,
) -> io::Result<Option<Contents>> {
    let trailer_at = u64::from(segment_bytes) - TRAILER_BYTES as u64;
    let trailer = match read_exact_at(file, TRAILER_BYTES, trailer_at) {
        Ok(trailer) => trailer,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(trailer) = Trailer::decode(life, number, &trailer) else { return Ok(None) };
    let length = bytes(trailer.runs, trailer.rows, trailer.listed);
    if length > u64::from(segment_bytes) - u64::from(trailer.contents.end) {
        return Ok(None);
    }
    let footer = read_exact_at(file, length as usize, u64::from(segment_bytes) - length)?;
    Ok(trailer.decode_footer(&footer))
}

struct Trailer {
    contents: Contents,
    runs: usize,
    rows: usize,
    listed: usize,
}

impl Trailer {
    fn decode(life: u64, number: u64, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if (fields.u64(), fields.u64()) != (life, number) {
            return None;
        }
        let mut contents = Contents::new();
        contents.first_flush = fields.u64();
        contents.last_flush = fields.u64();
        contents.end = fields.u32();
        let (runs, rows, listed) = (fields.u32(), fields.u32(), fields.u32());
        fields.u32();
        let (magic, version) = (fields.bytes::<4>(), fields.u16());
        let sane = magic == MAGIC && version <= VERSION;
        let sane = sane && runs.max(rows).max(listed) <= ROWS_MAX;
        let (runs, rows, listed) = (runs as usize, rows as usize, listed as usize);
        sane.then_some(Self { contents, runs, rows, listed })
    }

    fn decode_footer(self, footer: &[u8]) -> Option<Contents> {
        let (body, crc) = footer.split_at(footer.len() - 4);
        if Fields(crc).u32() != crc32c::crc32c(body) {
            return None;
        }
        let mut contents = self.contents;
        let mut fields = Fields(body);
        contents.runs = (0..self.runs).map(|_| decode_run(&mut fields)).collect();
        let row = |fields: &mut Fields<'_>| {
            let (offset, run, at) = (fields.u64(), fields.u32(), fields.u32());
            Row { run, offset, at }
        };
        contents.rows = (0..self.rows).map(|_| row(&mut fields)).collect();
        let listed = |fields: &mut Fields<'_>| {
            let (first_offset, run, count) = (fields.u64(), fields.u32(), fields.u32());
            ListedRow { run, kind: fields.u32() as u8, first_offset, count }
        };
        contents.listed = (0..self.listed).map(|_| listed(&mut fields)).collect();
        let runs = contents.runs.len();
        let in_range = |run: u32| (run as usize) < runs;
        let sane = contents.rows.iter().all(|row| in_range(row.run))
            && contents.listed.iter().all(|listed| in_range(listed.run));
        sane.then_some(contents)
    }
}

fn decode_run(fields: &mut Fields<'_>) -> Run {
    let lineage = fields.lineage();
    let at = fields.u32();
    let (first, end, bytes) = (fields.u64(), fields.u64(), fields.u64());
    let copied = fields.u32() & FLAG_COPIED != 0;
    fields.u32();
    Run { lineage, first, end, bytes, at, copied, dead: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::{Directory, DirectoryEntry};
    use crate::storage::{FaultyStorage, Storage, write_all_at};
    use sdk_event::Lineage;
    use std::io::IoSlice;
    use std::path::Path;

    fn contents() -> Contents {
        let mut contents = Contents::new();
        for flush in 0..60_u64 {
            let entry = |flow: u64| DirectoryEntry {
                lineage: Lineage { flow, shard: 1, epoch: 2 },
                first_offset: flush * 10,
                count: 10,
                identity: None,
                length: 1,
                crc: 0,
                kind: if flush % 16 == 0 { 128 } else { 1 },
                copied: flow == 3,
            };
            let at = 4096 + flush as u32 * 65536;
            let entries = (0..4).map(entry).collect();
            let directory = Directory { segment: 9, at, data_at: 64, entries };
            contents.add(flush + 1, &directory, at + 65536);
        }
        contents
    }

    #[test]
    fn a_footer_reads_back_and_each_byte_counts() {
        let contents = contents();
        assert!(contents.rows.len() >= 8 && contents.listed.len() == 16);
        let footer = encode(7, 9, &contents);
        assert_eq!(footer.len() as u64, footer_bytes(&contents));
        assert!(footer_bytes_with(&contents, 1) >= footer_bytes(&contents));
        let storage = FaultyStorage::new(1);
        let length = 8 << 20;
        storage.create_dir_all(Path::new("/log")).unwrap();
        let file = storage.create(Path::new("/log/file")).unwrap();
        let at = u64::from(length) - footer.len() as u64;
        write_all_at(&*file, &mut [IoSlice::new(&footer)], at).unwrap();
        assert_eq!(read(&*file, 7, 9, length).unwrap().as_ref(), Some(&contents));
        assert_eq!(read(&*file, 8, 9, length).unwrap(), None, "another life");
        assert_eq!(read(&*file, 7, 8, length).unwrap(), None, "another segment");
        for byte in (0..footer.len()).rev().step_by(7) {
            let mut flipped = footer.clone();
            flipped[byte] ^= 4;
            write_all_at(&*file, &mut [IoSlice::new(&flipped)], at).unwrap();
            assert_eq!(read(&*file, 7, 9, length).unwrap(), None, "{byte}");
        }
    }
}
