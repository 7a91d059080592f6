//! A text as it may be shown: what looks like a secret is covered.
//!
//! Secrets stand in files of their own. Who writes one here all the same gets an error that quotes the
//! line, and errors are pasted into tickets.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// A value of a key that is never the name of a file.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)\b(?:token|password|passwd|passphrase|secret|private_key)"?\s*=\s*("[^"\n]*"?|'[^'\n]*'?)"#,
    )
});

/// A value that should be the name of a file, and does not look like one.
static NO_FILE: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"\b(?:token_file|key)"?\s*=\s*("[^"\n./]*"?|'[^'\n./]*'?)"#));

/// What files with keys and certificates hold.
static PEM: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?s)(-----BEGIN.*?(?:-----END[^-]*-----|\z))"));

/// The same text, byte for byte as long, with what looks like a secret covered by `*`.
pub(crate) fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for pattern in [&*SECRET, &*NO_FILE, &*PEM] {
        for found in pattern.captures_iter(text).filter_map(|captures| captures.get(1)) {
            cover(&mut bytes, found.range());
        }
    }
    // A covered character is covered whole.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Whether a value can hardly be the name of a file.
pub(crate) fn is_no_file(value: &str) -> bool {
    const SHORTEST: usize = 16;
    value.contains("-----BEGIN")
        || value.contains('\n')
        || value.len() >= SHORTEST && !value.contains(['.', '/'])
}

fn cover(bytes: &mut [u8], range: Range<usize>) {
    for byte in &mut bytes[range] {
        if !matches!(byte, b'\n' | b'\r' | b'"' | b'\'') {
            *byte = b'*';
        }
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("it is a regular expression")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_covered_and_nothing_moves() {
        for (text, shown) in [
            ("token = \"hunter2\"", "token = \"*******\""),
            ("a = { password = 'ä', b = 1 }", "a = { password = '**', b = 1 }"),
            ("token_file = \"/etc/token\"", "token_file = \"/etc/token\""),
            ("token_file = \"0123456789abcdef\"", "token_file = \"****************\""),
            ("key = '''\n-----BEGIN A-----\nMII\n", "key = '''\n*****************\n***\n"),
            ("key = \"/etc/node.key\"", "key = \"/etc/node.key\""),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(text).len(), text.len());
        }
    }
}
