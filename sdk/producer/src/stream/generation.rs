//! The same events in another generation.

use sdk_event::{Block, BlockBuilder};

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
    fn nothing_but_the_generation_changes() {
        let mut builder = BlockBuilder::new(ProducerId([1; 16]), 3, 10);
        builder.shared_header("app", "shop").expect("fits");
        for (body, path) in [("a", "/"), ("b", "/b"), ("c", "/c")] {
            builder.push(Some(5), [("path", path)], body.as_bytes()).expect("fits");
        }
        let block = builder.finish(Codec::Zstd).thin(&[0, 2]).expect("two are left");
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
