//! What a source does to events before they are stored.

mod body_regex;
mod draft;
mod extractor;
mod filter;
mod host;
mod millis;
mod remove;
mod replace;
mod scratch;
mod shared;
mod stamp;
mod value;

use sdk_config::InterceptorSpec;

pub use self::draft::Draft;
pub(crate) use self::draft::TIMESTAMP;
pub use self::host::HostNames;
pub use self::scratch::Scratch;
pub use self::shared::SharedHeaders;
use crate::BoxError;

/// Looks at events, changes them, drops them.
///
/// A block's headers come in two layers: those that all its events share, and
/// each event's own, which win. An interceptor says what it does to each layer,
/// so that a header which is the same for all is written once per block. Seen
/// from one event the two must add up to what the interceptor does to it; layers
/// are visited in the order of the interceptors, so they do whenever each
/// interceptor treats its key in both.
pub trait Interceptor: Send + Sync {
    /// What it does to the headers that the events of a block share. Called
    /// once per block, before any event.
    fn shared<'a>(&'a self, headers: &mut SharedHeaders<'a>) {
        let _ = headers;
    }

    /// What it does to one event. `false` drops the event. `scratch` is kept
    /// from event to event of one block.
    fn event<'a>(&'a self, event: &mut Draft<'a>, scratch: &mut Scratch) -> bool {
        let _ = (event, scratch);
        true
    }
}

/// The interceptor that `spec` describes.
pub(crate) fn build(
    spec: &InterceptorSpec,
    host: &HostNames,
) -> Result<Box<dyn Interceptor>, BoxError> {
    Ok(match spec {
        InterceptorSpec::Timestamp(spec) => stamp::build(spec),
        InterceptorSpec::Host(spec) => host::build(spec, host),
        InterceptorSpec::Static(spec) => {
            Box::new(value::FixedHeader::new(&spec.key, &spec.value, spec.preserve_existing))
        }
        InterceptorSpec::RemoveHeader(spec) => Box::new(remove::RemoveHeader::build(spec)?),
        InterceptorSpec::RegexFilter(spec) => Box::new(filter::RegexFilter::build(spec)?),
        InterceptorSpec::SearchReplace(spec) => Box::new(replace::SearchReplace::build(spec)?),
        InterceptorSpec::RegexExtractor(spec) => Box::new(extractor::RegexExtractor::build(spec)?),
    })
}
