//! What builder and decoder promise each other.

use sdk_event::{Block, BlockBuilder, Codec, Event, ProducerId};

const PRODUCER: ProducerId = ProducerId([7; 16]);

fn builder() -> BlockBuilder {
    BlockBuilder::new(PRODUCER, 3, 100)
}

/// A block of a shop's three lines.
fn shop(codec: Codec) -> Block {
    let mut builder = builder();
    builder.shared_header("host", "web-1").expect("within limits");
    builder.shared_header("app", "shop").expect("within limits");
    builder.push(Some(1_700_000_000_000), [("path", "/")], b"one").expect("within limits");
    builder.push(None, [("app", "cart"), ("user", "ann")], b"").expect("within limits");
    builder.push(Some(1_699_999_999_000), [], b"three").expect("within limits");
    builder.finish(codec)
}

fn decode(block: &Block) -> Block {
    Block::decode(block.bytes().clone()).expect("a built block decodes")
}

#[test]
fn a_block_reads_back_as_pushed() {
    for codec in Codec::ALL {
        let built = shop(codec);
        let block = decode(&built);
        assert_eq!(block.header(), built.header());
        assert_eq!((block.header().first_sequence, block.header().end_sequence()), (100, 103));
        assert_eq!(block.header().min_timestamp_ms, Some(1_699_999_999_000));
        assert_eq!(block.header().max_timestamp_ms, Some(1_700_000_000_000));
        let events: Vec<_> = block.events().map(|event| event.to_event()).collect();
        let shared = |body: &'static str| {
            Event::new(body).with_header("host", "web-1").with_header("app", "shop")
        };
        assert_eq!(
            events,
            [
                shared("one").with_timestamp_ms(1_700_000_000_000).with_header("path", "/"),
                shared("").with_header("app", "cart").with_header("user", "ann"),
                shared("three").with_timestamp_ms(1_699_999_999_000),
            ]
        );
    }
}
