//! Reads the tree through serde without stopping at unknown keys and types.
//!
//! `{ type = "files", path = "p" }` is read as the variant `files` of an enum, so that the struct
//! inside says which keys it knows.

mod error;
mod variant;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

pub(crate) use self::error::{Found, ReadError};
use self::variant::Variant;
use super::{Document, Entry, Node, Value};
use crate::hints;
use crate::mistake::{KeyPath, Mistake, Severity};
use crate::nearest::{nearest, suggest};

/// One value on its way into a type.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    document: &'a Document,
    node: &'a Node,
    path: KeyPath,
    part: Part,
}

/// How much of a table is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// All but `type`, which chose the variant.
    WithoutType,
    /// Nothing: the type is not known, and defaults stand in.
    Nothing,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(document: &'a Document) -> Reader<'a> {
        let path = KeyPath::default();
        Reader { document, node: document.root(), path, part: Part::Whole }
    }

    fn child(&self, node: &'a Node, path: KeyPath) -> Reader<'a> {
        Reader { document: self.document, node, path, part: Part::Whole }
    }

    fn entries(&self) -> Vec<&'a Entry> {
        if self.part == Part::Nothing {
            return Vec::new();
        }
        let skip = |entry: &Entry| self.part == Part::WithoutType && entry.key == "type";
        let readable = |entry: &&Entry| !entry.node.broken.get() && !skip(entry);
        self.node.entries().iter().filter(readable).collect()
    }

    /// Says what keys a struct does not know. One that is probably a slip is read as what it was
    /// meant to be.
    fn refuse_unknown(&self, structure: &'static str, fields: &'static [&'static str]) {
        for entry in self.entries() {
            if fields.contains(&entry.name()) {
                continue;
            }
            let path = self.path.key(&entry.key);
            let mut mistake =
                Mistake::new(Severity::Error, path, format!("unknown key `{}`", entry.key));
            mistake.at_key();
            mistake.span = Some(entry.key_span.clone());
            match hints::foreign_key(structure, &entry.key) {
                Some(hint) => {
                    mistake.help(hint);
                    entry.node.broken.set(true);
                }
                None => {
                    mistake.help(suggest(&entry.key, fields, "the keys here are"));
                    let meant = nearest(&entry.key, fields.iter().copied());
                    let known = meant.and_then(|meant| fields.iter().find(|f| **f == meant));
                    match known.filter(|known| self.node.get(known).is_none()) {
                        Some(known) => entry.meant.set(Some(known)),
                        None => entry.node.broken.set(true),
                    }
                }
            }
            self.document.say(mistake);
        }
    }

    fn visit_map<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let mut access = Entries { entries: self.entries().into_iter(), reader: &self, now: None };
        let result = visitor.visit_map(&mut access);
        let last = access.now.map(|entry| self.path.key(entry.name()));
        // An error without a place came from the visitor between two values.
        result.map_err(|error| error.at(last.as_ref().unwrap_or(&self.path)))
    }

    /// The number or truth in a string that came from the environment.
    fn expanded<T: std::str::FromStr>(&self) -> Option<T> {
        match &self.node.value {
            Value::String(text) if self.node.expanded => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(Some(number)) if *number < 0 => visitor.visit_i64(*number),
            Value::Integer(Some(number)) => visitor.visit_u64(number.unsigned_abs()),
            Value::Integer(None) => Err(de::Error::custom("the number is too large")),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(truth) => visitor.visit_bool(*truth),
            Value::Datetime => {
                Err(de::Error::invalid_type(de::Unexpected::Other("a date"), &visitor))
            }
            Value::Array(items) => {
                let items = items.iter().enumerate().filter(|(_, item)| !item.broken.get());
                visitor.visit_seq(Items { items, reader: &self })
            }
            Value::Table(_) => self.visit_map(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Table(_) => self.refuse_unknown(name, fields),
            // `serializer = "json"`: the variant was all that is said.
            _ if self.part == Part::Nothing => {}
            _ => {
                let found = error::found(self.node);
                return Err(ReadError::wrong_type(found, "a table".to_owned()));
            }
        }
        self.visit_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let (name, part) = self.variant(variants)?;
        visitor.visit_enum(Variant { name, reader: Reader { part, ..self } })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.expanded() {
            Some(truth) => visitor.visit_bool(truth),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.expanded() {
            Some(number) => visitor.visit_i64(number),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.expanded() {
            Some(number) => visitor.visit_u64(number),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_u64(visitor)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// The keys of a table, one after the other.
struct Entries<'a, 'r, I> {
    entries: I,
    reader: &'r Reader<'a>,
    now: Option<&'a Entry>,
}

impl<'de, 'a, I: Iterator<Item = &'a Entry>> de::MapAccess<'de> for &mut Entries<'a, '_, I> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        self.now = Some(entry);
        let key: StrDeserializer<'_, ReadError> = entry.name().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let entry = self.now.expect("a value is asked for after its key");
        let path = self.reader.path.key(entry.name());
        let value = self.reader.child(&entry.node, path.clone());
        seed.deserialize(value).map_err(|error| error.at(&path))
    }
}

/// The elements of a list, one after the other.
struct Items<'a, 'r, I> {
    items: I,
    reader: &'r Reader<'a>,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> de::SeqAccess<'de> for Items<'a, '_, I> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Some((at, item)) = self.items.next() else {
            return Ok(None);
        };
        let path = self.reader.path.index(at);
        let element = self.reader.child(item, path.clone());
        seed.deserialize(element).map(Some).map_err(|error| error.at(&path))
    }
}
