//! Who may connect, how that is encrypted, and who may do what. Secrets are never part of it: only the
//! names of the files that hold them.

use serde::{Deserialize, Serialize};

use crate::DurationText;

/// The `[node.tls]` table (an agent's `[agent.tls]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The file with the certificate and those between it and its CA, PEM. Required.
    pub certificate: String,
    /// The file with its private key, PEM. Required.
    pub key: String,
    /// The file with the CAs whose certificates clients may show, PEM. `None` = no client is asked for
    /// a certificate.
    pub client_ca: Option<String>,
    /// What is asked of clients where there is a `client_ca`.
    pub client_certificate: ClientCertificate,
    /// The ports that speak TLS.
    pub ports: Vec<Port>,
    /// How often the files are looked at.
    pub reload: DurationText,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            certificate: String::new(),
            key: String::new(),
            client_ca: None,
            client_certificate: ClientCertificate::Required,
            ports: vec![Port::Ingest, Port::Peer, Port::Admin],
            reload: DurationText::from_secs(10),
        }
    }
}

impl TlsSettings {
    /// Whether `port` speaks TLS.
    pub fn covers(&self, port: Port) -> bool {
        self.ports.contains(&port)
    }
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificate {
    /// A certificate.
    #[default]
    Required,
    /// One that is shown must be good; a client without one is told apart by its token.
    Optional,
}

/// A port of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// For producers.
    Ingest,
    /// For the other nodes.
    Peer,
    /// For operators.
    Admin,
}

/// An `[node.access.NAME]` table (an agent's `[agent.access.NAME]`): who `NAME` is, and what it may do.
/// Where there is none, whoever can connect may do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSpec {
    /// The file with its bearer tokens, one a line.
    pub token_file: Option<String>,
    /// The names in its client certificates; `*.` in front and `*` at the end stand for anything.
    pub certificates: Vec<String>,
    /// It is everybody who shows neither a token nor a certificate.
    pub anyone: bool,
    /// The flows that it may send to; `*` is all of them.
    pub send: Vec<String>,
    /// What it may ask of the admin port.
    pub admin: AdminAccess,
}

/// What may be asked of the admin port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminAccess {
    /// Only whether the node is alive and ready.
    #[default]
    None,
    /// What changes nothing and shows no event: status, metrics, audit.
    View,
    /// Everything.
    Full,
}
