//! Long reads go past the page cache, short ones through it: both give what is in the file.

use sdk_wal::{RealStorage, Storage, write_all_at};
use std::io::IoSlice;

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

#[test]
fn any_part_of_a_file_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    // Whole pages, written directly, and an end that no page holds alone.
    let bytes: Vec<u8> = (0..3 * MIB + PAGE + 777).map(|at| (at * 31 + at / PAGE) as u8).collect();
    let (pages, end) = bytes.split_at(3 * MIB + PAGE);
    let file = RealStorage.create(&path).expect("create");
    write_all_at(&*file, &mut [IoSlice::new(pages)], 0).expect("write");
    write_all_at(&*file, &mut [IoSlice::new(end)], pages.len() as u64).expect("write");
    file.sync_data().expect("sync");

    let files = [file, RealStorage.open(&path, true).expect("open to read only")];
    let starts = [0, 1, 511, PAGE - 1, PAGE, 64 << 10, MIB - 3, 2 * MIB + 5, bytes.len() - 70_000];
    let lengths = [0, 1, 80, 64 << 10, (64 << 10) + 1, MIB - PAGE, MIB, MIB + 1, 3 * MIB, 9 * MIB];
    for file in files {
        for start in starts.into_iter().chain([bytes.len() - 1, bytes.len(), bytes.len() + 9]) {
            for length in lengths {
                let mut read = b"before".to_vec();
                let count = file.read_at(&mut read, length, start as u64).expect("read");
                let there = bytes.get(start..).unwrap_or_default();
                let there = &there[..length.min(there.len())];
                let what = format!("{length} bytes at {start}");
                assert_eq!(count, there.len(), "{what}");
                assert!(read.strip_prefix(b"before").is_some_and(|read| read == there), "{what}");
            }
        }
    }
}
