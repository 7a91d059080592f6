//! The standard gRPC health service.

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Says whether the node takes events. All clones are one.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
}

/// The names that can be asked for: the whole server, and the service.
const NAMES: [&str; 2] = ["", "collector.v1.Ingest"];

impl Health {
    /// Not serving until told otherwise.
    pub async fn new() -> Health {
        let health = Health { reporter: HealthReporter::new() };
        health.set_serving(false).await;
        health
    }

    /// Changes the answer, and tells those who watch.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    pub(crate) fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }
}
