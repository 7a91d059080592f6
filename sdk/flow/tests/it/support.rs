//! Blocks and puts as one line of text.
//!
//! `[app=shop] a | @5 {k=v} b` is a block whose events share the header `app`,
//! the second of which has a timestamp and a header of its own.

use std::fmt::Write as _;
use std::sync::Arc;

use sdk_config::FlowSpec;
use sdk_event::{Block, BlockBuilder, Codec, EventRef, ProducerId};
use sdk_flow::{ChannelNumbers, ChannelProcessor, Environment, HostNames, ManualClock, Put};
use serde_json::json;

pub(crate) const PRODUCER: ProducerId = ProducerId([7; 16]);
pub(crate) const FIRST_SEQUENCE: u64 = 100;
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

pub(crate) fn block(text: &str) -> Block {
    let mut builder = BlockBuilder::new(PRODUCER, 1, FIRST_SEQUENCE);
    let (shared, events) = bracketed(text, '[', ']');
    for (key, value) in pairs(shared) {
        builder.shared_header(key, value).unwrap();
    }
    for event in events.split(" | ") {
        let (timestamp_ms, event) = match event.strip_prefix('@').map(|event| event.split_once(' '))
        {
            Some(Some((timestamp_ms, event))) => (Some(timestamp_ms.parse().unwrap()), event),
            _ => (None, event),
        };
        let (own, body) = bracketed(event, '{', '}');
        builder.push(timestamp_ms, pairs(own), body.as_bytes()).unwrap();
    }
    builder.finish(Codec::None)
}

pub(crate) fn event(event: &EventRef<'_>) -> String {
    let mut text = String::new();
    if let Some(timestamp_ms) = event.timestamp_ms() {
        write!(text, "@{timestamp_ms} ").unwrap();
    }
    let mut headers: Vec<String> =
        event.headers().map(|(key, value)| format!("{key}={value}")).collect();
    headers.sort();
    if !headers.is_empty() {
        write!(text, "{{{}}} ", headers.join(",")).unwrap();
    }
    text + &String::from_utf8_lossy(event.body())
}

fn bracketed(text: &str, open: char, close: char) -> (&str, &str) {
    match text.strip_prefix(open).and_then(|text| text.split_once(close)) {
        Some((inside, behind)) => (inside, behind.strip_prefix(' ').unwrap_or(behind)),
        None => ("", text),
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|pair| pair.split_once('='))
}

/// A flow with channels a, b and c and one source.
pub(crate) struct Flow {
    pub(crate) spec: FlowSpec,
    pub(crate) clock: Arc<ManualClock>,
}

impl Flow {
    pub(crate) fn new(selector: serde_json::Value, interceptors: serde_json::Value) -> Flow {
        let names: Vec<String> =
            (0..interceptors.as_array().unwrap().len()).map(|index| format!("i{index}")).collect();
        let specs: serde_json::Map<_, _> =
            names.iter().cloned().zip(interceptors.as_array().unwrap().clone()).collect();
        let spec = json!({
            "channels": { "a": {"durable": {}}, "b": {"durable": {}}, "c": {"memory": {}} },
            "interceptors": specs,
            "sources": { "s": { "collector": {
                "channels": ["a", "b", "c"], "selector": selector, "interceptors": names,
            } } },
        });
        let spec = serde_json::from_value(spec).unwrap();
        Flow { spec, clock: Arc::new(ManualClock::new(NOW_MS)) }
    }

    pub(crate) fn processor(&self) -> ChannelProcessor {
        let host = HostNames { name: Some("h.example".to_owned()), ip: Some([10, 0, 0, 1].into()) };
        let environment = Environment { clock: self.clock.clone(), host };
        ChannelProcessor::build(&self.spec.sources["s"], &self.spec, &environment).unwrap()
    }

    /// The put as text: for each part its channels (optional ones in brackets)
    /// and its events with their positions; then what was dropped.
    pub(crate) fn show(&self, put: &Put) -> String {
        let numbers = ChannelNumbers::of(&self.spec);
        let mut lines = Vec::new();
        for part in &put.parts {
            let channels: String = part
                .channels
                .iter()
                .map(|channel| match part.optional.contains(channel) {
                    true => format!("({})", numbers.name(channel).unwrap()),
                    false => numbers.name(channel).unwrap().to_string(),
                })
                .collect();
            let events: Vec<String> = part
                .block
                .events()
                .map(|event| {
                    let position = part.positions.at(event.index());
                    assert_eq!(event.sequence(), FIRST_SEQUENCE + u64::from(position));
                    format!("{position}:{}", self::event(&event))
                })
                .collect();
            lines.push(format!("{channels} {}", events.join(" | ")));
        }
        for dropped in &put.dropped {
            lines.push(format!("dropped {} by {}", dropped.events, dropped.rule));
        }
        lines.join("; ")
    }
}

/// A block through interceptors into all channels: its events as text, and
/// after a semicolon what was dropped.
pub(crate) fn intercept(interceptors: serde_json::Value, text: &str) -> String {
    let flow = Flow::new(json!({"replicating": {}}), interceptors);
    let put = flow.processor().process(block(text), None).unwrap();
    let mut events: Vec<String> = Vec::new();
    for part in &put.parts {
        events.extend(part.block.events().map(|event| self::event(&event)));
    }
    let mut text = events.join(" | ");
    for dropped in &put.dropped {
        write!(text, "; {} by {}", dropped.events, dropped.rule).unwrap();
    }
    text
}
