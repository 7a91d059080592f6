//! The footer of a full segment: its contents, so that a start need not read it.

use crate::contents::{Contents, LISTED_MAX, ListedRow, Row, Run};
use crate::flush::{DIRECTORY_ENTRY_BYTES, Directory, DirectoryEntry};
use crate::format::{Fields, PutFields, VERSION, blocks};
use crate::storage::{StorageFile, read_exact_at};
use std::io;

/// The last bytes of a segment that has a footer.
const TRAILER_BYTES: usize = 80;
const RUN_BYTES: usize = 56;
const ROW_BYTES: usize = 16;
const LISTED_BYTES: usize = 20;
const MAGIC: [u8; 4] = *b"CLFT";
const FLAG_COPIED: u32 = 1;

/// More of anything than this is damage, not a footer.
const ROWS_MAX: u32 = 1 << 22;

/// What a footer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) contents: Contents,
    /// The directory of the segment's last flush: the flush after it, which repeats it too, may be gone long before.
    pub(crate) last: Directory,
}

/// The bytes that the footer may take once a flush of so many records was added, whatever they are.
pub(crate) fn footer_bytes_with(contents: &Contents, records: usize) -> u64 {
    let listed = (contents.listed.len() + records).min(LISTED_MAX);
    bytes(contents.runs.len() + records, contents.rows.len() + records, listed, records)
}

fn bytes(runs: usize, rows: usize, listed: usize, last: usize) -> u64 {
    let tables = runs * RUN_BYTES + rows * ROW_BYTES + listed * LISTED_BYTES;
    blocks((tables + last * DIRECTORY_ENTRY_BYTES + TRAILER_BYTES) as u64)
}

/// The footer of a segment: the bytes for its end.
pub(crate) fn encode(life: u64, number: u64, contents: &Contents, last: &Directory) -> Vec<u8> {
    let Contents { runs, rows, listed, .. } = contents;
    let length = bytes(runs.len(), rows.len(), listed.len(), last.entries.len()) as usize;
    let mut buffer = Vec::with_capacity(length);
    for run in runs {
        buffer.put_lineage(&run.lineage);
        buffer.put_u32(run.at);
        buffer.put_u64(run.first);
        buffer.put_u64(run.end);
        buffer.put_u64(run.bytes);
        buffer.put_u32(if run.copied { FLAG_COPIED } else { 0 });
        buffer.put_u32(0);
    }
    for row in rows {
        buffer.put_u64(row.offset);
        buffer.put_u32(row.run);
        buffer.put_u32(row.at);
    }
    for listed in listed {
        buffer.put_u64(listed.first_offset);
        buffer.put_u32(listed.run);
        buffer.put_u32(listed.count);
        buffer.put_u32(u32::from(listed.kind));
    }
    last.entries.iter().for_each(|entry| entry.encode(&mut buffer));
    buffer.resize(length - TRAILER_BYTES, 0);
    buffer.put_u64(life);
    buffer.put_u64(number);
    buffer.put_u64(contents.first_flush);
    buffer.put_u64(contents.last_flush);
    buffer.put_u32(contents.end);
    buffer.put_u32(runs.len() as u32);
    buffer.put_u32(rows.len() as u32);
    buffer.put_u32(listed.len() as u32);
    buffer.put_u32(last.entries.len() as u32);
    buffer.put_u32(last.at);
    buffer.put_u32(last.data_at);
    buffer.put_u64(0);
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
) -> io::Result<Option<Footer>> {
    let trailer_at = u64::from(segment_bytes) - TRAILER_BYTES as u64;
    let trailer = match read_exact_at(file, TRAILER_BYTES, trailer_at) {
        Ok(trailer) => trailer,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(trailer) = Trailer::decode(life, number, &trailer) else { return Ok(None) };
    let length = bytes(trailer.runs, trailer.rows, trailer.listed, trailer.last_entries);
    if length > u64::from(segment_bytes).saturating_sub(u64::from(trailer.contents.end)) {
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
    last: Directory,
    last_entries: usize,
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
        let (last_entries, at, data_at) = (fields.u32(), fields.u32(), fields.u32());
        fields.u64();
        let (magic, version) = (fields.bytes::<4>(), fields.u16());
        let counts = [runs, rows, listed, last_entries];
        let sane = magic == MAGIC && version <= VERSION;
        if !sane || counts.iter().any(|&count| count > ROWS_MAX) {
            return None;
        }
        let [runs, rows, listed, last_entries] = counts.map(|count| count as usize);
        let last = Directory { segment: number, at, data_at, entries: Vec::new() };
        Some(Self { contents, runs, rows, listed, last, last_entries })
    }

    fn decode_footer(self, footer: &[u8]) -> Option<Footer> {
        let (body, crc) = footer.split_at(footer.len() - 4);
        if Fields(crc).u32() != crc32c::crc32c(body) {
            return None;
        }
        let (mut contents, mut last) = (self.contents, self.last);
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
        let entries = fields.0.chunks_exact(DIRECTORY_ENTRY_BYTES).take(self.last_entries);
        last.entries = entries.map(DirectoryEntry::decode).collect();
        let runs = contents.runs.len();
        let in_range = |run: u32| (run as usize) < runs;
        let sane = contents.rows.iter().all(|row| in_range(row.run))
            && contents.listed.iter().all(|listed| in_range(listed.run));
        sane.then_some(Footer { contents, last })
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
    use crate::storage::{FaultyStorage, Storage, write_all_at};
    use sdk_event::Lineage;
    use std::io::IoSlice;
    use std::path::Path;

    fn directory_entry(flow: u64, flush: u64) -> DirectoryEntry {
        DirectoryEntry {
            lineage: Lineage { flow, shard: 1, epoch: 2 },
            first_offset: flush * 10,
            count: 10,
            identity: None,
            length: 1,
            crc: 0,
            kind: if flush.is_multiple_of(16) { 128 } else { 1 },
            copied: flow == 3,
        }
    }

    fn contents() -> Contents {
        let mut contents = Contents::new();
        for flush in 0..60_u64 {
            let at = 4096 + flush as u32 * 65536;
            let entries = (0..4).map(|flow| directory_entry(flow, flush)).collect();
            let directory = Directory { segment: 9, at, data_at: 64, entries };
            contents.add(flush + 1, &directory, at + 65536);
        }
        contents
    }

    #[test]
    fn a_footer_reads_back_and_each_byte_counts() {
        let contents = contents();
        assert!(contents.rows.len() >= 8 && contents.listed.len() == 16);
        let entries = vec![directory_entry(1, 3); 7];
        let last = Directory { segment: 9, at: 40960, data_at: 640, entries };
        let footer = encode(7, 9, &contents, &last);
        assert!(footer_bytes_with(&contents, 7) >= footer.len() as u64);
        let storage = FaultyStorage::new(1);
        let length = 8 << 20;
        storage.create_dir_all(Path::new("/log")).unwrap();
        let file = storage.create(Path::new("/log/file")).unwrap();
        let at = u64::from(length) - footer.len() as u64;
        write_all_at(&*file, &mut [IoSlice::new(&footer)], at).unwrap();
        let read_back = read(&*file, 7, 9, length).unwrap();
        assert_eq!(read_back, Some(Footer { contents, last }));
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
