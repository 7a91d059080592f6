//! `regex_filter`: keeps or drops events by their body.

use sdk_config::RegexFilterInterceptor;

use super::body_regex::BodyRegex;
use super::{Draft, Interceptor, Scratch};
use crate::BoxError;

/// Drops events in which the pattern is found, or those in which it is not.
pub(super) struct RegexFilter {
    pattern: BodyRegex,
    exclude_events: bool,
}

impl RegexFilter {
    pub(super) fn build(spec: &RegexFilterInterceptor) -> Result<RegexFilter, BoxError> {
        let pattern = BodyRegex::new(&spec.regex)?;
        Ok(RegexFilter { pattern, exclude_events: spec.exclude_events })
    }
}

impl Interceptor for RegexFilter {
    fn event<'a>(&'a self, event: &mut Draft<'a>, _: &mut Scratch) -> bool {
        self.pattern.is_match(event.body()) != self.exclude_events
    }
}
