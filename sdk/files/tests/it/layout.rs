//! Paths: Flume's escapes, rounding, hostile headers.

use proptest::prelude::*;
use sdk_config::{DurationText, FilesSink, Round, RoundUnit};
use sdk_event::{Block, BlockBuilder, Codec, Event, ProducerId};
use sdk_files::layout::{
    DeadReason, Explained, Layout, LayoutError, NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX,
    Place, Placer, encode_component, resolve_host,
};
use sdk_files::name::{FinalName, Names};
use sdk_flow::HostNames;

use crate::rig::{LINEAGE, SAMPLE_MS, spec};

fn block(events: &[Event]) -> Block {
    let mut builder = BlockBuilder::new(ProducerId([1; 16]), 1, 0);
    for event in events {
        builder.push(event.timestamp_ms, event.headers.iter(), &event.body).unwrap();
    }
    builder.finish(Codec::None)
}

fn explain_with(spec: &FilesSink, event: Event, put_ms: i64) -> Explained {
    let layout = Layout::new(spec, "web").unwrap();
    let block = block(&[event]);
    layout.explain(&block.events().next().unwrap(), put_ms)
}

/// The directory of an event at the sample time, or why there is none.
fn directory(spec: &FilesSink, event: Event) -> String {
    match explain_with(spec, event.with_timestamp_ms(SAMPLE_MS), SAMPLE_MS) {
        Explained::At { directory, .. } => directory,
        Explained::Dead(reason) => format!("dead: {reason}"),
    }
}

fn at(path: &str) -> String {
    directory(&spec(path), Event::new("x").with_header("app", "shop"))
}

/// Flume's table for 1340421394234 ms, run against Flume 1.11.
#[test]
fn escapes_render_as_in_flume() {
    let table = [
        ("%a", "Sat"),
        ("%A", "Saturday"),
        ("%b", "Jun"),
        ("%B", "June"),
        ("%c", "Sat Jun 23 03:16:34 2012"),
        ("%d", "23"),
        ("%D", "06/23/12"),
        ("%e", "23"),
        ("%H", "03"),
        ("%I", "03"),
        ("%j", "175"),
        ("%k", "3"),
        ("%l", "3"),
        ("%m", "06"),
        ("%M", "16"),
        ("%n", "6"),
        ("%p", "AM"),
        ("%s", "1340421394"),
        ("%S", "34"),
        ("%t", "1340421394234"),
        ("%y", "12"),
        ("%Y", "2012"),
        ("%z", "+0000"),
        ("%%", "%"),
        ("%{app}", "shop"),
    ];
    for (escape, expected) in table {
        assert_eq!(
            at(&format!("/data/web/{escape}/")),
            format!("/data/web/{expected}"),
            "{escape}"
        );
    }
    assert_eq!(at("/data/web/%{missing}-x"), "/data/web/-x");
    assert_eq!(at("/data/web/%{timestamp}"), "/data/web/1340421394234");
}

#[test]
fn rounding_zeroes_the_smaller_fields() {
    let at = |value, unit, time_zone: &str, ms: i64| {
        let spec = FilesSink {
            round: Some(Round { value, unit }),
            time_zone: time_zone.to_owned(),
            ..spec("/data/web/%H:%M:%S/%s/%t/%z")
        };
        let event = Event::new("x").with_timestamp_ms(ms);
        match explain_with(&spec, event, ms) {
            Explained::At { directory, .. } => directory["/data/web/".len()..].to_owned(),
            Explained::Dead(reason) => reason.to_string(),
        }
    };
    // 11:54:34.123 UTC of Flume's guide.
    let noon = 1_340_452_474_123;
    assert_eq!(at(10, RoundUnit::Minute, "UTC", noon), "11:50:00/1340452200/1340452474123/+0000");
    assert_eq!(at(25, RoundUnit::Minute, "UTC", noon), "11:50:00/1340452200/1340452474123/+0000");
    assert_eq!(at(30, RoundUnit::Second, "UTC", noon), "11:54:30/1340452470/1340452474123/+0000");
    assert_eq!(at(6, RoundUnit::Hour, "UTC", noon), "06:00:00/1340431200/1340452474123/+0000");
    // In the zone, not in UTC: Kathmandu is 5:45 ahead, Berlin 2:00 in June.
    let kathmandu = at(1, RoundUnit::Hour, "Asia/Kathmandu", noon);
    assert_eq!(
        kathmandu,
        "17:00:00/1340449200/1340452474123/+0545".replace("1340449200", "1340450100")
    );
    assert_eq!(
        at(6, RoundUnit::Hour, "Europe/Berlin", noon),
        "12:00:00/1340445600/1340452474123/+0200"
    );
    assert_eq!(at(1, RoundUnit::Minute, "UTC", -1), "23:59:00/-60/-1/+0000");
}

#[test]
fn hostile_headers_stay_in_their_component() {
    let path = "/data/web/%{app}/x";
    let of = |value: &str| directory(&spec(path), Event::new("x").with_header("app", value));
    assert_eq!(of("../../etc"), "/data/web/%2E.%2F..%2Fetc/x");
    assert_eq!(of(".."), "/data/web/%2E./x");
    assert_eq!(of("."), "/data/web/%2E/x");
    assert_eq!(of("_hidden"), "/data/web/%5Fhidden/x");
    assert_eq!(of("a/b\nc\0d"), "/data/web/a%2Fb%0Ac%00d/x");
    assert_eq!(of("50%"), "/data/web/50%25/x");
    assert_eq!(of("zürich:8080"), "/data/web/z%C3%BCrich%3A8080/x");
    assert_eq!(of("A-z0_9.=,+@"), "/data/web/A-z0_9.=,+@/x");
    assert_eq!(of(""), "dead: empty path component");
    assert_eq!(of(&"x".repeat(255)), format!("/data/web/{}/x", "x".repeat(255)));
    assert_eq!(of(&"x".repeat(256)), "dead: path component longer than 255 bytes");
    assert_eq!(of(&"/".repeat(86)), "dead: path component longer than 255 bytes");
    // Nothing a header says makes a directory of ours.
    let hidden = |literal: &str, value: &str| {
        let spec = spec(&format!("/data/web/{literal}%{{app}}"));
        directory(&spec, Event::new("x").with_header("app", value))
    };
    assert_eq!(hidden(".", "staging"), "dead: path component reserved");
    assert_eq!(hidden("_", "dead"), "dead: path component reserved");
    assert_eq!(hidden(".", "-"), "/data/web/.-");
    assert_eq!(hidden(".", ""), "dead: path component of dots");
    assert_eq!(hidden("..", ""), "dead: path component of dots");
}

#[test]
fn paths_have_bounds() {
    let deep = |count: usize| format!("/data/web{}", "/%H".repeat(count));
    assert_eq!(at(&deep(PATH_DEPTH_MAX - 2)), format!("/data/web{}", "/03".repeat(14)));
    assert_eq!(at(&deep(PATH_DEPTH_MAX - 1)), "dead: path deeper than 16 directories");
    let long = format!("/data/web{}", format!("/%H{}", "y".repeat(210)).repeat(5));
    assert!(long.len() > PATH_BYTES_MAX);
    assert_eq!(at(&long), "dead: path longer than 1024 bytes");
    let prefix = FilesSink { file_prefix: "p%{app}".to_owned(), ..spec("/data/web/%H") };
    let of = |value: &str| directory(&prefix, Event::new("x").with_header("app", value));
    let room = NAME_BYTES_MAX - sdk_files::name::FIXED_BYTES_MAX - 1;
    assert_eq!(of(&"x".repeat(room)), "/data/web/03");
    assert_eq!(of(&"x".repeat(room + 1)), "dead: path component longer than 255 bytes");
}

#[test]
fn time_decides_as_the_put_time_allows() {
    let spec = FilesSink { late_limit: DurationText::from_secs(3600), ..spec("/data/web/%H%M") };
    let strict = FilesSink { require_timestamp: true, ..spec.clone() };
    let of = |spec: &FilesSink, ms: Option<i64>| {
        let event = Event { timestamp_ms: ms, ..Event::new("x") };
        match explain_with(spec, event, SAMPLE_MS) {
            Explained::At { directory, .. } => Ok(directory["/data/web/".len()..].to_owned()),
            Explained::Dead(reason) => Err(reason),
        }
    };
    assert_eq!(of(&spec, None), Ok("0316".to_owned()));
    assert_eq!(of(&strict, None), Err(DeadReason::NoTimestamp));
    assert_eq!(of(&spec, Some(SAMPLE_MS + 600_000)), Ok("0326".to_owned()));
    assert_eq!(of(&spec, Some(SAMPLE_MS + 600_001)), Err(DeadReason::Ahead));
    assert_eq!(of(&spec, Some(SAMPLE_MS - 3_600_000)), Ok("0216".to_owned()));
    assert_eq!(of(&spec, Some(SAMPLE_MS - 3_600_001)), Err(DeadReason::Behind));
    let any = FilesSink { late_limit: DurationText::ZERO, ..spec };
    assert_eq!(of(&any, Some(i64::MIN)), Err(DeadReason::OutOfRange));
    assert_eq!(of(&any, Some(-62_135_596_800_001)), Err(DeadReason::OutOfRange));
    assert_eq!(of(&any, Some(-62_135_596_800_000)), Ok("0000".to_owned()));
    let open = FilesSink { future_limit: DurationText::ZERO, ..any };
    assert_eq!(of(&open, Some(i64::MAX)), Err(DeadReason::OutOfRange));
}

#[test]
fn a_path_that_can_never_work_is_refused_at_once() {
    let of = |path: &str| Layout::new(&spec(path), "web").map(|layout| layout.root().to_owned());
    assert_eq!(of("/data/web/%H").unwrap(), "/data/web");
    assert_eq!(of("/data/web/x-%H").unwrap(), "/data/web");
    assert_eq!(of("/data//web/").unwrap(), "/data/web");
    assert_eq!(of("/data/web/50%%/%H").unwrap(), "/data/web/50%");
    assert_eq!(of("file:///data/web/%H").unwrap(), "/data/web");
    assert_eq!(of("hdfs://nn:8020/logs/web/%H").unwrap(), "hdfs://nn:8020/logs/web");
    assert!(matches!(of("data/web/%H"), Err(LayoutError::Relative(_))));
    assert!(matches!(of("%{root}/web"), Err(LayoutError::Relative(_))));
    assert!(matches!(of("/data/%H"), Err(LayoutError::ShallowRoot(_))));
    assert!(matches!(of("/data/../etc/%H"), Err(LayoutError::Dots(_))));
    assert!(matches!(of("/data/web/%H/../x"), Err(LayoutError::Dots(_))));
    assert!(matches!(of("/data/web/%H/.."), Err(LayoutError::Dots(_))));
    assert!(matches!(of("/.reserved/raw/%H"), Err(LayoutError::Reserved(_))));
    assert!(matches!(of("/data/web/%Q"), Err(LayoutError::Template { .. })));
    assert!(matches!(of("/data/web/%[IP]"), Err(LayoutError::UnresolvedHost(_))));
    let with = |change: fn(&mut FilesSink)| {
        let mut spec = spec("/data/web/%H");
        change(&mut spec);
        Layout::new(&spec, "web").map(|_| ())
    };
    assert_eq!(
        with(|spec| spec.file_prefix = "a/b".to_owned()),
        Err(LayoutError::Slash("file_prefix"))
    );
    assert_eq!(with(|spec| spec.file_prefix = String::new()), Err(LayoutError::EmptyPrefix));
    assert_eq!(
        with(|spec| spec.file_suffix = "/x".to_owned()),
        Err(LayoutError::Slash("file_suffix"))
    );
    assert!(matches!(with(|spec| spec.time_zone = "Mars".to_owned()), Err(LayoutError::Zone(_))));
    let round = Some(Round { value: 25, unit: RoundUnit::Hour });
    let spec = FilesSink { round, ..spec("/data/web/%H") };
    assert_eq!(Layout::new(&spec, "web").map(|_| ()), Err(LayoutError::Round(25)));
}

#[test]
fn host_escapes_are_resolved_once() {
    let names = HostNames {
        name: Some("web1.example.org".to_owned()),
        ip: Some("10.0.0.7".parse().unwrap()),
    };
    let path = "/data/%[localhost]/%[IP]-%[fqdn]/%Y/%{app}/%%/%t";
    let resolved = resolve_host(path, &names).unwrap();
    assert_eq!(resolved, "/data/web1/10.0.0.7-web1.example.org/%Y/%{app}/%%/%t");
    assert_eq!(resolve_host(&resolved, &names).unwrap(), resolved);
}

#[test]
fn names_sort_as_offsets_and_read_back() {
    let key = |prefix: &str| sdk_config::ledger::BucketKey {
        sink: 3,
        directory: "/data/web".to_owned(),
        prefix: prefix.to_owned(),
        suffix: ".log.gz".to_owned(),
    };
    let names = Names { cluster: *b"\x12\x34\x56\x78abcdefghijkl", lineage: LINEAGE };
    let name = names.file(&key("events"), 9, 10);
    assert_eq!(
        name,
        "events.12345678-00000000000000000007-00003-00002-00000000000000000003\
         .00000000000000000009-00000000000000000010.log.gz"
    );
    assert!(name < names.file(&key("events"), 11, 11));
    for prefix in ["events", "a.b-c", "x.12345678-1-2-3"] {
        let read = FinalName::parse(&names.file(&key(prefix), 9, 10)).unwrap();
        assert_eq!((read.prefix.as_str(), read.lineage, read.sink), (prefix, LINEAGE, 3));
        assert_eq!((read.first, read.last, read.suffix.as_str()), (9, 10, ".log.gz"));
    }
    assert_eq!(FinalName::parse("events.log"), None);
    let root = "/data/web";
    assert_eq!(
        names.token_staging(root, 3, 12),
        "/data/web/.staging/12345678-6162-6364-6566-6768696a6b6c/7/3/2-3/12"
    );
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(&after[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn encoding_is_injective_and_safe(value in ".*") {
        let mut text = String::new();
        encode_component(&value, &mut text);
        prop_assert_eq!(decode(&text), value.as_bytes());
        let safe = |c: char| c.is_ascii_alphanumeric() || "-_.=,+@%".contains(c);
        prop_assert!(text.chars().all(safe));
        prop_assert!(!text.starts_with('.') && !text.starts_with('_'));
    }

    #[test]
    fn whatever_the_headers_the_path_stays_under_the_root(
        headers in proptest::collection::vec(("[a-c]", "\\PC{0,80}|[./_%]{0,6}"), 0..4),
        path in "(/(x|%\\{a\\}|%\\{b\\}|%H|\\.|_|%t|%D){1,3}){0,5}",
        timestamp in proptest::option::of(any::<i64>()),
    ) {
        let spec = spec(&format!("/data/web{path}"));
        let Ok(layout) = Layout::new(&spec, "web") else { return Ok(()) };
        let mut event = Event { timestamp_ms: timestamp, ..Event::new("x") };
        for (key, value) in headers {
            event.headers.set(key, value);
        }
        let block = block(&[event]);
        let event = block.events().next().unwrap();
        let explained = layout.explain(&event, SAMPLE_MS);
        prop_assert_eq!(&explained, &layout.explain(&event, SAMPLE_MS));
        if let Explained::At { directory, prefix } = explained {
            let rest = directory.strip_prefix(layout.root());
            prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
            prop_assert!(directory.starts_with("/data/web"));
            prop_assert!(directory.len() <= PATH_BYTES_MAX);
            let components: Vec<&str> = directory[1..].split('/').collect();
            prop_assert!(components.len() <= PATH_DEPTH_MAX);
            prop_assert!(components.iter().all(|it| !it.is_empty() && *it != "." && *it != ".."));
            prop_assert!(!prefix.contains('/') && !prefix.is_empty());
            let below = &directory["/data/web".len()..];
            prop_assert!(!below.starts_with("/.staging/") && !below.starts_with("/_dead/"));
        }
    }

    /// The shortcut gives what rendering each event gives.
    #[test]
    fn placing_many_is_placing_each(
        events in proptest::collection::vec(
            (proptest::option::of(0i64..20_000_000), 0u8..3, 0u8..3), 1..60),
        path in prop_oneof![
            Just("/data/web/%Y/%H%M"), Just("/data/web/%{a}/%d"), Just("/data/web/x"),
            Just("/data/web/%{a}-%{b}/%H/%S"), Just("/data/web/%t"), Just("/data/web/%{timestamp}"),
        ],
        round in proptest::option::of((1u32..25, 0u8..3)),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("Australia/Lord_Howe")],
        shared in any::<bool>(),
        // Around the autumn change of the clocks, and anywhere.
        base in prop_oneof![Just(1_698_535_000_000i64), Just(SAMPLE_MS), 0i64..2_000_000_000_000],
    ) {
        let units = [RoundUnit::Second, RoundUnit::Minute, RoundUnit::Hour];
        let round = round.map(|(value, unit)| Round { value, unit: units[unit as usize] });
        let spec = FilesSink {
            round,
            time_zone: zone.to_owned(),
            file_prefix: "p%{b}".to_owned(),
            ..spec(path)
        };
        let layout = std::sync::Arc::new(Layout::new(&spec, "web").unwrap());
        let mut builder = BlockBuilder::new(ProducerId([1; 16]), 1, 0);
        if shared {
            builder.shared_header("a", "s").unwrap();
        }
        for (ms, a, b) in &events {
            let (a, b) = (a.to_string(), b.to_string());
            let own = [("a", a.as_str()), ("b", b.as_str())];
            let own = if shared { &own[..0] } else { &own[..] };
            builder.push(ms.map(|ms| base + ms), own.iter().copied(), b"x").unwrap();
        }
        let block = builder.finish(Codec::None);
        let put_ms = base + 10_000_000;
        let mut placer = Placer::new(std::sync::Arc::clone(&layout));
        placer.begin_put(put_ms);
        let mut keys: Vec<(String, String)> = Vec::new();
        for event in block.events() {
            let place = placer.place(&event, |directory, prefix| {
                let key = (directory.to_owned(), prefix.to_owned());
                let at = keys.iter().position(|known| *known == key);
                let at = at.unwrap_or_else(|| { keys.push(key); keys.len() - 1 });
                u32::try_from(at).unwrap()
            });
            let placed = match place {
                Place::Bucket(number) => {
                    let (directory, prefix) = keys[number as usize].clone();
                    Explained::At { directory, prefix }
                }
                Place::Dead(reason) => Explained::Dead(reason),
            };
            prop_assert_eq!(placed, layout.explain(&event, put_ms));
        }
    }
}
