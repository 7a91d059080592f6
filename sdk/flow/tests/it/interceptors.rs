//! Each interceptor, one line per case.

use sdk_event::{BlockBuilder, Codec};
use sdk_flow::{Positions, Rejection};
use serde_json::{Value, json};

use crate::support::{FIRST_SEQUENCE, Flow, NOW_MS, PRODUCER, block, intercept};

fn check(interceptor: Value, cases: &[(&str, &str)]) {
    for (input, output) in cases {
        assert_eq!(intercept(json!([interceptor]), input), *output, "{interceptor} on {input:?}");
    }
}

#[test]
fn timestamp_overwrites_unless_told_to_preserve() {
    let now = format!("@{NOW_MS} a");
    check(json!({"timestamp": {}}), &[("a", &now), ("@5 a", &now)]);
    check(json!({"timestamp": {"preserve_existing": true}}), &[("a", &now), ("@5 a", "@5 a")]);
}

#[test]
fn timestamp_under_another_name_is_a_header() {
    let stamped = format!("{{t={NOW_MS}}} a");
    let cases = [("a", &*stamped), ("{t=1} a", &*stamped), ("[t=1] a", &*stamped)];
    check(json!({"timestamp": {"header_name": "t"}}), &cases);
    let keep = json!({"timestamp": {"header_name": "t", "preserve_existing": true}});
    check(keep, &[("a", &stamped), ("{t=1} a", "{t=1} a"), ("[t=1] a", "{t=1} a")]);
}

#[test]
fn host_is_the_address_unless_told_otherwise() {
    check(json!({"host": {}}), &[("a", "{host=10.0.0.1} a"), ("{host=x} a", "{host=10.0.0.1} a")]);
    check(json!({"host": {"use_ip": false}}), &[("a", "{host=h.example} a")]);
    check(json!({"host": {"preserve_existing": true}}), &[("{host=x} a", "{host=x} a")]);
    check(json!({"host": {"host_header": "h"}}), &[("a", "{h=10.0.0.1} a")]);
}

#[test]
fn static_preserves_unless_told_otherwise() {
    let cases = [
        ("a | {k=1} b", "{k=v} a | {k=1} b"),
        ("[k=1] a | {k=2} b", "{k=1} a | {k=2} b"),
        ("[x=1] a", "{k=v,x=1} a"),
    ];
    check(json!({"static": {"key": "k", "value": "v"}}), &cases);
    let overwrite = json!({"static": {"key": "k", "value": "v", "preserve_existing": false}});
    check(overwrite, &[("[k=1] a | {k=2} b | {x=3} c", "{k=v} a | {k=v} b | {k=v,x=3} c")]);
}

#[test]
fn static_can_set_the_timestamp() {
    let spec = json!({"static": {"key": "timestamp", "value": "77"}});
    check(spec, &[("a | @5 b", "@77 a | @5 b")]);
    let text = json!({"static": {"key": "timestamp", "value": "soon"}});
    check(text, &[("a", "{timestamp=soon} a")]);
}

#[test]
fn remove_header_by_name_list_and_pattern() {
    let input = "[a=1,ab=2] x | {b=3,a=4} y | @9 z";
    for (spec, output) in [
        (json!({"with_name": "a"}), "{ab=2} x | {ab=2,b=3} y | @9 {ab=2} z"),
        (json!({"from_list": ["a", "b"]}), "{ab=2} x | {ab=2} y | @9 {ab=2} z"),
        (json!({"matching": "a.*"}), "x | {b=3} y | @9 z"),
        // The whole name has to match.
        (json!({"matching": "a|zzz"}), "{ab=2} x | {ab=2,b=3} y | @9 {ab=2} z"),
        (json!({"with_name": "timestamp"}), "{a=1,ab=2} x | {a=4,ab=2,b=3} y | {a=1,ab=2} z"),
        (json!({}), "{a=1,ab=2} x | {a=4,ab=2,b=3} y | @9 {a=1,ab=2} z"),
    ] {
        check(json!({"remove_header": spec}), &[(input, output)]);
    }
}

#[test]
fn regex_filter_finds_anywhere_and_keeps_or_drops() {
    let input = "GET / | POST / | xGETx";
    check(json!({"regex_filter": {}}), &[(input, input)]);
    let keep = json!({"regex_filter": {"regex": "GET"}});
    check(keep, &[(input, "GET / | xGETx; 1 by interceptor:i0")]);
    let drop = json!({"regex_filter": {"regex": "GET", "exclude_events": true}});
    check(drop, &[(input, "POST /; 2 by interceptor:i0")]);
    let all = json!({"regex_filter": {"regex": ".", "exclude_events": true}});
    check(all, &[(input, "; 3 by interceptor:i0")]);
}

#[test]
fn search_replace_replaces_as_java_does() {
    for (pattern, replacement, input, output) in [
        ("a", "b", "banana", "bbnbnb"),
        (r"(\d+)-(\d+)", "$2-$1", "10-20 x 3-4", "20-10 x 4-3"),
        (r"(?<user>\w+)@", "<${user}>", "me@here", "<me>here"),
        ("a+", "", "baaac", "bc"),
        ("x*", "-", "abc", "-a-b-c-"),
        ("a*", "X", "aaa", "XX"),
        ("é|x*", "-", "aé", "-a--"),
        (r"\s+$", "", "tail   ", "tail"),
        (r"\.", r"\$", "1.5", "1$5"),
        ("nothing", "x", "as it was", "as it was"),
    ] {
        let spec =
            json!({"search_replace": {"search_pattern": pattern, "replace_string": replacement}});
        check(spec, &[(input, output)]);
    }
}

#[test]
fn regex_extractor_takes_the_first_match_and_ignores_what_has_no_partner() {
    let two = json!([{"name": "one"}, {"name": "two"}]);
    for (regex, input, output) in [
        (r"(\d):(\d)", "1:2 3:4", "{one=1,two=2} 1:2 3:4"),
        (r"(\d):(\d):(\d)", "1:2:3", "{one=1,two=2} 1:2:3"),
        (r"(\d)", "7", "{one=7} 7"),
        (r"(a)|(b)", "b", "{two=b} b"),
        (r"(\d)", "none", "none"),
        (r"(\d)", "{one=9} 7", "{one=7} 7"),
        (r"(\d)", "[one=9] 7 | x", "{one=7} 7 | {one=9} x"),
    ] {
        let spec = json!({"regex_extractor": {"regex": regex, "serializers": two}});
        check(spec, &[(input, output)]);
    }
}

#[test]
fn the_time_in_a_web_log_becomes_the_timestamp() {
    let spec = json!({"regex_extractor": {
        "regex": r"\[(.*?)\]",
        "serializers": {"timestamp": {"type": "millis", "pattern": "%d/%b/%Y:%H:%M:%S %z"}},
    }});
    let line = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200";
    let stamped = format!("@971211336000 {line}");
    check(spec.clone(), &[(line, &stamped), ("[x=1] [yesterday] a", "{x=1} [yesterday] a")]);
    // Neighbours with the same time, and one without.
    let input = format!("{line} | {line} | @5 [no] | {line}");
    let output = format!("{stamped} | {stamped} | @5 [no] | {stamped}");
    check(spec, &[(&input, &output)]);
}

#[test]
fn a_time_without_an_offset_is_read_in_the_zone_given() {
    for (zone, ms) in [("UTC", 951_827_696_000_i64), ("Europe/Berlin", 951_824_096_000)] {
        let spec = json!({"regex_extractor": {
            "regex": "^(.{19})",
            "serializers": [{"name": "timestamp", "type": "millis", "pattern": "%Y-%m-%d %H:%M:%S", "time_zone": zone}],
        }});
        check(spec, &[("2000-02-29 12:34:56 x", &format!("@{ms} 2000-02-29 12:34:56 x"))]);
    }
}

#[test]
fn a_stray_byte_does_not_hide_the_rest_of_a_line() {
    let extract = json!([{"regex_extractor": {"regex": "^(.*?) (.*)$", "serializers": [{"name": "one"}, {"name": "two"}]}}]);
    let flow = Flow::new(json!({"replicating": {}}), extract);
    let mut builder = BlockBuilder::new(PRODUCER, 1, FIRST_SEQUENCE);
    builder.push(None, [], b"caf\xe9 noir").unwrap();
    let put = flow.processor().process(builder.finish(Codec::None), None).unwrap();
    let event = put.parts[0].block.events().next().unwrap();
    assert_eq!(event.header("one"), Some("caf\u{fffd}"));
    assert_eq!(event.header("two"), Some("noir"));
    assert_eq!(event.body(), b"caf\xe9 noir");
}

#[test]
fn interceptors_run_in_order() {
    let upper = json!({"search_replace": {"search_pattern": "a", "replace_string": "A"}});
    let filter = json!({"regex_filter": {"regex": "A"}});
    assert_eq!(intercept(json!([upper, filter]), "a | b"), "A; 1 by interceptor:i1");
    assert_eq!(intercept(json!([filter, upper]), "a | b"), "; 2 by interceptor:i0");
    let set = json!({"static": {"key": "k", "value": "v"}});
    let remove = json!({"remove_header": {"with_name": "k"}});
    let extract = json!({"regex_extractor": {"regex": "(a)", "serializers": [{"name": "k"}]}});
    assert_eq!(intercept(json!([set, remove]), "[k=1] a | {k=2} b"), "a | b");
    assert_eq!(intercept(json!([remove, set]), "[k=1] a | {k=2} b"), "{k=v} a | {k=v} b");
    assert_eq!(intercept(json!([extract, set]), "a | b"), "{k=a} a | {k=v} b");
    assert_eq!(intercept(json!([set, extract]), "a | b"), "{k=a} a | {k=v} b");
    assert_eq!(intercept(json!([extract, remove]), "a | b"), "a | b");
}

#[test]
fn a_block_that_nothing_changes_is_passed_on_as_it_is() {
    for interceptors in [
        json!([]),
        json!([{"regex_filter": {"regex": "[ab]"}}]),
        json!([{"search_replace": {"search_pattern": "zzz", "replace_string": "y"}}]),
        json!([{"static": {"key": "k", "value": "v"}}, {"regex_filter": {}}]),
        json!([{"remove_header": {"with_name": "gone"}}]),
        json!([{"timestamp": {"preserve_existing": true}}]),
    ] {
        let flow = Flow::new(json!({"replicating": {}}), interceptors.clone());
        let before = block("[k=1] @1 a | @2 {x=y} b");
        let put = flow.processor().process(before.clone(), None).unwrap();
        assert_eq!(put.parts.len(), 1);
        assert_eq!(put.parts[0].positions, Positions::All);
        let same = std::ptr::eq(put.parts[0].block.bytes().as_ptr(), before.bytes().as_ptr());
        assert!(same, "{interceptors} copied the block");
    }
}

#[test]
fn only_a_block_without_interceptors_and_with_one_target_is_opaque() {
    let replicating = json!({"replicating": {"optional": ["c"]}});
    assert!(Flow::new(replicating.clone(), json!([])).processor().is_opaque());
    assert!(!Flow::new(replicating, json!([{"timestamp": {}}])).processor().is_opaque());
    let multiplexing = json!({"multiplexing": {"header": "h", "default": ["a"]}});
    assert!(!Flow::new(multiplexing, json!([])).processor().is_opaque());
}

#[test]
fn a_put_keeps_what_admission_needs_whatever_is_dropped() {
    let flow = Flow::new(json!({"replicating": {}}), json!([{"regex_filter": {"regex": "no"}}]));
    let before = block("a | b | c");
    let put = flow.processor().process(before.clone(), Some("here".into())).unwrap();
    assert!(put.parts.is_empty());
    assert_eq!((put.producer, put.generation), (PRODUCER, 1));
    assert_eq!((put.first_sequence, put.count), (FIRST_SEQUENCE, 3));
    assert_eq!(put.block_crc, before.header().crc);
    assert_eq!(put.source_position.as_deref(), Some(&b"here"[..]));
    assert_eq!(put.dropped[0].channels.len(), 3);
}

#[test]
fn an_event_that_would_pass_a_limit_rejects_the_block() {
    let spec = json!([{"search_replace": {"search_pattern": "a", "replace_string": "aa"}}]);
    let flow = Flow::new(json!({"replicating": {}}), spec);
    let body = "a".repeat(600 * 1024);
    let result = flow.processor().process(block(&body), None);
    assert!(matches!(result, Err(Rejection::Content(_))));
}

#[test]
fn a_block_that_grows_beyond_the_limit_becomes_two_parts() {
    let spec = json!([{"search_replace": {"search_pattern": "a", "replace_string": "aa"}}]);
    let flow = Flow::new(json!({"replicating": {}}), spec);
    let line = "a".repeat(500 * 1024);
    let put = flow.processor().process(block(&[&*line; 6].join(" | ")), None).unwrap();
    assert_eq!(put.parts.len(), 2);
    let mut positions = Vec::new();
    for part in &put.parts {
        positions.extend(part.block.events().map(|event| part.positions.at(event.index())));
    }
    assert_eq!(positions, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn an_extracted_value_is_cut_at_the_limit() {
    let spec = json!([{"regex_extractor": {"regex": "(.*)", "serializers": [{"name": "all"}]}}]);
    let flow = Flow::new(json!({"replicating": {}}), spec);
    let put = flow.processor().process(block(&"é".repeat(3000)), None).unwrap();
    let event = put.parts[0].block.events().next().unwrap();
    assert_eq!(event.header("all").map(str::len), Some(4096));
}
