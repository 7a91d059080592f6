//! Making a processor from a flow's spec.

use std::collections::BTreeSet;
use std::sync::Arc;

use sdk_config::{FlowSpec, SourceSpec};

use super::router::{Router, RouterError};
use super::{ChannelProcessor, Step};
use crate::{BoxError, ChannelNumbers, Clock, HostNames, interceptor};

/// What a processor needs from the machine it is on.
#[derive(Clone)]
pub struct Environment {
    /// For the interceptor `timestamp`.
    pub clock: Arc<dyn Clock>,
    /// For the interceptor `host`.
    pub host: HostNames,
}

/// Why a source's processor cannot be built. (Reading a spec finds all of
/// these; a spec that was made otherwise may have them.)
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A channel that the flow has not, or that the source does not put into.
    #[error("source puts into channel {0}, which it has not")]
    Channel(String),
    /// An interceptor that the flow has not.
    #[error("source names interceptor {0}, which the flow has not")]
    Interceptor(String),
    /// An interceptor with a pattern or a replacement that is none.
    #[error("interceptor {name} is invalid")]
    Invalid {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        error: BoxError,
    },
    /// A selector with more distinct sets of channels than we count.
    #[error("selector has too many mappings")]
    Mappings,
}

impl ChannelProcessor {
    /// The processor of `source`, whose channels are numbered by `flow`.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(
        source: &SourceSpec,
        flow: &FlowSpec,
        environment: &Environment,
    ) -> Result<ChannelProcessor, BuildError> {
        let numbers = ChannelNumbers::of(flow);
        let names: BTreeSet<&str> = source.channels().iter().map(String::as_str).collect();
        let number = |name: &str| {
            let known = names.contains(name).then(|| numbers.number(name)).flatten();
            known.ok_or_else(|| BuildError::Channel(name.to_owned()))
        };
        let channels = names.iter().map(|name| number(name)).collect::<Result<_, _>>()?;
        let router =
            Router::build(source.selector(), channels, number).map_err(|error| match error {
                RouterError::Channel(error) => error,
                RouterError::Targets => BuildError::Mappings,
            })?;
        let steps = source.interceptors().iter().map(|name| {
            let missing = || BuildError::Interceptor(name.clone());
            let spec = flow.interceptors.get(name).ok_or_else(missing)?;
            let interceptor = interceptor::build(spec, &environment.host)
                .map_err(|error| BuildError::Invalid { name: name.clone(), error })?;
            Ok(Step { rule: format!("interceptor:{name}").into(), interceptor })
        });
        let steps = steps.collect::<Result<_, BuildError>>()?;
        let clock = Arc::clone(&environment.clock);
        Ok(ChannelProcessor { steps, router, channels, clock })
    }
}
