//! A time in text, as milliseconds since 1970.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::scratch::LastTime;
use crate::BoxError;

/// Reads times of one form.
pub(super) struct Millis {
    pattern: String,
    /// For times that name no offset of their own.
    time_zone: TimeZone,
}

impl Millis {
    pub(super) fn new(pattern: &str, time_zone: &str) -> Result<Millis, BoxError> {
        let time_zone = TimeZone::get(time_zone)?;
        Ok(Millis { pattern: pattern.to_owned(), time_zone })
    }

    /// The time in `text`, or `None` if it is not of that form.
    pub(super) fn read(&self, text: &[u8], last: &mut LastTime) -> Option<i64> {
        if last.text != text || text.is_empty() {
            last.text.clear();
            last.text.extend_from_slice(text);
            last.ms = self.parse(text);
        }
        last.ms
    }

    fn parse(&self, text: &[u8]) -> Option<i64> {
        let time = strtime::parse(&self.pattern, text).ok()?;
        if let Ok(timestamp) = time.to_timestamp() {
            return Some(timestamp.as_millisecond());
        }
        let zoned = time.to_datetime().ok()?.to_zoned(self.time_zone.clone()).ok()?;
        Some(zoned.timestamp().as_millisecond())
    }
}
