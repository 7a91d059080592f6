//! What goes to the terminal.

use std::io::Write;

/// A line on standard output.
pub(crate) fn say(line: &str) {
    // A closed pipe (`| head`) is no error of ours.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// A line on standard error.
pub(crate) fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// `1,234,567`.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
