//! Which channels events go into, one line per case.

use serde_json::{Value, json};

use crate::support::{Flow, block};

fn select(selector: Value, text: &str) -> String {
    let flow = Flow::new(selector, json!([]));
    flow.show(&flow.processor().process(block(text), None).unwrap())
}

#[test]
fn replicating_goes_everywhere() {
    assert_eq!(select(json!({"replicating": {}}), "x | y"), "abc 0:x | 1:y");
    assert_eq!(select(json!({"replicating": {"optional": ["b"]}}), "x"), "a(b)c 0:x");
}

#[test]
fn multiplexing_goes_by_a_header() {
    let spec = json!({"multiplexing": {
        "header": "app", "mapping": {"shop": ["a"], "both": ["a", "b"]}, "default": ["c"],
    }});
    for (input, output) in [
        ("{app=shop} x", "a 0:{app=shop} x"),
        ("[app=shop] x | y", "a 0:{app=shop} x | 1:{app=shop} y"),
        ("{app=Shop} x", "c 0:{app=Shop} x"),
        ("x", "c 0:x"),
        ("{app=} x", "c 0:{app=} x"),
        ("{app=  } x", "c 0:{app=  } x"),
        (
            "{app=shop} x | y | {app=both} z | {app=shop} w",
            "c 1:y; ab 2:{app=both} z; a 0:{app=shop} x | 3:{app=shop} w",
        ),
    ] {
        assert_eq!(select(spec.clone(), input), output, "{input:?}");
    }
}

#[test]
fn without_a_default_events_are_dropped_and_counted() {
    let spec = json!({"multiplexing": {"header": "app", "mapping": {"shop": ["a"]}}});
    let output = "a 1:{app=shop} y; dropped 2 by selector:no mapping";
    assert_eq!(select(spec.clone(), "x | {app=shop} y | {app=pub} z"), output);
    assert_eq!(select(spec, "x"), "dropped 1 by selector:no mapping");
}

#[test]
fn required_wins_over_optional() {
    let spec = json!({"multiplexing": {
        "header": "app", "mapping": {"shop": ["a"]}, "default": ["b"],
        "optional": ["a", "c"], "optional_mapping": {"pub": ["b", "c"]},
    }});
    for (input, output) in [
        ("{app=shop} x", "a(c) 0:{app=shop} x"),
        ("x", "(a)b(c) 0:x"),
        ("{app=pub} x", "(a)b(c) 0:{app=pub} x"),
    ] {
        assert_eq!(select(spec.clone(), input), output, "{input:?}");
    }
}

#[test]
fn a_value_with_only_optional_channels_goes_there() {
    let spec = json!({"multiplexing": {"header": "app", "optional_mapping": {"pub": ["b"]}}});
    let output = "(b) 0:{app=pub} x; dropped 1 by selector:no mapping";
    assert_eq!(select(spec, "{app=pub} x | y"), output);
}

#[test]
fn a_block_whose_shared_headers_decide_is_passed_on_as_it_is() {
    let spec = json!({"multiplexing": {"header": "app", "mapping": {"shop": ["a"]}}});
    let flow = Flow::new(spec, json!([]));
    let before = block("[app=shop] x | y");
    let put = flow.processor().process(before.clone(), None).unwrap();
    assert!(std::ptr::eq(put.parts[0].block.bytes().as_ptr(), before.bytes().as_ptr()));
    assert_eq!(flow.show(&put), "a 0:{app=shop} x | 1:{app=shop} y");
    let put = flow.processor().process(block("[app=pub] x | y"), None).unwrap();
    assert_eq!(flow.show(&put), "dropped 2 by selector:no mapping");
}

#[test]
fn the_selector_sees_what_interceptors_set() {
    let selector = json!({"multiplexing": {
        "header": "level", "mapping": {"E": ["a"], "I": ["b"]}, "default": ["c"],
    }});
    let extract =
        json!([{"regex_extractor": {"regex": "^([EI]) ", "serializers": [{"name": "level"}]}}]);
    let flow = Flow::new(selector.clone(), extract);
    let put = flow.processor().process(block("[level=I] E 1 | other | E 2"), None).unwrap();
    let output = "a 0:{level=E} E 1 | 2:{level=E} E 2; b 1:{level=I} other";
    assert_eq!(flow.show(&put), output);
    let fixed = json!([{"static": {"key": "level", "value": "E"}}]);
    let flow = Flow::new(selector, fixed);
    let put = flow.processor().process(block("x | {level=I} y"), None).unwrap();
    assert_eq!(flow.show(&put), "a 0:{level=E} x; b 1:{level=I} y");
}

#[test]
fn the_timestamp_can_be_the_header_that_decides() {
    let spec =
        json!({"multiplexing": {"header": "timestamp", "mapping": {"5": ["a"]}, "default": ["b"]}});
    assert_eq!(select(spec, "@5 x | @6 y | z"), "b 1:@6 y | 2:z; a 0:@5 x");
}
