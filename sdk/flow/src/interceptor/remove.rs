//! `remove_header`: takes headers away.

use regex::Regex;
use sdk_config::RemoveHeaderInterceptor;

use super::draft::TIMESTAMP;
use super::{Draft, Interceptor, Scratch, SharedHeaders};
use crate::BoxError;

/// Removes headers by name or by pattern.
pub(super) struct RemoveHeader {
    names: Vec<String>,
    /// Matches whole names.
    matching: Option<Regex>,
}

impl RemoveHeader {
    pub(super) fn build(spec: &RemoveHeaderInterceptor) -> Result<RemoveHeader, BoxError> {
        let names = spec.with_name.iter().chain(&spec.from_list).cloned().collect();
        let matching = match &spec.matching {
            Some(pattern) => Some(Regex::new(&format!(r"\A(?:{pattern})\z"))?),
            None => None,
        };
        Ok(RemoveHeader { names, matching })
    }

    fn removes(&self, key: &str) -> bool {
        self.names.iter().any(|name| name == key)
            || self.matching.as_ref().is_some_and(|matching| matching.is_match(key))
    }
}

impl Interceptor for RemoveHeader {
    fn shared<'a>(&'a self, headers: &mut SharedHeaders<'a>) {
        headers.remove_where(|key| self.removes(key));
    }

    fn event<'a>(&'a self, event: &mut Draft<'a>, _: &mut Scratch) -> bool {
        event.remove_where(|key| self.removes(key));
        if event.timestamp_ms().is_some() && self.removes(TIMESTAMP) {
            event.set_timestamp_ms(None);
        }
        true
    }
}
