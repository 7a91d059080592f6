//! Whatever is pushed is read.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sdk_event::{Block, BlockBuilder, Codec, Event, Headers, ProducerId};

use crate::blocks::decode;

#[derive(Debug, Clone)]
struct Plan {
    producer: [u8; 16],
    generation: u64,
    first_sequence: u64,
    shared: BTreeMap<String, String>,
    events: Vec<PlannedEvent>,
    codec: Codec,
}

#[derive(Debug, Clone)]
struct PlannedEvent {
    gap: u32,
    timestamp_ms: Option<i64>,
    own: BTreeMap<String, String>,
    body: Vec<u8>,
    keep: bool,
}

/// Few keys, so that own headers meet shared ones; some long enough for a length of two bytes.
fn headers(max: usize) -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof!["[a-h]", "[a-h]{2}", "\\PC{1,8}", "k{126,128}"];
    let value = prop_oneof!["[0-9]{0,3}", "\\PC{0,12}", "v{126,200}"];
    btree_map(key, value, 0..max)
}

fn event() -> impl Strategy<Value = PlannedEvent> {
    let gap = prop_oneof![4 => Just(0), 1 => 1..1_000_u32];
    let day = 1_700_000_000_000..1_700_086_400_000_i64;
    let timestamp_ms = prop_oneof![
        Just(None),
        day.prop_map(Some),
        any::<i64>().prop_map(Some),
        Just(Some(i64::MIN)),
        Just(Some(i64::MAX)),
    ];
    let body = prop_oneof![vec(any::<u8>(), 0..20), vec(0..4_u8, 100..20_000)];
    (gap, timestamp_ms, headers(6), body, any::<bool>()).prop_map(
        |(gap, timestamp_ms, own, body, keep)| PlannedEvent { gap, timestamp_ms, own, body, keep },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let codec = prop::sample::select(&Codec::ALL[..]);
    let first = prop_oneof![0..10_u64, 0..u64::MAX / 2];
    (any::<[u8; 16]>(), any::<u64>(), first, headers(6), vec(event(), 1..40), codec).prop_map(
        |(producer, generation, first_sequence, shared, events, codec)| Plan {
            producer,
            generation,
            first_sequence,
            shared,
            events,
            codec,
        },
    )
}

fn pairs(headers: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().map(|(key, value)| (&**key, &**value))
}

impl Plan {
    fn build(&self) -> Block {
        let producer = ProducerId(self.producer);
        let mut builder = BlockBuilder::new(producer, self.generation, self.first_sequence);
        for (key, value) in pairs(&self.shared) {
            builder.shared_header(key, value).expect("within limits");
        }
        for ((sequence, _), event) in self.expected().into_iter().zip(&self.events) {
            let (own, body) = (pairs(&event.own), &event.body[..]);
            builder
                .push_with_sequence(sequence, event.timestamp_ms, own, body)
                .expect("within limits");
        }
        builder.finish(self.codec)
    }

    /// Every event as it must be read, with its sequence.
    fn expected(&self) -> Vec<(u64, Event)> {
        let mut next = self.first_sequence;
        let mut events = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            let sequence = next + if index == 0 { 0 } else { u64::from(event.gap) };
            next = sequence + 1;
            let mut headers = Headers::from_iter(pairs(&self.shared));
            headers.extend(pairs(&event.own));
            let body = event.body.clone().into();
            events.push((sequence, Event { timestamp_ms: event.timestamp_ms, headers, body }));
        }
        events
    }
}

fn read(block: &Block) -> Vec<(u64, Event)> {
    block.events().map(|event| (event.sequence(), event.to_event())).collect()
}

proptest! {
    #[test]
    fn blocks_read_back_as_pushed(plan in plan()) {
        let built = plan.build();
        let block = decode(&built);
        prop_assert_eq!(block.header(), built.header());
        let expected = plan.expected();
        prop_assert_eq!(read(&built), expected.clone());
        prop_assert_eq!(read(&block), expected.clone());

        let header = block.header();
        prop_assert_eq!(header.first_sequence, expected[0].0);
        prop_assert_eq!(header.last_sequence, expected[expected.len() - 1].0);
        let timestamps = || expected.iter().filter_map(|(_, event)| event.timestamp_ms);
        prop_assert_eq!(header.min_timestamp_ms, timestamps().min());
        prop_assert_eq!(header.max_timestamp_ms, timestamps().max());
        let own = plan.events.iter().any(|event| !event.own.is_empty());
        prop_assert_eq!(block.has_own_headers(), own);
    }

    #[test]
    fn own_headers_win_over_shared_ones(plan in plan()) {
        let block = decode(&plan.build());
        let keys = plan.events.iter().flat_map(|event| event.own.keys()).chain(plan.shared.keys());
        for key in keys.map(String::as_str).chain(["absent"]) {
            for (event, planned) in block.events().zip(&plan.events) {
                let wanted = planned.own.get(key).or(plan.shared.get(key)).map(String::as_str);
                prop_assert_eq!(event.header(key), wanted);
                let found = event.headers().filter(|(found, _)| *found == key);
                prop_assert_eq!(found.map(|(_, value)| value).collect::<Vec<_>>(), Vec::from_iter(wanted));
            }
        }
    }

    #[test]
    fn thinning_keeps_ids(plan in plan()) {
        let block = decode(&plan.build());
        let kept = |index: &u32| plan.events[*index as usize].keep;
        let positions: Vec<u32> = (0..block.header().count).filter(kept).collect();
        let wanted: Vec<_> = read(&block)
            .into_iter()
            .zip(&plan.events)
            .filter_map(|(event, planned)| planned.keep.then_some(event))
            .collect();
        let thin = block.thin(&positions);
        let left: Vec<_> = thin.iter().flat_map(|thin| read(&decode(thin))).collect();
        prop_assert_eq!(left, wanted);
        for thin in thin {
            prop_assert!(thin.header().producer == block.header().producer);
            prop_assert!(thin.header().generation == block.header().generation);
        }
    }
}
