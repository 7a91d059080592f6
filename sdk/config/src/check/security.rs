//! The tables `tls` and `access`, and the ports that they are about.

use std::collections::BTreeMap;

use super::Checker;
use crate::mask::is_no_file;
use crate::mistake::KeyPath;
use crate::{AccessSpec, Address, AdminAccess, CollectorSink, Port, TlsSettings};

/// Looking at files more often than this only costs.
const RELOAD_MS_MIN: u64 = 100;

/// What is known of a port's door.
pub(super) struct Door<'a> {
    pub(super) insecure: bool,
    pub(super) tls: Option<&'a TlsSettings>,
    pub(super) access: &'a BTreeMap<String, AccessSpec>,
}

impl Checker {
    /// An address that `door` guards.
    pub(super) fn listen(&mut self, path: KeyPath, address: &Address, port: Port, door: &Door<'_>) {
        let encrypted = door.tls.is_some_and(|tls| tls.covers(port));
        if encrypted || address.is_loopback() {
            return;
        }
        let table = path.parent();
        if !door.insecure {
            self.error(path, format!("`{address}` is reached from other machines without TLS"))
                .help(format!(
                    "keep it on `127.0.0.1`, write a table `[{table}.tls]`, or say `insecure = \
                     true` in `[{table}]` if the network is trusted"
                ))
                .about(table.key("insecure"));
        } else if door.access.values().any(|access| access.token_file.is_some()) {
            self.warn(path, format!("tokens reach `{address}` unencrypted"))
                .help(format!("write a table `[{table}.tls]`: whoever sees a token has it"));
        }
    }

    pub(super) fn tls(&mut self, path: &KeyPath, tls: &TlsSettings) {
        for (key, end, file) in [("certificate", "pem", &tls.certificate), ("key", "key", &tls.key)]
        {
            if file.is_empty() {
                let help =
                    format!("write `{key} = \"/etc/collector/node.{end}\"`, the name of a file");
                self.required(path, key, help);
            }
            self.secret_file(path.key(key), file);
        }
        if let Some(file) = &tls.client_ca {
            self.secret_file(path.key("client_ca"), file);
        }
        if tls.ports.is_empty() {
            self.error(path.key("ports"), "no port speaks TLS")
                .help("remove the key, for all of them");
        }
        if tls.reload.millis() < RELOAD_MS_MIN {
            self.refuse(path.key("reload"), tls.reload, "100ms or more");
        }
    }

    pub(super) fn access(&mut self, path: &KeyPath, door: &Door<'_>) {
        let certificates = door.tls.is_some_and(|tls| tls.client_ca.is_some());
        for (name, access) in door.access {
            let path = path.key(name);
            if let Some(file) = &access.token_file {
                self.secret_file(path.key("token_file"), file);
            }
            let known =
                access.token_file.is_some() || !access.certificates.is_empty() || access.anyone;
            if !known {
                self.error(path.clone(), format!("nothing says who `{name}` is"))
                    .help("write `token_file`, `certificates` or `anyone = true`");
            }
            if !access.certificates.is_empty() && !certificates {
                self.error(path.key("certificates"), "no client is asked for a certificate")
                    .help("write `client_ca` in the table `tls`, the file with their CAs");
            }
            for (at, pattern) in access.certificates.iter().enumerate() {
                let inside = pattern.strip_prefix("*.").unwrap_or(pattern);
                let inside = inside.strip_suffix('*').unwrap_or(inside);
                if inside.is_empty() || inside.contains('*') {
                    self.error(
                        path.key("certificates").index(at),
                        format!("`{pattern}` is no name"),
                    )
                    .help("`shop.example.com`, `*.example.com` or `spiffe://example.com/shop/*`");
                }
            }
            if known && access.send.is_empty() && access.admin == AdminAccess::None {
                self.warn(path, format!("`{name}` may do nothing"))
                    .help("write `send = [\"FLOW\"]`, or `admin = \"view\"` or `\"full\"`");
            }
        }
    }

    pub(super) fn client_files(&mut self, path: &KeyPath, sink: &CollectorSink) {
        for (key, file) in [
            ("ca", &sink.ca),
            ("certificate", &sink.certificate),
            ("key", &sink.key),
            ("token_file", &sink.token_file),
        ] {
            if let Some(file) = file {
                self.secret_file(path.key(key), file);
            }
        }
        for (there, other) in [("certificate", "key"), ("key", "certificate")] {
            let is_there =
                |key| if key == "key" { sink.key.is_some() } else { sink.certificate.is_some() };
            if is_there(there) && !is_there(other) {
                self.error(path.key(there), format!("`{there}` is there without `{other}`")).help(
                    "a certificate is of no use without its private key, nor the other way round",
                );
            }
        }
        if sink.server_name.as_deref() == Some("") {
            self.error(path.key("server_name"), "`server_name` is empty")
                .help("remove it, for the host in the endpoint");
        }
    }

    /// A secret stands in a file of its own, never here.
    fn secret_file(&mut self, path: KeyPath, file: &str) {
        let key = path.last_key().unwrap_or_default().to_owned();
        if is_no_file(file) {
            self.error(path, format!("`{key}` holds the thing itself, not the name of its file"))
                .help(format!(
                    "put it into a file of its own, and write `{key} = \"/path/of/it\"`"
                ));
        } else if file.starts_with("~/") {
            self.error(path, "`~` is not expanded").help("write `${env:HOME}`");
        }
    }
}
