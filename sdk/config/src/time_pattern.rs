//! How a time is written in a line, for the serializer `millis`.

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

/// A strftime pattern and the time zone of times without an offset.
#[derive(Clone, Debug)]
pub struct TimePattern {
    pattern: String,
    time_zone: TimeZone,
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimePatternError {
    /// Letters as Joda and Java have them.
    #[error(
        "the pattern has no strftime letters\nhelp: `yyyy-MM-dd HH:mm:ss` is written `%Y-%m-%d %H:%M:%S`"
    )]
    NoLetters,
    /// A letter that means nothing.
    #[error(
        "the pattern cannot be read: {0}\nhelp: the letters are those of strftime, as in `%d/%b/%Y:%H:%M:%S %z`"
    )]
    Letter(String),
    /// Something is missing between year and day.
    #[error(
        "the pattern does not say which moment it is: {0}\nhelp: it needs year, month and day, or `%s`"
    )]
    NoInstant(String),
    /// Not in the IANA database.
    #[error("`{0}` is not a time zone")]
    TimeZone(String),
}

impl TimePattern {
    /// Reads a pattern and the IANA name of a time zone.
    pub fn new(pattern: &str, time_zone: &str) -> Result<TimePattern, TimePatternError> {
        let unknown = || TimePatternError::TimeZone(time_zone.to_owned());
        let time_zone = TimeZone::get(time_zone).map_err(|_| unknown())?;
        if !pattern.contains('%') {
            return Err(TimePatternError::NoLetters);
        }
        let sample = jiff::civil::date(2012, 6, 23).at(3, 16, 34, 0);
        let sample = sample.to_zoned(time_zone.clone()).map_err(|_| unknown())?;
        let read = TimePattern { pattern: pattern.to_owned(), time_zone };
        let letter = |error: jiff::Error| TimePatternError::Letter(error.to_string());
        let text = BrokenDownTime::from(&sample).to_string(pattern).map_err(letter)?;
        let broken_down = BrokenDownTime::parse(pattern, &text).map_err(letter)?;
        let no_instant = |error: jiff::Error| TimePatternError::NoInstant(error.to_string());
        read.instant(&broken_down).map_err(no_instant)?;
        Ok(read)
    }

    /// The milliseconds since 1970 that a text says, or `None` if it is no such time.
    pub fn millis(&self, text: impl AsRef<[u8]>) -> Option<i64> {
        let broken_down = BrokenDownTime::parse(&self.pattern, text).ok()?;
        self.instant(&broken_down).ok()
    }

    fn instant(&self, time: &BrokenDownTime) -> Result<i64, jiff::Error> {
        // With an offset the text says the moment itself.
        if let Ok(timestamp) = time.to_timestamp() {
            return Ok(timestamp.as_millisecond());
        }
        let zoned = time.to_datetime()?.to_zoned(self.time_zone.clone())?;
        Ok(zoned.timestamp().as_millisecond())
    }
}

/// Whether this is the IANA name of a time zone.
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{TimePattern, TimePatternError};

    fn millis(pattern: &str, zone: &str, text: &str) -> Option<i64> {
        TimePattern::new(pattern, zone).unwrap().millis(text)
    }

    #[test]
    fn an_offset_in_the_text_wins() {
        let pattern = "%d/%b/%Y:%H:%M:%S %z";
        let text = "23/Jun/2012:05:16:34 +0200";
        assert_eq!(millis(pattern, "America/New_York", text), Some(1_340_421_394_000));
    }

    #[test]
    fn without_one_the_zone_is_asked() {
        let pattern = "%Y-%m-%d %H:%M:%S%.f";
        let text = "2012-06-23 05:16:34.234";
        assert_eq!(millis(pattern, "Europe/Berlin", text), Some(1_340_421_394_234));
        assert_eq!(millis("%s", "UTC", "1340421394"), Some(1_340_421_394_000));
        assert_eq!(millis("%Y-%m-%d", "UTC", "1970-01-02"), Some(86_400_000));
        assert_eq!(millis("%Y-%m-%d", "UTC", "yesterday"), None);
    }

    #[test]
    fn patterns_that_cannot_work_are_refused() {
        let problem = |pattern| TimePattern::new(pattern, "UTC").unwrap_err();
        assert_eq!(problem("yyyy-MM-dd"), TimePatternError::NoLetters);
        assert!(matches!(problem("%Y-%!"), TimePatternError::Letter(_)));
        assert!(matches!(problem("%H:%M:%S"), TimePatternError::NoInstant(_)));
        assert!(matches!(problem("%b %d %H:%M:%S"), TimePatternError::NoInstant(_)));
    }
}
