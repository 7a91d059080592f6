//! What an interceptor of a flow is told. Defaults are Flume's, even where they differ from one
//! interceptor to the next.

mod extractor;

use serde::{Deserialize, Serialize};

pub use self::extractor::{ExtractorSerializer, ExtractorSerializers, SerializerType};

/// One `[flow.F.interceptors.I]` table; a source names the ones its events pass, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterceptorSpec {
    /// Stamps the event with the time of its arrival.
    Timestamp(TimestampInterceptor),
    /// Adds the host that handles the event.
    Host(HostInterceptor),
    /// Adds one header with a fixed value.
    Static(StaticInterceptor),
    /// Removes headers.
    RemoveHeader(RemoveHeaderInterceptor),
    /// Keeps or drops events by their body.
    RegexFilter(RegexFilterInterceptor),
    /// Replaces text in bodies.
    SearchReplace(SearchReplaceInterceptor),
    /// Puts parts of the body into headers.
    RegexExtractor(RegexExtractorInterceptor),
}

impl InterceptorSpec {
    /// The word after `type =`.
    pub fn type_name(&self) -> &'static str {
        match self {
            InterceptorSpec::Timestamp(_) => "timestamp",
            InterceptorSpec::Host(_) => "host",
            InterceptorSpec::Static(_) => "static",
            InterceptorSpec::RemoveHeader(_) => "remove_header",
            InterceptorSpec::RegexFilter(_) => "regex_filter",
            InterceptorSpec::SearchReplace(_) => "search_replace",
            InterceptorSpec::RegexExtractor(_) => "regex_extractor",
        }
    }
}

/// `type = "timestamp"`. The header `timestamp` is the event's own timestamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimestampInterceptor {
    /// Whether an event that has one keeps it.
    pub preserve_existing: bool,
    /// The header, in milliseconds since 1970.
    pub header_name: String,
}

impl Default for TimestampInterceptor {
    fn default() -> TimestampInterceptor {
        TimestampInterceptor { preserve_existing: false, header_name: "timestamp".to_owned() }
    }
}

/// `type = "host"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostInterceptor {
    /// Whether an event that has the header keeps it.
    pub preserve_existing: bool,
    /// Whether the IP address is used; otherwise the full host name.
    pub use_ip: bool,
    /// The header.
    pub host_header: String,
}

impl Default for HostInterceptor {
    fn default() -> HostInterceptor {
        HostInterceptor { preserve_existing: false, use_ip: true, host_header: "host".to_owned() }
    }
}

/// `type = "static"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StaticInterceptor {
    /// Whether an event that has the header keeps it.
    pub preserve_existing: bool,
    /// The header.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Default for StaticInterceptor {
    fn default() -> StaticInterceptor {
        StaticInterceptor {
            preserve_existing: true,
            key: "key".to_owned(),
            value: "value".to_owned(),
        }
    }
}

/// `type = "remove_header"`. What any of the three names is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoveHeaderInterceptor {
    /// The header of exactly this name.
    pub with_name: Option<String>,
    /// The headers of these names.
    pub from_list: Vec<String>,
    /// The headers whose whole name matches this regular expression.
    pub matching: Option<String>,
}

/// `type = "regex_filter"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegexFilterInterceptor {
    /// The regular expression, looked for anywhere in the body.
    pub regex: String,
    /// Whether events in which it is found are dropped; otherwise those in which it is not.
    pub exclude_events: bool,
}

impl Default for RegexFilterInterceptor {
    fn default() -> RegexFilterInterceptor {
        RegexFilterInterceptor { regex: ".*".to_owned(), exclude_events: false }
    }
}

/// `type = "search_replace"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchReplaceInterceptor {
    /// The regular expression; every occurrence in the body is replaced. Required.
    pub search_pattern: String,
    /// The replacement, as in Java: `$1` or `${name}` is a group, `\` takes the next character as it
    /// is. [`Replacement`](crate::Replacement) reads it.
    pub replace_string: String,
    /// Flume's; only `UTF-8`.
    pub charset: String,
}

impl Default for SearchReplaceInterceptor {
    fn default() -> SearchReplaceInterceptor {
        SearchReplaceInterceptor {
            search_pattern: String::new(),
            replace_string: String::new(),
            charset: "UTF-8".to_owned(),
        }
    }
}

/// `type = "regex_extractor"`. Looks for the first occurrence in the body; group 1 goes to the first
/// serializer, group 2 to the second, and so on. A group that took no part sets no header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegexExtractorInterceptor {
    /// The regular expression. Required.
    pub regex: String,
    /// What becomes of each group. Required.
    pub serializers: ExtractorSerializers,
}
