//! What builder and decoder promise each other.

use bytes::Bytes;
use sdk_event::{
    Block, BlockBuilder, BlockError, BlockHeader, Codec, Event, EventId, ProducerId, PushError,
};

const PRODUCER: ProducerId = ProducerId([7; 16]);

pub(crate) fn builder() -> BlockBuilder {
    BlockBuilder::new(PRODUCER, 3, 100)
}

/// Three events of a shop: one with a header more, one with another value, one plain.
pub(crate) fn shop(codec: Codec) -> Block {
    let fits = "within limits";
    let mut builder = builder();
    builder.shared_header("host", "web-1").expect(fits);
    builder.shared_header("app", "shop").expect(fits);
    builder.push(Some(1_700_000_000_000), [("path", "/")], b"one").expect(fits);
    builder.push(None, [("app", "cart"), ("user", "ann")], b"").expect(fits);
    builder.push(Some(1_699_999_999_000), [], b"three").expect(fits);
    builder.finish(codec)
}

pub(crate) fn decode(block: &Block) -> Block {
    Block::decode(block.bytes().clone()).expect("a built block decodes")
}

fn thin(block: &Block, positions: &[u32]) -> Block {
    let mut blocks = block.thin(positions);
    assert_eq!(blocks.len(), 1);
    blocks.remove(0)
}

fn ids(block: &Block) -> Vec<u64> {
    block.events().map(|event| event.sequence()).collect()
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

#[test]
fn own_headers_take_the_place_of_shared_ones() {
    let block = shop(Codec::None);
    let apps: Vec<_> = block.events().map(|event| event.header("app")).collect();
    assert_eq!(apps, [Some("shop"), Some("cart"), Some("shop")]);
    let user = block.key("user").unwrap();
    let users: Vec<_> = block.events().map(|event| event.header_at(user)).collect();
    assert_eq!(users, [None, Some("ann"), None]);
    assert_eq!(block.shared_header("app"), Some("shop"));
    assert_eq!(block.shared_header("user"), None);
    assert_eq!(block.key("nobody"), None);
    let second = block.events().nth(1).unwrap();
    let headers: Vec<_> = second.headers().collect();
    assert_eq!(headers, [("host", "web-1"), ("app", "cart"), ("user", "ann")]);
    assert_eq!(second.own_headers().collect::<Vec<_>>(), [("app", "cart"), ("user", "ann")]);
}

#[test]
fn an_uncompressed_block_is_read_where_it_stands() {
    let bytes = Bytes::copy_from_slice(shop(Codec::None).bytes());
    let block = Block::decode(bytes.clone()).unwrap();
    for event in block.events().filter(|event| !event.body().is_empty()) {
        assert!(bytes.as_ptr_range().contains(&event.body().as_ptr()));
        assert!(bytes.as_ptr_range().contains(&event.body_bytes().as_ptr()));
    }
}

#[test]
fn the_header_is_readable_without_the_body() {
    let block = shop(Codec::Lz4);
    let header = BlockHeader::decode(&block.bytes()[..BlockHeader::BYTES]).unwrap();
    assert_eq!(&header, block.header());
    assert_eq!(header.block_bytes(), block.bytes().len());
    assert_eq!((header.producer, header.generation, header.count), (PRODUCER, 3, 3));
    header.check_crc(block.bytes()).unwrap();

    let mut damaged = block.bytes().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(header.check_crc(&damaged), Err(BlockError::Crc { .. })));
    assert!(matches!(header.check_crc(&damaged[..90]), Err(BlockError::Truncated { .. })));
}

#[test]
fn a_thinned_block_keeps_the_ids_of_what_is_left() {
    for codec in Codec::ALL {
        let block = shop(codec);
        let thin = decode(&thin(&block, &[0, 2]));
        assert_eq!((thin.header().count, thin.header().thinned()), (2, true));
        let left: Vec<_> = block.events().filter(|event| event.index() != 1).collect();
        for (event, before) in thin.events().zip(left) {
            assert_eq!(event.id(), before.id());
            assert_eq!(event.to_event(), before.to_event());
        }
        assert_eq!(ids(&self::thin(&thin, &[1])), [102]);
    }
}

#[test]
fn thinning_at_the_ends_leaves_no_hole() {
    let block = shop(Codec::None);
    let tail = thin(&block, &[1, 2]);
    assert_eq!((ids(&tail), tail.header().thinned()), (vec![101, 102], false));
    assert_eq!(block.thin(&[0, 1, 2]), std::slice::from_ref(&block));
    assert_eq!(block.thin(&[]), []);
}

/// 192 keys; a first event that uses those of all events behind the third, so that their numbers take a
/// byte. Without it the others come first, and each event takes 64 bytes more.
#[test]
fn what_no_longer_fits_in_one_block_becomes_two() {
    let keys: Vec<String> = (0..192).map(|key| format!("k{key}")).collect();
    let headers = |from: usize| keys[from..from + 64].iter().map(|key| (key.as_str(), ""));
    let mut builder = builder();
    for from in [0, 64, 128] {
        builder.push(None, headers(from), b"").unwrap();
    }
    while builder.push(None, headers(0), b"").is_ok() {}
    let block = decode(&builder.finish(Codec::None));
    let positions: Vec<u32> = (1..block.header().count).collect();
    let blocks: Vec<Block> = block.thin(&positions).iter().map(decode).collect();
    assert_eq!(blocks.len(), 2, "or there was nothing to try");
    let left = blocks.iter().flat_map(Block::events).map(|event| event.to_event());
    assert!(left.eq(block.events().skip(1).map(|event| event.to_event())));
    let ids: Vec<u64> = blocks.iter().flat_map(ids).collect();
    assert_eq!(ids, self::ids(&block)[1..]);
}

#[test]
#[should_panic(expected = "positions must ascend and lie below 3")]
fn thinning_by_a_position_that_is_not_there_panics() {
    shop(Codec::None).thin(&[1, 3]);
}

#[test]
fn events_change_and_keep_their_ids() {
    let block = thin(&shop(Codec::None), &[0, 2]);
    let mut builder = BlockBuilder::from_block(&block);
    builder.shared_header("dc", "fra").unwrap();
    for event in block.events() {
        let own = event.own_headers().chain([("app", "new")]);
        builder.push_with_sequence(event.sequence(), Some(5), own, b"changed").unwrap();
    }
    let changed = decode(&builder.finish(Codec::None));
    assert_eq!(ids(&changed), [100, 102]);
    let first = changed.events().next().unwrap();
    let headers: Vec<_> = first.headers().collect();
    assert_eq!(headers, [("host", "web-1"), ("app", "new"), ("dc", "fra"), ("path", "/")]);
    assert_eq!((first.timestamp_ms(), first.body()), (Some(5), &b"changed"[..]));
    assert_eq!(first.id(), EventId { producer: PRODUCER, generation: 3, sequence: 100 });
}

#[test]
fn a_builder_goes_on_where_its_block_ended() {
    let mut builder = builder();
    builder.shared_header("host", "web-1").unwrap();
    builder.push(None, [("path", "/")], b"1").unwrap();
    let first = builder.finish(Codec::None);
    assert!(builder.is_empty());
    assert_eq!(builder.push(None, [("user", "ann")], b"2"), Ok(()));
    assert_eq!(builder.shared_header("late", ""), Err(PushError::NotEmpty));
    let second = builder.finish(Codec::None);
    assert_eq!((ids(&first), ids(&second)), (vec![100], vec![101]));
    assert_eq!(second.key("path"), None);
    assert_eq!(second.shared_header("host"), Some("web-1"));

    builder.reset(ProducerId([8; 16]), 4, 0);
    builder.push(None, [], b"1").unwrap();
    let third = builder.finish(Codec::None);
    assert_eq!(third.header().producer, ProducerId([8; 16]));
    assert_eq!((ids(&third), third.shared_headers().count()), (vec![0], 0));
}

#[test]
fn a_shared_header_set_again_replaces_the_first() {
    let mut builder = builder();
    for value in ["a", "b"] {
        builder.shared_header("host", value).unwrap();
    }
    builder.push(None, [], b"").unwrap();
    let block = decode(&builder.finish(Codec::None));
    assert_eq!(block.shared_headers().collect::<Vec<_>>(), [("host", "b")]);
}

#[test]
fn encoded_bytes_is_what_finish_makes() {
    let mut builder = builder();
    builder.shared_header("host", "web-1").unwrap();
    for n in 0..300_u64 {
        let (key, sequence) = (format!("key{n}"), 100 + n * n);
        let timestamp = (n % 3 > 0).then_some(n as i64 - 150);
        builder
            .push_with_sequence(sequence, timestamp, [(&*key, "v")], &[0; 300][..n as usize])
            .unwrap();
        let expected = builder.encoded_bytes();
        let mut copy = BlockBuilder::new(PRODUCER, 3, 100);
        std::mem::swap(&mut copy, &mut builder);
        let block = decode(&copy.finish(Codec::None));
        assert_eq!(block.bytes().len(), expected);
        builder = BlockBuilder::from_block(&block);
        for event in block.events() {
            builder.push_event(&event).unwrap();
        }
    }
}

#[test]
fn what_compression_does_not_shrink_is_stored_as_it_is() {
    let mut builder = builder();
    builder.push(None, [], b"x").unwrap();
    for codec in [Codec::Zstd, Codec::Lz4] {
        let block = builder.finish(codec);
        assert_eq!(decode(&block).header().codec, Codec::None);
        builder.push(None, [], b"x").unwrap();
    }
}

#[test]
fn sequences_only_ascend() {
    let mut builder = builder();
    builder.push_with_sequence(7, None, [], b"").unwrap();
    let expected = PushError::Sequence { expected: 8, found: 7 };
    assert_eq!(builder.push_with_sequence(7, None, [], b""), Err(expected));
    let far = 8 + u64::from(u32::MAX);
    let full = builder.push_with_sequence(far, None, [], b"");
    assert_eq!(full, Err(PushError::Full { field: "sequence span", limit: u32::MAX.into() }));
    builder.push_with_sequence(far - 1, None, [], b"").unwrap();
    assert_eq!(ids(&decode(&builder.finish(Codec::None))), [7, far - 1]);

    builder.reset(PRODUCER, 1, u64::MAX - 1);
    builder.push(None, [], b"").unwrap();
    assert!(matches!(builder.push(None, [], b""), Err(PushError::Sequence { .. })));
    assert_eq!(decode(&builder.finish(Codec::None)).header().end_sequence(), u64::MAX);
}

#[test]
fn logs_never_show_what_is_in_an_event() {
    let block = shop(Codec::None);
    let shown = format!("{block:?} {:?}", block.events().collect::<Vec<_>>());
    for secret in ["web-1", "cart", "three"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
