//! `regex_extractor`: puts parts of the body into headers.

use std::ops::Range;

use sdk_config::{RegexExtractorInterceptor, SerializerType};
use smallvec::SmallVec;

use super::body_regex::BodyRegex;
use super::millis::Millis;
use super::{Draft, Interceptor, Scratch};
use crate::BoxError;

/// Group 1 of the first match goes to the first serializer, group 2 to the
/// second, and so on; groups and serializers without a partner are ignored, and
/// so is a group that took no part.
pub(super) struct RegexExtractor {
    pattern: BodyRegex,
    serializers: Vec<Serializer>,
}

struct Serializer {
    header: String,
    kind: Kind,
}

enum Kind {
    Text,
    Millis(Millis),
}

impl RegexExtractor {
    pub(super) fn build(spec: &RegexExtractorInterceptor) -> Result<RegexExtractor, BoxError> {
        let pattern = BodyRegex::new(&spec.regex)?;
        let serializers = spec.serializers.iter().map(|serializer| {
            let kind = match serializer.kind {
                SerializerType::Default => Kind::Text,
                SerializerType::Millis => {
                    Kind::Millis(Millis::new(&serializer.pattern, &serializer.time_zone)?)
                }
            };
            Ok(Serializer { header: serializer.name.clone(), kind })
        });
        let serializers = serializers.collect::<Result<_, BoxError>>()?;
        Ok(RegexExtractor { pattern, serializers })
    }
}

impl Interceptor for RegexExtractor {
    fn event<'a>(&'a self, event: &mut Draft<'a>, scratch: &mut Scratch) -> bool {
        let mut found: SmallVec<[(&'a str, Found); 4]> = SmallVec::new();
        // Lent out, because the search borrows the rest of the scratch.
        let mut times = std::mem::take(&mut scratch.times);
        times.resize_with(self.serializers.len(), Default::default);
        let body = event.body();
        let mut search = self.pattern.search(body, scratch);
        if search.next(body, 0).is_some() {
            for (index, serializer) in self.serializers.iter().enumerate() {
                let Some(range) = search.group(index + 1) else { continue };
                let what = match &serializer.kind {
                    Kind::Text => Some(Found::Text(range)),
                    Kind::Millis(millis) => {
                        millis.read(&body[range], &mut times[index]).map(Found::Millis)
                    }
                };
                found.extend(what.map(|what| (serializer.header.as_str(), what)));
            }
        }
        scratch.times = times;
        for (header, what) in found {
            match what {
                Found::Text(range) => event.set_from_body(header, range),
                Found::Millis(ms) => event.set_number(header, ms),
            }
        }
        true
    }
}

enum Found {
    Text(Range<usize>),
    Millis(i64),
}
