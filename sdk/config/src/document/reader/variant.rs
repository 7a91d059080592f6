//! Which variant a table's `type` names.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::{Part, ReadError, Reader, error};
use crate::document::tree::{Node, Value};
use crate::hints;
use crate::mistake::{KeyPath, Mistake, Severity};
use crate::nearest::{listed, nearest};

/// A variant by its name, and the table that holds what is in it.
pub(super) struct Variant<'a> {
    pub(super) name: &'static str,
    pub(super) reader: Reader<'a>,
}

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = ReadError;
    type Variant = Reader<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Reader<'a>), ReadError> {
        let name: StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.reader))
    }
}

impl<'de> de::VariantAccess<'de> for Reader<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        self.refuse_unknown("", &[]);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ReadError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_struct("", fields, visitor)
    }
}

impl Reader<'_> {
    /// The variant that a table's `type` or a string names.
    pub(super) fn variant(
        &self,
        variants: &'static [&'static str],
    ) -> Result<(&'static str, Part), ReadError> {
        let (name, node, path) = match &self.node.value {
            Value::String(name) => (name, self.node, self.path.clone()),
            Value::Table(_) => {
                let path = self.path.key("type");
                match self.node.get("type") {
                    Some(tag) => match &tag.value {
                        Value::String(name) => (name, tag, path),
                        _ => return Ok((self.refuse_tag(tag, path, variants), Part::Nothing)),
                    },
                    None => return Ok((self.miss_tag(variants), Part::Nothing)),
                }
            }
            _ => {
                let expected = format!("one of {}", listed(variants));
                return Err(ReadError::wrong_type(error::found(self.node), expected));
            }
        };
        let whole = std::ptr::eq(node, self.node);
        let part = if whole { Part::Nothing } else { Part::WithoutType };
        if let Some(known) = variants.iter().find(|known| *known == name) {
            return Ok((known, part));
        }
        let meant = hints::foreign_type(name, variants)
            .or_else(|| nearest(name, variants.iter().copied()))
            .and_then(|meant| variants.iter().find(|known| **known == meant));
        // Said once: a second reading finds it broken.
        if !node.broken.replace(true) {
            let what = match part {
                Part::Nothing => format!("value for `{}`", path.last_key().unwrap_or_default()),
                _ => "type".to_owned(),
            };
            let message = format!("unknown {what}: `{name}`");
            let mut mistake = Mistake::new(Severity::Error, path, message);
            mistake.help(match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", listed(variants)),
            });
            mistake.span = Some(node.span.clone());
            self.document.say(mistake);
        }
        match meant {
            Some(meant) => Ok((meant, part)),
            None => {
                self.node.broken.set(true);
                Ok((variants[0], Part::Nothing))
            }
        }
    }

    fn refuse_tag(&self, tag: &Node, path: KeyPath, variants: &'static [&str]) -> &'static str {
        if !tag.broken.replace(true) {
            let error = ReadError::wrong_type(error::found(tag), "text".to_owned()).at(&path);
            let mut mistake = error.into_mistake();
            mistake.help(format!("there are {}", listed(variants)));
            self.document.say(mistake);
        }
        self.node.broken.set(true);
        variants[0]
    }

    fn miss_tag(&self, variants: &'static [&str]) -> &'static str {
        if !self.node.broken.replace(true) {
            let path = self.path.clone();
            let mut mistake = Mistake::new(Severity::Error, path, "`type` is missing");
            mistake.at_key().help(format!("there are {}", listed(variants)));
            self.document.say(mistake);
        }
        variants[0]
    }
}
