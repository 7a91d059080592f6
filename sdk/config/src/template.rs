//! Paths and file prefixes with Flume's escapes, read but not rendered.

use std::fmt;

/// A text with escapes, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What it is made of, in order; no two literals follow each other.
    pub pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is (`%%` is in here, as `%`).
    Literal(String),
    /// `%Y` and the like: a part of the (rounded) timestamp.
    Time(TimeEscape),
    /// `%t`: the timestamp itself in milliseconds, unrounded.
    Timestamp,
    /// `%{name}`: the value of a header.
    Header(String),
    /// `%[localhost]` and the like: a fact about the node.
    Host(HostEscape),
}

/// A part of a time, as Flume writes it in English and without the locale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeEscape {
    /// `%a`: Sat
    WeekdayShort,
    /// `%A`: Saturday
    Weekday,
    /// `%b`: Jun
    MonthShort,
    /// `%B`: June
    Month,
    /// `%c`: Sat Jun 23 03:16:34 2012
    DateTime,
    /// `%d`: 23
    Day,
    /// `%D`: 06/23/12, whose slashes make directories
    Date,
    /// `%e`: 23, unpadded
    DayUnpadded,
    /// `%H`: 03
    Hour,
    /// `%I`: 03, of 12
    Hour12,
    /// `%j`: 175
    DayOfYear,
    /// `%k`: 3
    HourUnpadded,
    /// `%l`: 3, of 12
    Hour12Unpadded,
    /// `%m`: 06
    MonthNumber,
    /// `%n`: 6
    MonthUnpadded,
    /// `%M`: 16
    Minute,
    /// `%p`: AM
    AmPm,
    /// `%s`: 1340421394
    Seconds,
    /// `%S`: 34
    Second,
    /// `%y`: 12
    YearShort,
    /// `%Y`: 2012
    Year,
    /// `%z`: +0000
    Offset,
}

/// A fact about the node, resolved when the spec is applied or the record put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostEscape {
    /// `%[localhost]`: its host name.
    Localhost,
    /// `%[IP]`: its address.
    Ip,
    /// `%[FQDN]`: its full name.
    Fqdn,
}

/// The letters and what they stand for.
pub const TIME_ESCAPES: [(char, TimeEscape); 22] = [
    ('a', TimeEscape::WeekdayShort),
    ('A', TimeEscape::Weekday),
    ('b', TimeEscape::MonthShort),
    ('B', TimeEscape::Month),
    ('c', TimeEscape::DateTime),
    ('d', TimeEscape::Day),
    ('D', TimeEscape::Date),
    ('e', TimeEscape::DayUnpadded),
    ('H', TimeEscape::Hour),
    ('I', TimeEscape::Hour12),
    ('j', TimeEscape::DayOfYear),
    ('k', TimeEscape::HourUnpadded),
    ('l', TimeEscape::Hour12Unpadded),
    ('m', TimeEscape::MonthNumber),
    ('n', TimeEscape::MonthUnpadded),
    ('M', TimeEscape::Minute),
    ('p', TimeEscape::AmPm),
    ('s', TimeEscape::Seconds),
    ('S', TimeEscape::Second),
    ('y', TimeEscape::YearShort),
    ('Y', TimeEscape::Year),
    ('z', TimeEscape::Offset),
];

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A letter that means nothing.
    #[error("`%{0}` is not an escape\nhelp: the letters are {letters}; `%%` is the sign itself", letters = Letters)]
    Letter(char),
    /// `%` at the end.
    #[error("`%` stands at the end\nhelp: write `%%` for the sign itself")]
    End,
    /// `%{` without `}`, or with what no header name has.
    #[error(
        "`%{{{0}` names no header\nhelp: write `%{{name}}`; a name has letters, digits, `_`, `.` and `-`"
    )]
    Header(String),
    /// `%[` with another word.
    #[error("`%[{0}` is not known\nhelp: there are `%[localhost]`, `%[IP]` and `%[FQDN]`")]
    Host(String),
}

struct Letters;

impl fmt::Display for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TIME_ESCAPES.iter().try_for_each(|(letter, _)| write!(f, "{letter} "))?;
        f.write_str("t")
    }
}

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let letter = rest.chars().next().ok_or(TemplateError::End)?;
            rest = &rest[letter.len_utf8()..];
            let piece = match letter {
                '%' => {
                    literal.push('%');
                    continue;
                }
                't' => Piece::Timestamp,
                '{' => {
                    let (name, after) = header(rest)?;
                    rest = after;
                    Piece::Header(name.to_owned())
                }
                '[' => {
                    let (host, after) = host(rest)?;
                    rest = after;
                    Piece::Host(host)
                }
                _ => {
                    let known = TIME_ESCAPES.iter().find(|(known, _)| *known == letter);
                    Piece::Time(known.ok_or(TemplateError::Letter(letter))?.1)
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Template { pieces })
    }

    /// The text before the first escape.
    pub fn literal_prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text,
            _ => "",
        }
    }

    /// Whether rendering looks at the event's timestamp.
    pub fn needs_time(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Time(_) | Piece::Timestamp))
    }

    /// The headers that rendering looks at.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Header(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

fn header(rest: &str) -> Result<(&str, &str), TemplateError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match rest.split_once('}') {
        Some((name, after)) if !name.is_empty() && name.chars().all(allowed) => Ok((name, after)),
        Some((name, _)) => Err(TemplateError::Header(format!("{name}}}"))),
        None => Err(TemplateError::Header(rest.to_owned())),
    }
}

fn host(rest: &str) -> Result<(HostEscape, &str), TemplateError> {
    let Some((word, after)) = rest.split_once(']') else {
        return Err(TemplateError::Host(rest.to_owned()));
    };
    let known =
        [("localhost", HostEscape::Localhost), ("ip", HostEscape::Ip), ("fqdn", HostEscape::Fqdn)];
    match known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        Some((_, host)) => Ok((host, after)),
        None => Err(TemplateError::Host(format!("{word}]"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{HostEscape, Piece, Template, TemplateError, TimeEscape};

    #[test]
    fn pieces_are_what_is_written() {
        let template = Template::parse("/a%%b/%Y%{app.x-1}/%[ip]%t").unwrap();
        let pieces = [
            Piece::Literal("/a%b/".to_owned()),
            Piece::Time(TimeEscape::Year),
            Piece::Header("app.x-1".to_owned()),
            Piece::Literal("/".to_owned()),
            Piece::Host(HostEscape::Ip),
            Piece::Timestamp,
        ];
        assert_eq!(template.pieces, pieces);
        assert_eq!(template.literal_prefix(), "/a%b/");
        assert!(template.needs_time());
        assert_eq!(template.headers().collect::<Vec<_>>(), ["app.x-1"]);
    }

    #[test]
    fn what_is_no_escape_is_refused() {
        let refused = |text| Template::parse(text).unwrap_err();
        assert_eq!(refused("/%Q"), TemplateError::Letter('Q'));
        assert_eq!(refused("/%ü"), TemplateError::Letter('ü'));
        assert_eq!(refused("/%"), TemplateError::End);
        assert_eq!(refused("/%{}"), TemplateError::Header("}".to_owned()));
        assert_eq!(refused("/%[x]"), TemplateError::Host("x]".to_owned()));
        assert_eq!(refused("/%[IP"), TemplateError::Host("IP".to_owned()));
    }
}
