//! Certificates for tests, made anew each time.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType, date_time_ymd,
};

/// A CA, and a folder for what it signs.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Ca { issuer: CertifiedIssuer::self_signed(params, key).expect("a CA") }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key for these DNS names, or for `cn=…` alone, or `uri:…`.
    pub(crate) fn sign(&self, names: &[&str], expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        for name in names {
            if let Some(name) = name.strip_prefix("cn=") {
                params.distinguished_name.push(DnType::CommonName, name);
            } else if let Some(uri) = name.strip_prefix("uri:") {
                params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
            } else {
                let name = (*name).try_into().expect("a name");
                params.subject_alt_names.push(SanType::DnsName(name));
            }
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 2, 3);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// Writes a file into a folder.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("write");
    path
}
