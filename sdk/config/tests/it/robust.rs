//! Whatever stands in a file, the answer is a configuration or a list of mistakes.

use proptest::prelude::*;
use sdk_config::{Diagnostics, parse_agent, parse_flows, parse_node};

use crate::files::{AGENT, FLOW};

/// Pieces that mean something here, to hit more than the parser's first complaint.
const PIECES: [&str; 30] = [
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r\n",
    "\\",
    "%",
    "${env:X}",
    "${env:",
    "type",
    "type = \"files\"\n",
    "5",
    "-1",
    "true",
    "[flow.web]",
    "[node]",
    "\u{0}",
    "ü",
    "\u{1F980}",
    "1979-05-27",
    "nan",
];

#[derive(Clone, Debug)]
enum Change {
    Insert(usize, &'static str),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let piece = prop::sample::select(&PIECES[..]);
    prop_oneof![
        (any::<usize>(), piece).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<usize>(), 0..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), 0..80_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for change in changes {
        match *change {
            Change::Insert(at, piece) => {
                let at = at % (chars.len() + 1);
                chars.splice(at..at, piece.chars());
            }
            Change::Remove(at, length) => {
                let at = at % (chars.len() + 1);
                let end = (at + length).min(chars.len());
                chars.drain(at..end);
            }
            Change::Repeat(at, length) => {
                let at = at % (chars.len() + 1);
                let end = (at + length).min(chars.len());
                let part = chars[at..end].to_vec();
                chars.splice(at..at, part);
            }
        }
    }
    chars.into_iter().collect()
}

/// Everything a program does with an answer.
fn look(text: &str, diagnostics: &Diagnostics) {
    let rendered = diagnostics.to_string();
    assert_eq!(rendered.is_empty(), diagnostics.is_empty());
    assert!(diagnostics.styled().len() >= rendered.len());
    let lines = text.split('\n').count();
    for item in diagnostics.items() {
        assert!((1..=lines).contains(&item.line) && item.column >= 1, "{item:?}");
    }
}

fn read(text: &str) {
    let env = |name: &str| (name == "X").then(|| "x".to_owned());
    for answer in [
        parse_node(text, "f", &env).map(|parsed| parsed.warnings),
        parse_agent(text, "f", &env).map(|parsed| parsed.warnings),
        parse_flows(text, "f", &env).map(|parsed| parsed.warnings),
    ] {
        match answer {
            Ok(warnings) => {
                assert_eq!(warnings.errors(), 0);
                look(text, &warnings);
            }
            Err(diagnostics) => {
                assert!(diagnostics.errors() > 0);
                look(text, &diagnostics);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_changed_file_gets_an_answer(changes in prop::collection::vec(change(), 1..8)) {
        read(&changed(FLOW, &changes));
        read(&changed(AGENT, &changes));
    }

    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn any_value_of_any_key_gets_an_answer(
        line in any::<prop::sample::Index>(),
        value in prop::sample::select(&[
            "5", "-5", "1.5", "nan", "true", "\"\"", "\"x\"", "[]", "[[]]", "[5]", "[\"main\"]", "{}",
            "{ type = \"json\" }", "{ type = 5 }", "{ a = 5 }", "{ a = {} }", "2026-11-21", "0x1F",
            "99999999999999999999", "\"${env:X}\"", "\"30s\"", "\"1MiB\"",
        ][..]),
    ) {
        for base in [FLOW, AGENT] {
            let mut lines: Vec<String> = base.lines().map(str::to_owned).collect();
            let keys: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains(" = ")).collect();
            let at = *line.get(&keys);
            let key = lines[at].split(" = ").next().unwrap_or_default().to_owned();
            lines[at] = format!("{key} = {value}");
            read(&lines.join("\n"));
        }
    }
}
