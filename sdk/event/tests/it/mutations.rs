//! The decoder on damaged and hostile bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use allocation_counter::measure;
use bytes::Bytes;
use sdk_event::limits::*;
use sdk_event::{Block, BlockHeader};

use crate::forge::seal;
use crate::vectors;

/// What a decode may take at any moment beside a decompressed body: see `Block::decode`.
const MEMORY_MAX: usize = 64 * KEYS_MAX;

/// Inputs of a normal run; `COLLECTOR_MUTATIONS` sets another number.
const MUTATIONS: u64 = 300_000;

/// What breaks lengths and counts.
const EDGES: [u64; 16] = [
    0,
    1,
    0x3f,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    65_537,
    BODY_BYTES_MAX as u64 + 1,
    BLOCK_BYTES_MAX as u64 - 80,
    BLOCK_BYTES_MAX as u64,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

/// Numbers from a seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

fn mutate(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut block = dice.pick(corpus).clone();
    for _ in 0..=dice.below(5).saturating_sub(2) {
        // Mostly in the body, at times in the header.
        let start = if dice.below(4) == 0 { 0 } else { BlockHeader::BYTES.min(block.len()) };
        let at = start + dice.below(block.len() - start);
        let end = (at + dice.below(16)).min(block.len());
        match dice.below(8) {
            0 | 1 if at < block.len() => block[at] ^= 1 << dice.below(8),
            2 if at < block.len() => block[at] = *dice.pick(&EDGES) as u8,
            3 => {
                // A whole field of the header, or four bytes anywhere.
                let width = *dice.pick(&[1, 2, 4, 8]);
                let at = if start == 0 { at / width * width } else { at };
                let end = (at + width).min(block.len());
                let edge = dice.pick(&EDGES).to_le_bytes();
                block[at..end].copy_from_slice(&edge[..end - at]);
            }
            4 => drop(block.drain(at..end)),
            5 => {
                let piece = block[at..end].to_vec();
                block.splice(at..at, piece);
            }
            6 => {
                let other = dice.pick(corpus);
                let from = dice.below(other.len());
                let to = (from + dice.below(64)).min(other.len());
                block.splice(at..end, other[from..to].iter().copied());
            }
            _ => block.truncate(block.len() - dice.below(block.len().min(16))),
        }
    }
    // With the stated length and the CRC left wrong, little would get past them.
    if dice.below(16) > 0 && block.len() >= BlockHeader::BYTES {
        let length = (block.len() - BlockHeader::BYTES) as u32;
        let raw = u32::from_le_bytes([block[12], block[13], block[14], block[15]]);
        let grown =
            length.wrapping_sub(u32::from_le_bytes([block[16], block[17], block[18], block[19]]));
        block[16..20].copy_from_slice(&length.to_le_bytes());
        if block[5] == 0 {
            block[12..16].copy_from_slice(&length.to_le_bytes());
        } else if dice.below(2) == 0 {
            block[12..16].copy_from_slice(&raw.wrapping_add(grown).to_le_bytes());
        }
        if dice.below(2) == 0 {
            let events = u32::from_le_bytes([block[20], block[21], block[22], block[23]]);
            block[20..24].copy_from_slice(&events.wrapping_add(grown).to_le_bytes());
        }
        seal(&mut block);
    }
    block
}

/// Decodes and checks the promises. Returns whether it was a block.
fn check(bytes: &Bytes) -> bool {
    let mut decoded = None;
    let memory = measure(|| decoded = Some(Block::decode(bytes.clone())));
    let raw = match BlockHeader::decode(bytes) {
        Ok(header) if header.codec != sdk_event::Codec::None => header.raw_bytes as usize,
        _ => 0,
    };
    assert!(raw <= BLOCK_BYTES_MAX);
    assert!(memory.bytes_max <= (raw + MEMORY_MAX) as u64, "{memory:?} for {raw}");
    let block = match decoded.expect("decode returned") {
        Ok(block) => block,
        Err(error) => {
            assert!(!error.name().is_empty() && !error.to_string().is_empty());
            return false;
        }
    };
    let header = block.header();
    assert_eq!(block.events().count(), header.count as usize);
    assert!((1..=EVENTS_MAX).contains(&(header.count as usize)));
    let mut next = header.first_sequence;
    for event in block.events() {
        assert!(event.sequence() >= next && event.sequence() <= header.last_sequence);
        next = event.sequence() + 1;
        assert!(event.body().len() <= BODY_BYTES_MAX);
        assert!(event.timestamp_ms() >= header.min_timestamp_ms || event.timestamp_ms().is_none());
        assert!(event.timestamp_ms() <= header.max_timestamp_ms);
        let mut headers: Vec<_> = event.headers().collect();
        assert!(headers.len() <= HEADERS_MAX);
        assert!(headers.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() <= HEADER_BYTES_MAX);
        for (key, value) in &headers {
            assert!((1..=HEADER_KEY_BYTES_MAX).contains(&key.len()));
            assert!(value.len() <= HEADER_VALUE_BYTES_MAX);
            assert_eq!(event.header(key), Some(*value));
        }
        headers.sort_unstable();
        headers.dedup_by_key(|(key, _)| *key);
        assert_eq!(headers.len(), event.headers().count());
    }
    assert_eq!(next, header.end_sequence());
    true
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn mutated_blocks_neither_panic_nor_take_memory() {
    // COLLECTOR_SEED and COLLECTOR_MUTATION, from a failure's message, repeat that input alone.
    let fresh = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let seed = setting("COLLECTOR_SEED").unwrap_or(fresh);
    let count = setting("COLLECTOR_MUTATIONS").unwrap_or(MUTATIONS);
    let range = setting("COLLECTOR_MUTATION").map_or(0..count, |only| only..only + 1);
    let corpus = vectors::corpus();
    let mut blocks = 0_u64;
    for number in range.clone() {
        let mut dice = Dice(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        let bytes = Bytes::from(mutate(&mut dice, &corpus));
        match catch_unwind(AssertUnwindSafe(|| check(&bytes))) {
            Ok(valid) => blocks += u64::from(valid),
            Err(_) => panic!("replay: COLLECTOR_SEED={seed} COLLECTOR_MUTATION={number}"),
        }
    }
    println!("{blocks} of {} mutated inputs were blocks, seed {seed}", range.end - range.start);
    // A corpus or a repair of lengths that no longer works would test the CRC alone.
    assert!(range.end - range.start < 10_000 || blocks > (range.end - range.start) / 100);
}
