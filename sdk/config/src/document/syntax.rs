//! Mistakes in the TOML itself.

use std::ops::Range;

use crate::mistake::{KeyPath, Mistake, Severity};

/// What the parser complained of, and whether the rest of the text can be trusted: after a string
/// without quotes it can, after a list without its end it cannot, and then only what came first is
/// said, since the remainder mostly follows from it.
pub(crate) fn mistakes(text: &str, errors: &[toml::de::Error]) -> (Vec<Mistake>, bool) {
    let mut spans: Vec<(Range<usize>, &str)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or(text.len()..text.len()), error.message()))
        .collect();
    spans.sort_by_key(|(span, _)| span.start);
    let mut mistakes: Vec<Mistake> = Vec::new();
    for (span, message) in spans {
        let (mistake, local) = mistake(text, span, message);
        let again = mistakes.last().is_some_and(|last| {
            let lines = last.span.as_ref().zip(mistake.span.as_ref());
            let between = lines.and_then(|(last, this)| text.get(last.start..this.start));
            last.message == mistake.message && between.is_some_and(|text| !text.contains('\n'))
        });
        if !again {
            mistakes.push(mistake);
        }
        if !local {
            return (mistakes, false);
        }
    }
    (mistakes, true)
}

/// What is probably missing when the parser meets something it cannot place.
fn unfinished(message: &str) -> Option<String> {
    let help = if message.contains("array") {
        "is the list before it closed with `]`?"
    } else if message.contains("inline table") || message.contains("key-value pairs") {
        "is the `{ … }` before it closed?"
    } else if message.contains("key with no value") {
        "write `key = value`"
    } else if message.contains("table") {
        "write the name of a table as `[a.b]`"
    } else {
        return None;
    };
    Some(help.to_owned())
}

fn mistake(text: &str, span: Range<usize>, message: &str) -> (Mistake, bool) {
    let part = text.get(span.clone()).unwrap_or_default();
    let (message, help, local) = if message.starts_with("string values must be quoted") {
        match part.is_empty() {
            true => ("a value is missing".to_owned(), None, true),
            false => {
                let help = format!("write `{part:?}`");
                ("text, sizes and durations stand in quotes".to_owned(), Some(help), true)
            }
        }
    } else if message.starts_with("duplicate key") {
        let help = "remove one of the two".to_owned();
        (format!("`{part}` is written twice in this table"), Some(help), true)
    } else if message.starts_with("cannot extend value") {
        let help = "remove the value, or name the table otherwise".to_owned();
        (format!("`{part}` is a value and a table"), Some(help), true)
    } else if message.starts_with("missing escaped value") {
        let help = "write text with backslashes in single quotes: `'\\d+'`".to_owned();
        ("the backslash begins no escape".to_owned(), Some(help), true)
    } else if message.starts_with("invalid basic string, expected `\"`") {
        let help = "close the text with `\"` on the same line".to_owned();
        ("the text has no end".to_owned(), Some(help), true)
    } else if message.starts_with("invalid literal string, expected `'`") {
        let help = "close the text with `'` on the same line".to_owned();
        ("the text has no end".to_owned(), Some(help), true)
    } else {
        (message.to_owned(), unfinished(message), false)
    };
    let mut mistake = Mistake::new(Severity::Error, KeyPath::default(), message);
    mistake.help = help;
    mistake.span = Some(span);
    (mistake, local)
}
