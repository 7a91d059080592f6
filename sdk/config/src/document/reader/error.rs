//! Why a value does not fit its type.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::document::tree::{Node, Value};
use crate::hints;
use crate::mistake::{KeyPath, Mistake};
use crate::nearest::suggest;

/// What serde says, kept in parts until the place is known.
#[derive(Debug)]
pub(crate) struct ReadError {
    path: Option<KeyPath>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// What is there, what should be.
    Type(Found, String),
    /// A word that is none of the known.
    Word(String, &'static [&'static str]),
    /// Two spellings of one key.
    Twice(&'static str),
    /// What a value's own type says, its remedy behind `\nhelp: `.
    Other(String),
}

/// What stands where something else should.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Text(String),
    Number(String),
    Truth(bool),
    List,
    Table,
    Other(String),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Text(text) => write!(f, "the text {text:?}"),
            Found::Number(number) => write!(f, "the number {number}"),
            Found::Truth(truth) => write!(f, "`{truth}`"),
            Found::List => f.write_str("a list"),
            Found::Table => f.write_str("a table"),
            Found::Other(other) => f.write_str(other),
        }
    }
}

pub(crate) fn found(node: &Node) -> Found {
    match &node.value {
        Value::String(text) => Found::Text(text.clone()),
        Value::Integer(Some(number)) => Found::Number(number.to_string()),
        Value::Integer(None) => Found::Other("a number of more than 64 bits".to_owned()),
        Value::Float(number) => Found::Number(number.to_string()),
        Value::Boolean(truth) => Found::Truth(*truth),
        Value::Datetime => Found::Other("a date".to_owned()),
        Value::Array(_) => Found::List,
        Value::Table(_) => Found::Table,
    }
}

impl ReadError {
    pub(crate) fn wrong_type(found: Found, expected: String) -> ReadError {
        ReadError { path: None, kind: Kind::Type(found, expected) }
    }

    /// Sets the place unless a place further in is known.
    pub(crate) fn at(mut self, path: &KeyPath) -> ReadError {
        self.path.get_or_insert_with(|| path.clone());
        self
    }

    pub(crate) fn into_mistake(self) -> Mistake {
        let path = self.path.unwrap_or_default();
        let key = path.last_key().unwrap_or("the file").to_owned();
        let inside = matches!(path.steps().last(), Some(crate::mistake::Step::Index(_)));
        let subject = if inside { format!("an element of `{key}`") } else { format!("`{key}`") };
        match self.kind {
            Kind::Type(found, expected) => {
                let text = format!("{subject} must be {expected}, not {found}");
                let mut mistake = Mistake::from_text(path, &text);
                mistake.help = hints::other_type(&key, inside, &expected, &found);
                mistake
            }
            Kind::Word(word, known) => {
                let text = format!("unknown value for {subject}: `{word}`");
                let mut mistake = Mistake::from_text(path, &text);
                mistake.help = Some(suggest(&word, known, "there are"));
                mistake
            }
            Kind::Twice(field) => {
                let text = format!("`{field}` is written twice, under two names");
                let mut mistake = Mistake::from_text(path, &text);
                mistake.at_key().help("remove one of the two");
                mistake
            }
            Kind::Other(text) => Mistake::from_text(path, &text),
        }
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> ReadError {
        ReadError { path: None, kind: Kind::Other(message.to_string()) }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        let found = match unexpected {
            Unexpected::Str(text) => Found::Text(text.to_owned()),
            Unexpected::Unsigned(number) => Found::Number(number.to_string()),
            Unexpected::Signed(number) => Found::Number(number.to_string()),
            Unexpected::Float(number) => Found::Number(number.to_string()),
            Unexpected::Bool(truth) => Found::Truth(truth),
            Unexpected::Seq => Found::List,
            Unexpected::Map => Found::Table,
            Unexpected::Other(other) => Found::Other(other.to_owned()),
            other => Found::Other(other.to_string()),
        };
        ReadError::wrong_type(found, in_words(&expected.to_string()))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> ReadError {
        ReadError { path: None, kind: Kind::Word(word.to_owned(), known) }
    }

    fn duplicate_field(field: &'static str) -> ReadError {
        ReadError { path: None, kind: Kind::Twice(field) }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for ReadError {}

/// Rust's names for what is expected, in an operator's words.
fn in_words(expected: &str) -> String {
    match expected {
        "u32" | "u64" => "a whole number of 0 or more",
        "i64" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
    .to_owned()
}
