//! A time in text, as milliseconds since 1970.

use sdk_config::TimePattern;

use super::scratch::LastTime;
use crate::BoxError;

/// Reads times of one form.
pub(super) struct Millis(TimePattern);

impl Millis {
    pub(super) fn new(pattern: &str, time_zone: &str) -> Result<Millis, BoxError> {
        Ok(Millis(TimePattern::new(pattern, time_zone)?))
    }

    /// The time in `text`, or `None` if it is not of that form.
    pub(super) fn read(&self, text: &[u8], last: &mut LastTime) -> Option<i64> {
        if last.text != text || text.is_empty() {
            last.text.clear();
            last.text.extend_from_slice(text);
            last.ms = self.0.millis(text);
        }
        last.ms
    }
}
