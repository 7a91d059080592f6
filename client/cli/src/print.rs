//! What goes to the terminal.

use comfy_table::{Cell, CellAlignment, Color, Table};
use std::io::Write;

/// A line on standard output.
pub(crate) fn line(text: &str) {
    // A closed pipe (`| head`) is no error of ours.
    drop(writeln!(anstream::stdout(), "{text}"));
}

/// A line on standard error.
pub(crate) fn complaint(text: &str) {
    drop(writeln!(anstream::stderr(), "{text}"));
}

/// A value as one line of JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?);
    Ok(())
}

/// A table without borders.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [Cell; N]>,
) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(headings.map(|heading| Cell::new(heading).fg(Color::DarkGrey)));
    for row in rows {
        table.add_row(row);
    }
    if std::env::var_os("NO_COLOR").is_none() {
        table.enforce_styling();
    }
    for text in table.lines() {
        line(text.trim_end());
    }
}

/// Text in a table.
pub(crate) fn text(value: impl ToString) -> Cell {
    Cell::new(value.to_string())
}

/// A count in a table, grouped by thousands.
pub(crate) fn count(value: u64) -> Cell {
    Cell::new(grouped(value)).set_alignment(CellAlignment::Right)
}

/// Bytes in a table.
pub(crate) fn bytes(value: u64) -> Cell {
    Cell::new(in_bytes(value)).set_alignment(CellAlignment::Right)
}

/// A state in a table: what is not well stands out.
pub(crate) fn state(value: &str, well: bool) -> Cell {
    let cell = Cell::new(value);
    if well { cell } else { cell.fg(Color::Yellow) }
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

/// `12.3 MiB`.
pub(crate) fn in_bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut rest = value as f64;
    let mut unit = 0;
    while rest >= 1024.0 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{rest:.1} {}", UNITS[unit]) }
}

/// `3 s`, `12 min`, `5.2 h`.
pub(crate) fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3_600.0),
    }
}

/// The same, where it may not be known.
pub(crate) fn age(ms: Option<u64>) -> String {
    ms.map_or_else(|| "unknown".to_owned(), span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(in_bytes(1_023), "1023 B");
        assert_eq!(in_bytes(1_536), "1.5 KiB");
        assert_eq!(span(119_999), "119 s");
        assert_eq!(span(7_200_000), "2.0 h");
        assert_eq!((age(Some(1_000)), age(None)), ("1 s".to_owned(), "unknown".to_owned()));
    }
}
