//! `search_replace`: replaces text in bodies.

use sdk_config::{Replacement, ReplacementPiece, SearchReplaceInterceptor};

use super::body_regex::{BodyRegex, Search};
use super::{Draft, Interceptor, Scratch};
use crate::BoxError;

/// Replaces every match, as Java's `replaceAll` does.
pub(super) struct SearchReplace {
    pattern: BodyRegex,
    pieces: Vec<Piece>,
}

enum Piece {
    Literal(String),
    Group(usize),
}

impl SearchReplace {
    pub(super) fn build(spec: &SearchReplaceInterceptor) -> Result<SearchReplace, BoxError> {
        let pattern = BodyRegex::new(&spec.search_pattern)?;
        let names: Vec<&str> = pattern.names().map(|(_, name)| name).collect();
        let replacement = Replacement::parse(&spec.replace_string, pattern.groups(), &names)?;
        let number = |name: &str| {
            pattern.names().find(|(_, known)| *known == name).map(|(number, _)| number)
        };
        let pieces = replacement.pieces.into_iter().map(|piece| match piece {
            ReplacementPiece::Literal(text) => Ok(Piece::Literal(text)),
            ReplacementPiece::Group(group) => Ok(Piece::Group(group)),
            ReplacementPiece::Named(name) => number(&name)
                .map(Piece::Group)
                .ok_or_else(|| BoxError::from(format!("`{name}` is no group of the pattern"))),
        });
        let pieces = pieces.collect::<Result<_, _>>()?;
        Ok(SearchReplace { pattern, pieces })
    }

    fn write(&self, search: &Search<'_, '_>, body: &[u8], to: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => to.extend_from_slice(text.as_bytes()),
                Piece::Group(group) => {
                    to.extend_from_slice(&body[search.group(*group).unwrap_or_default()]);
                }
            }
        }
    }
}

impl Interceptor for SearchReplace {
    fn event<'a>(&'a self, event: &mut Draft<'a>, scratch: &mut Scratch) -> bool {
        event.replace_body(|body, to| {
            let mut search = self.pattern.search(body, scratch);
            let (mut at, mut copied, mut replaced) = (0, 0, false);
            while let Some((start, end)) = search.next(body, at) {
                replaced = true;
                to.extend_from_slice(&body[copied..start]);
                self.write(&search, body, to);
                copied = end;
                at = if end > start { end } else { search.behind(body, end) };
                if at > body.len() {
                    break;
                }
            }
            to.extend_from_slice(&body[copied..]);
            replaced
        });
        true
    }
}
