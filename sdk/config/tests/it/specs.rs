//! Specs are data: they survive JSON, and the default flow is what the documentation says.

use std::collections::BTreeMap;

use sdk_config::*;

fn every_component() -> FlowSpec {
    let channels = vec!["main".to_owned()];
    let sources = [
        SourceSpec::Collector(CollectorSource { channels: channels.clone(), ..Default::default() }),
        SourceSpec::Taildir(TaildirSource {
            start: StartAt::End,
            multiline: Some(Multiline::default()),
            ..Default::default()
        }),
        SourceSpec::Seq(SeqSource {
            selector: SelectorSpec::Multiplexing(MultiplexingSelector {
                mapping: BTreeMap::from([("shop".to_owned(), channels)]),
                ..Default::default()
            }),
            ..Default::default()
        }),
    ];
    let interceptors = [
        InterceptorSpec::Timestamp(TimestampInterceptor::default()),
        InterceptorSpec::Host(HostInterceptor::default()),
        InterceptorSpec::Static(StaticInterceptor::default()),
        InterceptorSpec::RemoveHeader(RemoveHeaderInterceptor::default()),
        InterceptorSpec::RegexFilter(RegexFilterInterceptor::default()),
        InterceptorSpec::SearchReplace(SearchReplaceInterceptor::default()),
        InterceptorSpec::RegexExtractor(RegexExtractorInterceptor {
            regex: "(.)".to_owned(),
            serializers: ExtractorSerializers(vec![ExtractorSerializer::default()]),
        }),
    ];
    let channels = [
        ChannelSpec::Durable(DurableChannel { capacity: Some(ByteSize(1234)), log_span: None }),
        ChannelSpec::Memory(MemoryChannel::default()),
    ];
    let files = FilesSink {
        round: Some(Round { value: 10, unit: RoundUnit::Minute }),
        serializer: Serializer::Json(JsonSerializer { ids: true }),
        codec: OutputCodec::Zstd(ZstdCodec { level: 9 }),
        ..Default::default()
    };
    let sinks = [
        SinkSpec::Files(Box::new(files)),
        SinkSpec::Logger(LoggerSink::default()),
        SinkSpec::Null(NullSink::default()),
        SinkSpec::Collector(Box::new(CollectorSink {
            ack: Some(AckLevel::Committed),
            ..Default::default()
        })),
    ];
    let groups = [
        GroupSpec::Default(DefaultGroup::default()),
        GroupSpec::Failover(FailoverGroup {
            sinks: BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), -1)]),
            ..Default::default()
        }),
        GroupSpec::LoadBalance(LoadBalanceGroup::default()),
    ];
    FlowSpec {
        sources: named(sources),
        interceptors: named(interceptors),
        channels: named(channels),
        sinks: named(sinks),
        groups: named(groups),
        ..FlowSpec::default()
    }
}

fn named<T>(items: impl IntoIterator<Item = T>) -> BTreeMap<String, T> {
    items.into_iter().enumerate().map(|(at, item)| (format!("c{at}"), item)).collect()
}

#[test]
fn every_component_survives_json() {
    let spec = every_component();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<FlowSpec>(&json).unwrap(), spec);
}

#[test]
fn sizes_and_durations_survive_text() {
    for bytes in [0, 1, 1000, 1024, 1 << 20, 128 << 20, 50 << 30, 1 << 40, 12_345, u64::MAX] {
        assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
    }
    for millis in [0, 1, 999, 1000, 30_000, 90_000, 120_000, 3_600_000, 604_800_000] {
        let duration = DurationText::from_millis(millis);
        assert_eq!(duration.to_string().parse(), Ok(duration));
    }
    assert_eq!("1h30m".parse(), Ok(DurationText::from_secs(5400)));
    assert_eq!(ByteSize::mib(128).to_string(), "128MiB");
    assert_eq!(DurationText::from_secs(90).to_string(), "90s");
}
