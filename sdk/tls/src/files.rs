//! Files with certificates, keys and tokens.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// No such file is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file that cannot be used: which setting names it, which it is, what is wrong, what to do. Nothing
/// of what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The setting, such as `node.tls.key` or `--ca`.
    pub setting: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadError { setting, path, problem, remedy } = self;
        write!(f, "`{setting}`, {}: {problem}: {remedy}", path.display())
    }
}

impl std::error::Error for LoadError {}

/// A file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    setting: String,
    path: PathBuf,
}

impl Named {
    pub(crate) fn new(setting: impl Into<String>, path: impl Into<PathBuf>) -> Named {
        Named { setting: setting.into(), path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn wrong(&self, problem: impl Into<String>, remedy: impl Into<String>) -> LoadError {
        LoadError {
            setting: self.setting.clone(),
            path: self.path.clone(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// What is in the file.
    pub(crate) fn read(&self) -> Result<Vec<u8>, LoadError> {
        let cannot = |error: std::io::Error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => "name a file that is there",
                std::io::ErrorKind::PermissionDenied => "let the user of this process read it",
                _ => "name a file that can be read",
            };
            self.wrong(format!("cannot be read: {error}"), remedy)
        };
        let length = std::fs::metadata(&self.path).map_err(cannot)?.len();
        if length > FILE_BYTES_MAX {
            return Err(self.wrong("is larger than 1 MiB", "name a PEM file or a file of tokens"));
        }
        std::fs::read(&self.path).map_err(cannot)
    }

    /// The certificates in `pem`, at least one.
    pub(crate) fn certificates(
        &self,
        pem: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, LoadError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(self.wrong(
                "has no certificate in it",
                "a PEM file has `-----BEGIN CERTIFICATE-----`; DER becomes PEM by `openssl x509 -inform der`",
            )),
            Err(_) => Err(self.wrong("is damaged", "copy the PEM file again, whole")),
        }
    }

    /// The private key in `pem`.
    pub(crate) fn key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, LoadError> {
        let text = String::from_utf8_lossy(pem);
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            if text.contains("ENCRYPTED") {
                let remedy = "store it decrypted, readable by this process alone: `openssl pkey -in IT`";
                self.wrong("holds a key that needs a passphrase", remedy)
            } else {
                self.wrong(
                    "has no private key in it",
                    "a PEM file has `-----BEGIN PRIVATE KEY-----` (or `RSA` or `EC` before PRIVATE)",
                )
            }
        })
    }

    /// The CAs in `pem`.
    pub(crate) fn roots(&self, pem: &[u8]) -> Result<RootCertStore, LoadError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(pem)? {
            roots.add(certificate).map_err(|error| {
                let problem = format!("has a certificate that is no CA's: {error}");
                self.wrong(problem, "name the CA's certificate, version 3")
            })?;
        }
        Ok(roots)
    }

    /// Whether others on this machine may read the file.
    pub(crate) fn is_open_to_all(&self) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(&self.path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
    }
}

/// Tells one state of several files from another.
pub(crate) fn fingerprint(files: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for file in files {
        context.update(&(file.len() as u64).to_le_bytes());
        context.update(file);
    }
    digest(context)
}

pub(crate) fn digest(context: ring::digest::Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}
