//! The replacement text of `search_replace`, as Java reads it.

/// A replacement text, read: `$1` and `${name}` are groups, `\` takes the next character as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// What it is made of, in order.
    pub pieces: Vec<ReplacementPiece>,
}

/// A piece of a replacement text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplacementPiece {
    /// Text as it is.
    Literal(String),
    /// What the group of this number matched.
    Group(usize),
    /// What the group of this name matched.
    Named(String),
}

/// Why a text is not a replacement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplacementError {
    /// `$` without a group behind it.
    #[error(
        "`$` names no group\nhelp: write `$1` or `${{name}}` for a group, `\\$` for the sign itself"
    )]
    Dollar,
    /// `\` at the end.
    #[error("`\\` stands at the end\nhelp: write `\\\\` for the sign itself")]
    Backslash,
    /// The expression has no such group.
    #[error("`{0}` is no group of the search pattern")]
    Group(String),
}

impl Replacement {
    /// Reads `text` for a pattern of `groups` groups (group 0, the whole, not counted) with these
    /// `names`. As in Java a group number takes further digits only while such a group exists.
    pub fn parse(
        text: &str,
        groups: usize,
        names: &[&str],
    ) -> Result<Replacement, ReplacementError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => literal.push(chars.next().ok_or(ReplacementError::Backslash)?),
                '$' => {
                    if !literal.is_empty() {
                        pieces.push(ReplacementPiece::Literal(std::mem::take(&mut literal)));
                    }
                    let next = chars.next().ok_or(ReplacementError::Dollar)?;
                    if next == '{' {
                        let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                        if !names.contains(&name.as_str()) {
                            return Err(ReplacementError::Group(format!("${{{name}}}")));
                        }
                        pieces.push(ReplacementPiece::Named(name));
                        continue;
                    }
                    let digit = |c: char| c.to_digit(10).map(|digit| digit as usize);
                    let mut group = digit(next).ok_or(ReplacementError::Dollar)?;
                    if group > groups {
                        return Err(ReplacementError::Group(format!("${group}")));
                    }
                    while let Some(more) = chars.peek().copied().and_then(digit) {
                        let longer = group.saturating_mul(10).saturating_add(more);
                        if longer > groups {
                            break;
                        }
                        group = longer;
                        chars.next();
                    }
                    pieces.push(ReplacementPiece::Group(group));
                }
                _ => literal.push(c),
            }
        }
        if !literal.is_empty() {
            pieces.push(ReplacementPiece::Literal(literal));
        }
        Ok(Replacement { pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::{Replacement, ReplacementError, ReplacementPiece::*};

    #[test]
    fn groups_and_escapes_are_java_s() {
        let read = |text| Replacement::parse(text, 2, &["name"]).map(|read| read.pieces);
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("a$1b"), Ok(vec![Literal("a".into()), Group(1), Literal("b".into())]));
        assert_eq!(read("$25"), Ok(vec![Group(2), Literal("5".into())]));
        assert_eq!(read(r"\$1\\"), Ok(vec![Literal(r"$1\".into())]));
        assert_eq!(read("${name}$0"), Ok(vec![Named("name".into()), Group(0)]));
        assert_eq!(read("$3"), Err(ReplacementError::Group("$3".into())));
        assert_eq!(read("${x}"), Err(ReplacementError::Group("${x}".into())));
        assert_eq!(read("5$"), Err(ReplacementError::Dollar));
        assert_eq!(read("$a"), Err(ReplacementError::Dollar));
        assert_eq!(read("a\\"), Err(ReplacementError::Backslash));
    }
}
