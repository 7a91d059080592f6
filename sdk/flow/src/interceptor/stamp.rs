//! `timestamp`: when the event arrived.

use std::borrow::Cow;

use sdk_config::TimestampInterceptor;

use super::draft::TIMESTAMP;
use super::{Draft, Interceptor, Scratch, SharedHeaders};

pub(super) fn build(spec: &TimestampInterceptor) -> Box<dyn Interceptor> {
    let preserve_existing = spec.preserve_existing;
    if spec.header_name == TIMESTAMP {
        Box::new(Timestamp { preserve_existing })
    } else {
        Box::new(TimeHeader { key: spec.header_name.clone(), preserve_existing })
    }
}

/// Sets the event's timestamp.
struct Timestamp {
    preserve_existing: bool,
}

impl Interceptor for Timestamp {
    fn event<'a>(&'a self, event: &mut Draft<'a>, _: &mut Scratch) -> bool {
        if !self.preserve_existing || event.timestamp_ms().is_none() {
            event.set_timestamp_ms(Some(event.now_ms()));
        }
        true
    }
}

/// Sets a header of another name. All events of a block arrive together.
struct TimeHeader {
    key: String,
    preserve_existing: bool,
}

impl Interceptor for TimeHeader {
    fn shared<'a>(&'a self, headers: &mut SharedHeaders<'a>) {
        if !self.preserve_existing || headers.get(&self.key).is_none() {
            headers.set(&self.key, Cow::Owned(headers.now_ms().to_string()));
        }
    }

    fn event<'a>(&'a self, event: &mut Draft<'a>, _: &mut Scratch) -> bool {
        if !self.preserve_existing {
            event.remove_where(|key| key == self.key);
        }
        true
    }
}
