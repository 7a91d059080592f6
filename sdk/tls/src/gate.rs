//! What guards the ports of a process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use sdk_config::{AccessSpec, AdminAccess, Port, TlsSettings};
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Caller, Denied};
use crate::certificate::{Peer, at};
use crate::files::LoadError;
use crate::server::ServerTls;

/// How often files of tokens are looked at where there is no TLS to say so.
const RELOAD: Duration = Duration::from_secs(10);
/// A certificate that expires within this is spoken of.
const EXPIRY_WARNING_S: i64 = 7 * 86_400;

/// TLS and access of a process. Without either, everything is open. Clones are one.
#[derive(Clone, Default)]
pub struct Gate {
    tls: Option<Arc<ServerTls>>,
    ports: Vec<Port>,
    access: Option<Arc<Access>>,
    reload: Option<Duration>,
}

/// Why a process cannot be guarded as it is told.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct GateError(#[from] LoadError);

impl Gate {
    /// As `[PLACE.tls]` and `[PLACE.access.*]` say.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(
        tls: Option<&TlsSettings>,
        access: &BTreeMap<String, AccessSpec>,
        place: &str,
    ) -> Result<Gate, GateError> {
        let server = tls.map(|tls| ServerTls::load(tls, &format!("{place}.tls"))).transpose()?;
        Ok(Gate {
            tls: server.map(Arc::new),
            ports: tls.map(|tls| tls.ports.clone()).unwrap_or_default(),
            access: Access::load(access, &format!("{place}.access"))?,
            reload: tls.map(|tls| tls.reload.get()),
        })
    }

    /// TLS on `port`, if it is encrypted.
    #[must_use]
    pub fn tls(&self, port: Port) -> Option<Arc<ServerTls>> {
        self.tls.clone().filter(|_| self.ports.contains(&port))
    }

    /// `https` where `port` is encrypted, else `http`.
    #[must_use]
    pub fn scheme(&self, port: Port) -> &'static str {
        if self.tls(port).is_some() { "https" } else { "http" }
    }

    /// Who sends a request. `None` = nobody is told apart, and everybody may do everything.
    ///
    /// # Errors
    /// When it is nobody that a rule is about.
    pub fn caller(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Option<Caller>, Denied> {
        match &self.access {
            None => Ok(None),
            Some(access) => access.caller(headers, peer).map(Some),
        }
    }

    /// Whether who sends a request may ask the admin port for something that takes `needed`.
    ///
    /// # Errors
    /// When not.
    pub fn admit(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        needed: AdminAccess,
    ) -> Result<(), Denied> {
        match self.caller(headers, peer)? {
            Some(caller) if needed > AdminAccess::None => caller.may_administer(needed),
            _ => Ok(()),
        }
    }

    /// Looks at the files, again and again, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        if self.tls.is_none() && self.access.is_none() {
            return;
        }
        let pause = self.reload.unwrap_or(RELOAD);
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let gate = self.clone();
            // A file may be on a file system that hangs.
            drop(tokio::task::spawn_blocking(move || gate.refresh()).await);
        }
    }

    /// Looks at the files now.
    pub fn refresh(&self) {
        if let Some(tls) = &self.tls {
            tls.refresh();
        }
        if let Some(access) = &self.access {
            access.refresh();
        }
    }

    /// What somebody should do something about, at `now_s` (seconds since 1970).
    #[must_use]
    pub fn reasons(&self, now_s: i64) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(tls) = &self.tls {
            let until = tls.not_after_s();
            if until <= now_s {
                reasons.push(format!(
                    "the TLS certificate has expired, on {}: no client connects; replace its file",
                    at(until)
                ));
            } else if until - now_s < EXPIRY_WARNING_S {
                reasons.push(format!(
                    "the TLS certificate expires on {}: replace its file, no restart is needed",
                    at(until)
                ));
            }
            let trouble = tls.trouble();
            reasons
                .extend(trouble.map(|it| {
                    format!("new TLS files cannot be used, the old stay in force: {it}")
                }));
        }
        let trouble = self.access.as_ref().and_then(|access| access.trouble());
        reasons.extend(
            trouble.map(|it| format!("new tokens cannot be used, the old stay in force: {it}")),
        );
        reasons
    }

    /// Adds its metrics, if it guards anything.
    pub fn register(&self, registry: &mut Registry) {
        if self.tls.is_some() || self.access.is_some() {
            registry.register_collector(Box::new(self.clone()));
        }
    }
}

impl Collector for Gate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut count = |name: &str, help: &str, count: u64| {
            let counter = ConstCounter::new(count);
            let encoder = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(encoder)
        };
        if let Some(tls) = &self.tls {
            count(
                "collector_tls_reloads",
                "New certificates, keys or CAs taken up",
                tls.reloads(),
            )?;
            count(
                "collector_tls_refused_handshakes",
                "Connections that ended in the TLS handshake",
                tls.refused(),
            )?;
        }
        if let Some(access) = &self.access {
            count(
                "collector_access_denied_requests",
                "Requests that were not allowed",
                access.denied(),
            )?;
        }
        if let Some(tls) = &self.tls {
            let gauge = ConstGauge::new(tls.not_after_s());
            let encoder = encoder.encode_descriptor(
                "collector_tls_certificate_expiry",
                "When the certificate expires, since 1970",
                Some(&Unit::Seconds),
                gauge.metric_type(),
            )?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("tls", &self.tls.is_some())
            .field("access", &self.access.is_some())
            .finish_non_exhaustive()
    }
}
