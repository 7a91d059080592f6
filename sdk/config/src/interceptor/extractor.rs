//! The serializers of `regex_extractor`: the header each group goes to.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Serializers in the order of the groups they belong to. Written as a table whose keys name the
/// headers (`{ timestamp = { type = "millis", pattern = "…" } }`, in the order of the text) or as a
/// list of tables with `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ExtractorSerializers(pub Vec<ExtractorSerializer>);

/// The header one group of the regular expression goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtractorSerializer {
    /// The header; in a table of serializers the key unless written.
    pub name: String,
    /// What is done to the text.
    #[serde(rename = "type")]
    pub kind: SerializerType,
    /// For `millis`: how the time is written, in strftime letters. Required there.
    pub pattern: String,
    /// For `millis`: the IANA time zone of times without an offset.
    pub time_zone: String,
}

impl Default for ExtractorSerializer {
    fn default() -> ExtractorSerializer {
        ExtractorSerializer {
            name: String::new(),
            kind: SerializerType::Default,
            pattern: String::new(),
            time_zone: "UTC".to_owned(),
        }
    }
}

/// What is done to the text of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SerializerType {
    /// Nothing.
    #[default]
    Default,
    /// A time is read and becomes milliseconds since 1970.
    Millis,
}

impl Deref for ExtractorSerializers {
    type Target = [ExtractorSerializer];

    fn deref(&self) -> &[ExtractorSerializer] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ExtractorSerializers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SerializersVisitor;

        impl<'de> Visitor<'de> for SerializersVisitor {
            type Value = ExtractorSerializers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a table such as { timestamp = { type = \"millis\", pattern = \"…\" } }",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut serializers = Vec::new();
                while let Some((key, mut serializer)) =
                    map.next_entry::<String, ExtractorSerializer>()?
                {
                    if serializer.name.is_empty() {
                        serializer.name = key;
                    }
                    serializers.push(serializer);
                }
                Ok(ExtractorSerializers(serializers))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut serializers = Vec::new();
                while let Some(serializer) = seq.next_element()? {
                    serializers.push(serializer);
                }
                Ok(ExtractorSerializers(serializers))
            }
        }

        deserializer.deserialize_any(SerializersVisitor)
    }
}
