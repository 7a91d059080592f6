//! Runs a source, and starts it again when it fails.

use std::sync::Arc;
use std::time::Duration;

use sdk_channel::Spool;
use sdk_config::SourceSpec;
use sdk_event::ProducerId;
use sdk_flow::{
    BoxError, ChannelProcessor, Clock, Entropy, PutError, SourceError, SourceStart, jittered,
    penalty, with_causes,
};
use sdk_sources::Built;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::dead_letters::DeadLetterBox;
use crate::intake::SourceIntake;
use crate::watch::SourceWatch;

/// The longest pause before a source that failed is started again.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// One that ran for so long has begun anew.
const RAN_WELL: Duration = Duration::from_secs(60);

/// A source of a flow, and all it needs to be started.
pub(crate) struct SourceRunner {
    pub(crate) spec: SourceSpec,
    pub(crate) spool: Spool,
    pub(crate) processor: Arc<ChannelProcessor>,
    pub(crate) letters: Arc<DeadLetterBox>,
    pub(crate) watch: Arc<SourceWatch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Why a source is not running.
enum Down {
    /// The spool takes nothing at the moment, or never again.
    Put(PutError),
    /// The source itself failed.
    Source(SourceError),
    /// It cannot be built.
    Build(BoxError),
}

impl SourceRunner {
    /// Whether such a source can be.
    pub(crate) fn check(spec: &SourceSpec, clock: Arc<dyn Clock>) -> Result<(), BoxError> {
        let start = SourceStart {
            name: String::new(),
            producer: ProducerId([0; 16]),
            generation: 0,
            next_sequence: 0,
            positions: None,
        };
        build(spec, start, clock).map(|_| ())
    }

    /// Runs until `stop`, or until the source has come to its end.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failures: u32 = 0;
        loop {
            let begun = self.clock.monotonic();
            let down = match self.run_once(&stop).await {
                Ok(()) => {
                    self.watch.ended();
                    info!(flow = self.watch.flow(), source = self.watch.name(), "source has ended");
                    return;
                }
                Err(down) => down,
            };
            if stop.is_cancelled() {
                self.watch.ended();
                return;
            }
            if self.clock.monotonic().saturating_sub(begun) >= RAN_WELL {
                failures = 0;
            }
            let pause = match down {
                Down::Put(PutError::Stopped)
                | Down::Source(SourceError::Put(PutError::Stopped)) => {
                    self.watch.failed("the spool takes nothing more".to_owned());
                    return;
                }
                Down::Put(PutError::Exhausted { reason, retry_after }) => {
                    self.watch.refused(&PutError::Exhausted { reason, retry_after });
                    retry_after
                }
                Down::Put(error) => self.failed(&error, &mut failures),
                Down::Source(error) => self.failed(&error, &mut failures),
                Down::Build(error) => self.failed(&*error, &mut failures),
            };
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                self.watch.ended();
                return;
            }
        }
    }

    async fn run_once(&self, stop: &CancellationToken) -> Result<(), Down> {
        let start = self.spool.start_source(self.watch.name(), &*self.entropy).await;
        let start = start.map_err(Down::Put)?;
        let (producer, generation) = (start.producer, start.generation);
        let Built { source, lag } =
            build(&self.spec, start, Arc::clone(&self.clock)).map_err(Down::Build)?;
        let intake = Arc::new(SourceIntake {
            producer,
            generation,
            processor: Arc::clone(&self.processor),
            shard: Arc::clone(self.spool.shard()),
            letters: Arc::clone(&self.letters),
            watch: Arc::clone(&self.watch),
        });
        self.watch.runs(lag);
        source.run(intake, stop.clone()).await.map_err(Down::Source)
    }

    /// Says so, and for how long to leave it.
    fn failed(&self, error: &dyn std::error::Error, failures: &mut u32) -> Duration {
        let (flow, source, error) = (self.watch.flow(), self.watch.name(), with_causes(error));
        *failures = failures.saturating_add(1);
        let pause = jittered(penalty(*failures, PAUSE_MAX), &*self.entropy);
        error!(flow, source, error, ?pause, "source failed, will be started again");
        self.watch.failed(error);
        pause
    }
}

fn build(spec: &SourceSpec, start: SourceStart, clock: Arc<dyn Clock>) -> Result<Built, BoxError> {
    let built = sdk_sources::build(spec, start, clock)?;
    built.ok_or_else(|| format!("a source of type {} needs a node", spec.type_name()).into())
}
