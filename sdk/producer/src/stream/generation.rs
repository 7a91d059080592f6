//! The same events in another generation.

use sdk_event::{Block, BlockBuilder};

use super::Identity;

/// Generations are taken at most this far apart.
const STEP_MAX: u64 = 1 << 32;

/// The generation that a producer moves to when nodes have forgotten it.
///
/// A function of the one before, so that a process that comes after a crash, with blocks of the
/// first generation in its spool, finds the one its predecessor had moved to: what that has sent is
/// recognised, not stored again. Far enough from it to be no other spool's.
pub(super) fn next_generation(identity: Identity) -> u64 {
    let Identity { producer, generation } = identity;
    let words = producer.0.chunks_exact(8).map(|word| {
        u64::from_le_bytes(word.try_into().expect("chunks of eight bytes have eight bytes"))
    });
    let step = words.fold(generation, |mixed, word| mix(mixed ^ word));
    generation.saturating_add(1 + step % STEP_MAX)
}

/// The finaliser of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// `block` as one of another generation of its producer.
///
/// Everything else stays: sequences, times, headers, bodies, codec.
#[must_use]
pub fn with_generation(block: &Block, generation: u64) -> Block {
    let header = block.header();
    let mut builder = BlockBuilder::new(header.producer, generation, header.first_sequence);
    for (key, value) in block.shared_headers() {
        builder.shared_header(key, value).expect("it is a shared header already");
    }
    for event in block.events() {
        builder.push_event(&event).expect("events of one block fit in one");
    }
    builder.finish(header.codec)
}

#[cfg(test)]
mod tests {
    use sdk_event::{Codec, ProducerId};

    use super::*;

    #[test]
    fn generations_rise_and_every_process_takes_the_same() {
        let identity = |producer: u8, generation| Identity {
            producer: ProducerId([producer; 16]),
            generation,
        };
        let next = next_generation(identity(1, 7));
        assert!(next > 7 && next <= 7 + STEP_MAX);
        assert_eq!(next_generation(identity(1, 7)), next);
        assert_ne!(next_generation(identity(2, 7)), next);
        assert_ne!(next_generation(identity(1, 8)), next);
        assert_eq!(next_generation(identity(1, u64::MAX)), u64::MAX);
    }

    #[test]
    fn nothing_but_the_generation_changes() {
        let mut builder = BlockBuilder::new(ProducerId([1; 16]), 3, 10);
        builder.shared_header("app", "shop").expect("fits");
        for (body, path) in [("a", "/"), ("b", "/b"), ("c", "/c")] {
            // Long enough that compressing it is worth while.
            builder.push(Some(5), [("path", path)], body.repeat(1_000).as_bytes()).expect("fits");
        }
        let block = builder.finish(Codec::Zstd).thin(&[0, 2]).remove(0);
        let other = with_generation(&block, 8);
        assert_eq!((other.header().generation, other.header().codec), (8, Codec::Zstd));
        let lines = |block: &Block| -> Vec<String> {
            let line = |event: sdk_event::EventRef<'_>| {
                let headers: Vec<_> = event.headers().collect();
                format!(
                    "{} {:?} {headers:?} {:?}",
                    event.sequence(),
                    event.timestamp_ms(),
                    event.body()
                )
            };
            block.events().map(line).collect()
        };
        assert_eq!(lines(&block), lines(&other));
        assert_eq!(other.header().last_sequence, 12);
    }
}
